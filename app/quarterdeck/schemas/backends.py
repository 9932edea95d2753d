"""Backends (engines), the models they hold and the lines they log."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class BackendKind(StrEnum):
    """The engines that Quarterdeck speaks with; the value is the name that a model's `backend` holds."""

    EMBEDDED = "embedded"
    LLAMA_SERVER = "llama-server"
    VLLM = "vllm"
    OLLAMA = "ollama"
    LITELLM = "litellm"
    OPENAI_COMPATIBLE = "openai-compatible"


class BackendState(StrEnum):
    """The state of a backend as a whole.

    `unknown` means not validated, `switching` that one model makes room for another, `defect` that it runs but lacks
    something it should have (`BackendView.detail` says what).
    """

    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    SWITCHING = "switching"
    DEFECT = "defect"
    STOPPING = "stopping"
    FAILED = "failed"
    UNKNOWN = "unknown"


class OwnerKind(StrEnum):
    """Who started a server and may therefore stop it; of `other` we are guests and only attach."""

    QUARTERDECK = "quarterdeck"
    SYSTEMD = "systemd"
    DOCKER = "docker"
    OTHER = "other"


class Owner(BaseModel):
    """Who a server belongs to; `name` is the systemd user unit or the container."""

    kind: OwnerKind = OwnerKind.QUARTERDECK
    name: str | None = None


class InstanceView(BaseModel):
    """One model that an engine holds. Memory in bytes, uptime in seconds; null means not known."""

    model: str
    pid: int | None = None
    address: str | None = None
    command: str | None = None
    uptime_s: float = 0.0
    memory_bytes: int | None = None
    vram_bytes: int | None = None
    active_requests: int = 0
    asleep: bool = False
    alarm: str | None = None


class BackendView(BaseModel):
    """One backend. Memory in bytes, uptime in seconds; `command` is the exact command line of its engine.

    `actions` names what can be done with it now: `start`, `stop`, `restart`, `reload`, `remove`. `version`, `pid` and
    so on are those of the first instance, or of the server where one server holds all models.
    """

    name: str
    title: str
    kind: str = ""
    version: str | None = None
    state: BackendState = BackendState.STOPPED
    detail: str | None = None
    owner: Owner = Field(default_factory=Owner)
    models: list[str] = Field(default_factory=list)
    instances: list[InstanceView] = Field(default_factory=list)
    actions: list[str] = Field(default_factory=list)
    pid: int | None = None
    address: str | None = None
    memory_bytes: int | None = None
    vram_bytes: int | None = None
    uptime_s: float | None = None
    command: str | None = None
    last_error: str | None = None


class ServerCreate(BaseModel):
    """Makes a running server known: `url` is its base address, with or without /v1.

    Without `kind` it is asked what it is. `owner` says how it can be started and stopped.
    """

    model_config = ConfigDict(extra="forbid")

    url: str
    name: str | None = None
    kind: BackendKind | None = None
    owner: Owner | None = None
    api_key: str | None = None


class ServerPreset(BaseModel):
    """A product that can be added as a server: what to fill in, and where its key comes from (`hint`)."""

    name: str
    title: str
    url: str
    kind: BackendKind
    hint: str = ""


class PullProgress(BaseModel):
    """How far a download has come: a stage in words, bytes done and in all where they are known."""

    stage: str
    done_bytes: int | None = None
    total_bytes: int | None = None
    finished: bool = False


class LogLine(BaseModel):
    """One line of a log; `number` grows by one with every line of its source."""

    number: int
    at: datetime
    source: str
    level: str
    text: str
