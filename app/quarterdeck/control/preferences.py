"""The settings of the running core: reading them with their source, changing them in config.toml."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import tomlkit
import tomlkit.exceptions
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from quarterdeck.control.checks import check_settings
from quarterdeck.errors import AppError
from quarterdeck.schemas.system import SettingView
from quarterdeck.settings import CONFIG_FILE, Loaded, Settings, bad_setting, environment_name, is_secret

OWNER_ONLY = 0o600
_DOTS = "••••••••"

Changed = Callable[[Settings, set[str]], Awaitable[None]]


class Preferences:
    """Owns the current Settings. `on_change` is awaited with new ones before they are kept."""

    def __init__(self, loaded: Loaded, on_change: Changed) -> None:
        self.current = loaded.settings
        self.folders = loaded.folders
        self._sources = dict(loaded.sources)
        self._on_change = on_change
        self._turn = asyncio.Lock()

    def views(self) -> list[SettingView]:
        return [self._view(name, field) for name, field in Settings.model_fields.items()]

    async def change(self, values: dict[str, Any]) -> list[SettingView]:
        """Check, save and apply `values`. Raises AppError and changes nothing when one of them cannot be used."""
        async with self._turn:
            await self._change(values)
        return self.views()

    async def _change(self, values: dict[str, Any]) -> None:
        for name in values:
            self._refuse_foreign(name)
        values = {name: self._unmasked(name, value) for name, value in values.items()}
        try:
            new = Settings.model_validate({**self.current.model_dump(), **values})
        except ValidationError as error:
            raise bad_setting(error, dict.fromkeys(values, "the request")) from None
        changed = {name for name in values if getattr(new, name) != getattr(self.current, name)}
        check_settings(new, changed)
        path = self.folders.config_file
        before = await asyncio.to_thread(_save, path, {name: getattr(new, name) for name in values})
        try:
            await self._on_change(new, changed)
        except AppError:
            await asyncio.to_thread(_restore, path, before)
            raise
        self.current = new
        self._sources.update(dict.fromkeys(values, CONFIG_FILE))

    def _refuse_foreign(self, name: str) -> None:
        source = self._sources.get(name)
        if source == "environment":
            raise AppError(
                "setting_fixed",
                f"“{name}” is set by the environment.",
                f"Change or remove {environment_name(name)} and start Quarterdeck again.",
                status=409,
            )
        if source == "command line":
            raise AppError(
                "setting_fixed", f"“{name}” was given on the command line.",
                "Start Quarterdeck without that option to change it here.", status=409,
            )  # fmt: skip

    def _unmasked(self, name: str, value: Any) -> Any:
        """The value that is meant: a secret that came back as it was shown stays what it is."""
        if name not in Settings.model_fields or not is_secret(name) or not isinstance(value, list):
            return value
        known = getattr(self.current, name)
        return [_meant(each, known) for each in value]

    def _view(self, name: str, field: FieldInfo) -> SettingView:
        extra = field.json_schema_extra
        assert isinstance(extra, dict)
        limits = {type(limit).__name__: limit for limit in field.metadata}
        source = self._sources[name]
        return SettingView(
            name=name,
            value=_masked(getattr(self.current, name)) if extra["secret"] else getattr(self.current, name),
            default=field.default,
            source=source,
            environment=self._variable(name, extra) if source == "environment" else environment_name(name),
            help=field.description or "",
            group=str(extra["group"]),
            label=str(extra["label"]),
            restart=bool(extra["restart"]),
            choices=_choices(field),
            minimum=_limit(limits, "Ge", "ge", "Gt", "gt"),
            maximum=_limit(limits, "Le", "le", "Lt", "lt"),
        )

    def _variable(self, name: str, extra: dict[str, Any]) -> str:
        return next((each for each in (environment_name(name), *extra["also"]) if each in os.environ), name)


def _masked(secrets: list[str]) -> list[str]:
    """What is shown in place of secrets: that there is one, and which."""
    return [f"{_DOTS} ({number})" if secret else "" for number, secret in enumerate(secrets, 1)]


def _meant(shown: Any, secrets: list[str]) -> Any:
    """The secret that `shown` stands for, else `shown` itself. Raises AppError when there is no such secret."""
    if not isinstance(shown, str) or not shown.startswith(_DOTS):
        return shown
    masks = _masked(secrets)
    if shown not in masks:
        raise AppError("bad_setting", f"No key is shown as “{shown}”.", "Enter the key itself.")
    return secrets[masks.index(shown)]


def _choices(field: FieldInfo) -> list[str] | None:
    return [str(choice) for choice in get_args(field.annotation)] if get_origin(field.annotation) is Literal else None


def _limit(limits: dict[str, Any], *names: str) -> float | None:
    for kind, attribute in zip(names[::2], names[1::2], strict=True):
        if kind in limits:
            return float(getattr(limits[kind], attribute))
    return None


def _save(path: Path, values: dict[str, Any]) -> str | None:
    """Write `values` into config.toml, keeping its comments and order; returns its text before, None if it was new."""
    try:
        before = path.read_text(encoding="utf-8") if path.exists() else None
        document = tomlkit.parse(before or "")
        document.update(values)
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, tomlkit.dumps(document))
    except (OSError, UnicodeDecodeError, tomlkit.exceptions.TOMLKitError) as error:
        raise AppError(
            "setting_not_saved",
            f"{path} cannot be written: {error}.",
            "Check its permissions and free space.",
            status=507,
        ) from error
    return before


def _restore(path: Path, text: str | None) -> None:
    """Take back what `_save` did."""
    with contextlib.suppress(OSError):
        if text is None:
            path.unlink()
        else:
            _replace(path, text)


def _replace(path: Path, text: str) -> None:
    """In one step, so that a crash leaves the old file or the new one; only its owner can read it: it may hold keys."""
    temporary = path.with_suffix(".new")
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
    temporary.replace(path)
