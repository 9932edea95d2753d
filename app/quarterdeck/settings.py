"""Every setting once: name, type, default, environment variable, help. Environment over config.toml over default."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_origin

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from quarterdeck.errors import AppError

CONFIG_FILE = "config.toml"
ENV_PREFIX = "QUARTERDECK_"


def _setting(
    default: Any,
    *,
    label: str,
    text: str,
    group: str,
    restart: bool = False,
    also: tuple[str, ...] = (),
    **limits: Any,
) -> Any:
    """Declare one setting; `also` names environment variables that are accepted besides our own."""
    extra: dict[str, Any] = {"label": label, "group": group, "restart": restart, "also": list(also)}
    return Field(default, description=text, json_schema_extra=extra, validate_default=True, **limits)


class Settings(BaseModel):
    """All settings of one run; immutable. Times in seconds, sizes in bytes unless the name says otherwise."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = _setting(
        "127.0.0.1", label="Address", group="Server", also=("CHAT_PROXY_HOST",),
        text="Address on which clients reach Quarterdeck. Only loopback addresses are accepted until API keys exist.",
    )  # fmt: skip
    port: int = _setting(
        8100, label="Port", group="Server", also=("CHAT_PROXY_PORT",), ge=0, le=65535,
        text="Port on which clients reach Quarterdeck. 0 lets the system choose one.",
    )  # fmt: skip
    allowed_hosts: list[str] = _setting(
        [], label="Further host names", group="Server",
        text="Names besides localhost and this machine's name under which clients may address Quarterdeck.",
    )  # fmt: skip
    allowed_origins: list[str] = _setting(
        [], label="Allowed web origins", group="Server", restart=True, also=("CORS_ALLOW_ORIGIN",),
        text="Web pages (scheme://host:port) whose scripts may call Quarterdeck.",
    )  # fmt: skip
    load_timeout: int = _setting(
        600, label="Longest load", group="Loading", ge=5, le=86400,
        text="Seconds after which a load that is not ready counts as failed.",
    )  # fmt: skip
    keep_alive_delay: float = _setting(
        2.0, label="Keep-alive interval", group="Loading", gt=0, le=60,
        text="Seconds between the comments that keep a waiting stream open while its model loads.",
    )  # fmt: skip
    stop_timeout: float = _setting(
        3.0, label="Patience when stopping", group="Loading", gt=0, le=60,
        text="Seconds an engine gets to end by itself before it is killed.",
    )  # fmt: skip
    nvml: bool = _setting(
        True, label="Read NVIDIA GPUs", group="GPU", restart=True,
        text="Ask NVIDIA's management library for utilisation, memory, temperature and power.",
    )  # fmt: skip
    sample_interval: float = _setting(
        1.0, label="Graph interval", group="GPU", ge=0.25, le=60,
        text="Seconds between two points of the graphs.",
    )  # fmt: skip
    theme: Literal["system", "light", "dark"] = _setting(
        "system", label="Theme", group="Window", text="Colours of the window.",
    )  # fmt: skip
    close_action: Literal["tray", "minimize", "quit"] = _setting(
        "tray", label="Closing the window", group="Window",
        text="What the close button does: keep running in the tray, minimise, or quit. Without a tray it minimises.",
    )  # fmt: skip
    database_url: str = _setting(
        "", label="Database", group="Storage", restart=True,
        text="SQLAlchemy address of another database; empty means SQLite in the data folder.",
    )  # fmt: skip
    log_level: Literal["debug", "info", "warning", "error"] = _setting(
        "info", label="Log level", group="Storage", restart=True, text="How much Quarterdeck writes to its own log.",
    )  # fmt: skip


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
    return AppError(
        "bad_setting",
        f"The setting “{name}” from {sources.get(name, 'the request')} cannot be used: {first['msg']}.",
        f"Current value: {first['input']!r}. {Settings.model_fields[name].description}",
    )


def environment_name(name: str) -> str:
    return ENV_PREFIX + name.upper()


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, field in Settings.model_fields.items():
        extra = field.json_schema_extra
        also = extra["also"] if isinstance(extra, dict) else []
        for variable in (environment_name(name), *also):  # type: ignore[misc]
            if variable in environment:
                text = environment[variable]
                is_list = get_origin(field.annotation) is list
                found[name] = [part.strip() for part in text.split(",") if part.strip()] if is_list else text
                break
    return found


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
