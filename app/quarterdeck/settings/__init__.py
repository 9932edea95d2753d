"""Every setting once: name, type, default, environment variable, help. Environment over config.toml over default."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, get_origin

import platformdirs
from pydantic import ValidationError

from quarterdeck.errors import AppError
from quarterdeck.settings.clients import ClientSettings, RecordSettings, RequestSettings
from quarterdeck.settings.engines import EngineSettings, HostSettings, SchedulingSettings
from quarterdeck.settings.server import HeaderSettings, ServerSettings

CONFIG_FILE = "config.toml"
ENV_PREFIX = "QUARTERDECK_"


class Settings(
    HostSettings, EngineSettings, SchedulingSettings, RecordSettings, RequestSettings, ClientSettings, HeaderSettings,
    ServerSettings,
):  # fmt: skip
    """All settings of one run; immutable. Times in seconds, sizes in bytes unless the name says otherwise."""


class Loaded(NamedTuple):
    """Settings with the place each value came from (`environment`, `config.toml`, `command line` or `default`)."""

    settings: Settings
    sources: dict[str, str]
    folders: Folders


class Folders(NamedTuple):
    """Where things are written. QUARTERDECK_DATA_DIR moves all of it."""

    data: Path
    config: Path

    @property
    def config_file(self) -> Path:
        return self.config / CONFIG_FILE

    @property
    def logs(self) -> Path:
        return self.data / "logs"

    @property
    def token_file(self) -> Path:
        return self.data / "token"

    @property
    def lock_file(self) -> Path:
        """Names the running core of this data folder: pid, create time, control address."""
        return self.data / "core.json"


def folders(data_dir: Path | None = None, environment: Mapping[str, str] = os.environ) -> Folders:
    """The folders of this run: the argument, else QUARTERDECK_DATA_DIR, else the platform's own places."""
    moved = data_dir or (Path(environment["QUARTERDECK_DATA_DIR"]) if environment.get("QUARTERDECK_DATA_DIR") else None)
    if moved is not None:
        resolved = moved.expanduser().absolute()
        return Folders(resolved, resolved)
    return Folders(
        Path(platformdirs.user_data_dir("quarterdeck", appauthor=False)),
        Path(platformdirs.user_config_dir("quarterdeck", appauthor=False)),
    )


def load_settings(
    data_dir: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Loaded:
    """Read all settings. Raises AppError `bad_setting` naming the setting, its source and what is wrong."""
    places = folders(data_dir, environment)
    values: dict[str, Any] = {}
    sources = dict.fromkeys(Settings.model_fields, "default")
    layers = (
        (CONFIG_FILE, _from_file(places.config_file)),
        ("environment", _from_environment(environment)),
        ("command line", dict(overrides or {})),
    )
    for source, layer in layers:
        values.update(layer)
        sources.update(dict.fromkeys(layer, source))
    try:
        return Loaded(Settings.model_validate(values), sources, places)
    except ValidationError as error:
        raise bad_setting(error, sources) from None


def bad_setting(error: ValidationError, sources: Mapping[str, str]) -> AppError:
    first = error.errors()[0]
    name = str(first["loc"][0])
    if first["type"] == "extra_forbidden":
        return AppError(
            "bad_setting",
            f"There is no setting named “{name}”.",
            f"Remove it from {CONFIG_FILE} or correct its name.",
        )
    said = "" if is_secret(name) else f"Current value: {first['input']!r}. "
    return AppError(
        "bad_setting",
        f"The setting “{name}” from {sources.get(name, 'the request')} cannot be used: {first['msg']}.",
        f"{said}{Settings.model_fields[name].description}",
    )


def is_secret(name: str) -> bool:
    """Whether the value of a setting is never shown."""
    extra = Settings.model_fields[name].json_schema_extra
    return isinstance(extra, dict) and extra["secret"] is True


def environment_name(name: str) -> str:
    return ENV_PREFIX + name.upper()


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, field in Settings.model_fields.items():
        extra = field.json_schema_extra
        also = extra["also"] if isinstance(extra, dict) else []
        for variable in (environment_name(name), *also):  # type: ignore[misc]
            if variable in environment:
                text = environment[variable].strip()
                found[name] = _list_of(text) if get_origin(field.annotation) is list else text
                break
    return found


def _list_of(text: str) -> list[str]:
    """Items between commas, or between semicolons as Open WebUI writes them; there an empty item keeps its place."""
    if ";" in text:
        return [part.strip() for part in text.split(";")]
    return [part.strip() for part in text.split(",") if part.strip()]


def _from_file(path: Path) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise AppError("bad_setting", f"{path} is not valid TOML: {error}.", "Correct the file or remove it.") from None
    except OSError as error:
        raise AppError(
            "bad_setting",
            f"{path} cannot be read: {error.strerror}.",
            "Check who owns the file and its permissions.",
        ) from None
