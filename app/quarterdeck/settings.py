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
    secret: bool = False,
    also: tuple[str, ...] = (),
    **limits: Any,
) -> Any:
    """Declare one setting; `also` names environment variables that are accepted besides our own."""
    extra: dict[str, Any] = {
        "label": label, "group": group, "restart": restart, "secret": secret, "also": list(also),
    }  # fmt: skip
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
    autostart: bool = _setting(
        True, label="Load on request", group="Loading", also=("CHAT_PROXY_AUTOSTART_ENABLED",),
        text="Load a model when a client asks for it. Off: only loaded models answer.",
    )  # fmt: skip
    autostart_map: str = _setting(
        "", label="Start commands", group="Backends", also=("CHAT_PROXY_AUTOSTART_MAP",),
        text='JSON object from model name to {"command": ["program", "argument", …]}: how to start its server.',
    )  # fmt: skip
    idle_timeout: float = _setting(
        0, label="Unload when idle", group="Scheduling", ge=0, le=604800,
        text="Seconds without a request after which a model is unloaded; 0 never. A model may have its own.",
    )  # fmt: skip
    minimum_residence: float = _setting(
        0.3, label="Shortest stay", group="Scheduling", ge=0, le=3600,
        text="Seconds a loaded model stays before another one may take its place.",
    )  # fmt: skip
    queue_limit: int = _setting(
        100, label="Longest queue", group="Scheduling", ge=1, le=10000,
        text="Requests that may wait for models to load; further ones are refused with Retry-After.",
    )  # fmt: skip
    overtake_limit: int = _setting(
        4, label="Overtaking", group="Scheduling", ge=0, le=1000,
        text="How often requests for the loaded model may be served before a waiting model gets its turn.",
    )  # fmt: skip
    release_timeout: float = _setting(
        20.0, label="Patience for free memory", group="Scheduling", gt=0, le=600,
        text="Seconds to wait until the GPU memory of an unloaded model is really free.",
    )  # fmt: skip
    cooldown: float = _setting(
        15.0, label="Pause after a failure", group="Scheduling", ge=0, le=86400,
        text="Seconds for which a model that failed is not loaded again for clients; doubles with each failure.",
    )  # fmt: skip
    desktop_reserve: float = _setting(
        0.5, label="Reserve for the desktop", group="Scheduling", ge=0, le=64,
        text="GiB of GPU memory that models leave free for the screen and other programs.",
    )  # fmt: skip
    yield_to: list[str] = _setting(
        [], label="Give way to programs", group="Scheduling",
        text="Names of programs; while one of them runs, models give up the GPU. They come back when it ends.",
    )  # fmt: skip
    discover_at_start: bool = _setting(
        True, label="Look around at the start", group="Discovery", restart=True,
        text="Look for running servers and for models when Quarterdeck starts. Nothing is loaded.",
    )  # fmt: skip
    model_folders: list[str] = _setting(
        [], label="Model folders", group="Discovery",
        text="Folders that are searched for GGUF files and folders of safetensors.",
    )  # fmt: skip
    scan_caches: bool = _setting(
        True, label="Look into known caches", group="Discovery",
        text="Find models in the Hugging Face cache and in LM Studio's folder.",
    )  # fmt: skip
    include_non_installed: bool = _setting(
        False, label="Offer models that are not installed", group="Discovery",
        also=("CHAT_PROXY_INCLUDE_NON_INSTALLED",),
        text="List models to clients whose files are missing.",
    )  # fmt: skip
    probe_ports: list[int] = _setting(
        [11434, 8000, 8001, 8080, 9931, 4000, 1234, 5000, 30000], label="Ports to look at", group="Discovery",
        text="Loopback ports on which running servers are looked for.",
    )  # fmt: skip
    server_urls: list[str] = _setting(
        [], label="OpenAI-compatible servers", group="Discovery", also=("OPENAI_API_BASE_URLS",),
        text="Base addresses of further servers.",
    )  # fmt: skip
    server_keys: list[str] = _setting(
        [], label="Keys of these servers", group="Discovery", secret=True, also=("OPENAI_API_KEYS",),
        text="API keys in the order of the addresses; an empty one sends no key.",
    )  # fmt: skip
    ollama_urls: list[str] = _setting(
        [], label="Further Ollama servers", group="Discovery", also=("OLLAMA_BASE_URLS",),
        text="Base addresses of Ollama servers besides the main one.",
    )  # fmt: skip
    loopback_alias: str = _setting(
        "", label="Name for this machine", group="Discovery", also=("CHAT_PROXY_LOOPBACK_ALIAS",),
        text="Replaces 127.0.0.1 and localhost in server addresses, as needed inside a container.",
    )  # fmt: skip
    ollama_url: str = _setting(
        "http://127.0.0.1:11434", label="Ollama", group="Backends",
        also=("IMAGEWORKS_OLLAMA_HOST", "OLLAMA_BASE_URL", "OLLAMA_HOST"),
        text="Address of the Ollama server; it is started there when none answers.",
    )  # fmt: skip
    ollama_command: str = _setting(
        "ollama", label="Ollama program", group="Backends", text="Name or path of the ollama program.",
    )  # fmt: skip
    vllm_command: str = _setting(
        "vllm", label="vLLM program", group="Backends", text="Name or path of the vllm program.",
    )  # fmt: skip
    vllm_single_port: bool = _setting(
        True, label="One port for vLLM", group="Backends", also=("CHAT_PROXY_VLLM_SINGLE_PORT",),
        text="Serve vLLM models one after the other on one fixed port. Off: each gets a free port.",
    )  # fmt: skip
    vllm_port: int = _setting(
        24001, label="vLLM port", group="Backends", ge=0, le=65535, also=("CHAT_PROXY_VLLM_PORT",),
        text="The fixed port; 0 takes a free one.",
    )  # fmt: skip
    vllm_state_path: str = _setting(
        "", label="vLLM state file", group="Backends", also=("CHAT_PROXY_VLLM_STATE_PATH",),
        text="File that tells other programs which vLLM runs; empty means inside the data folder.",
    )  # fmt: skip
    llama_server_command: str = _setting(
        "llama-server", label="llama-server program", group="Backends",
        text="Name or path of the llama-server program.",
    )  # fmt: skip
    litellm_command: str = _setting(
        "litellm", label="LiteLLM program", group="Backends", text="Name or path of the litellm program.",
    )  # fmt: skip
    litellm_config: str = _setting(
        "", label="LiteLLM configuration", group="Backends",
        text="YAML file with which LiteLLM is started; empty means that it is only attached to.",
    )  # fmt: skip
    litellm_url: str = _setting(
        "http://127.0.0.1:4000", label="LiteLLM", group="Backends", text="Address of the LiteLLM gateway.",
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
