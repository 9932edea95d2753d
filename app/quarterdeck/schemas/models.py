"""Models, their compatibility status and the journal of their load attempts."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, computed_field

from quarterdeck.schemas.diagnosis import Remedy
from quarterdeck.schemas.hardware import GpuProcess, GpuSample, NvmlState
from quarterdeck.schemas.requests import ClientPolicy


class Status(StrEnum):
    """What is known of a model on this hardware. Only the scheduler sets `testing`."""

    UNKNOWN = "unknown"
    TESTING = "testing"
    COMPATIBLE = "compatible"
    DEGRADED = "degraded"
    INCOMPATIBLE = "incompatible"


class Phase(StrEnum):
    """What a model does right now. A sleeping one gave its GPU memory back and wakes faster than it loads."""

    UNLOADED = "unloaded"
    QUEUED = "queued"
    LOADING = "loading"
    CANCELLING = "cancelling"
    LOADED = "loaded"
    SLEEPING = "sleeping"
    UNLOADING = "unloading"


class Retest(StrEnum):
    """Why a status may no longer hold: it was earned on other hardware or with another load_config."""

    HARDWARE = "hardware"
    CONFIG = "config"


class LoadProgress(BaseModel):
    """How far a load has come. `fraction` is 0..1, or null where the engine gives no measure."""

    stage: str
    fraction: float | None = None
    elapsed_s: float = 0.0
    usual_s: float | None = None


class ModelView(BaseModel):
    """One model as every client sees it. Sizes in bytes, context in tokens, times in seconds; null means not known.

    `layer` is the highest layer that speaks of the model, `layers` names the layer of each fact that has one. Models of
    one `group` may be loaded at the same time; a `pinned` one is never evicted. `hidden` says why clients do not see
    it.
    """

    name: str
    backend: str
    served_name: str
    layer: str
    path: str | None = None
    url: str | None = None
    hf_path: str | None = None
    cache_location: str | None = None
    status: Status = Status.UNKNOWN
    notes: str = ""
    load_config: str = "{}"
    retest: Retest | None = None
    loaded: bool = False
    phase: Phase = Phase.UNLOADED
    progress: LoadProgress | None = None
    last_error: str | None = None
    size_bytes: int | None = None
    architecture: str | None = None
    parameter_count: int | None = None
    quantization: str | None = None
    context_length: int | None = None
    has_chat_template: bool | None = None
    capabilities: list[str] = Field(default_factory=list)
    format: str | None = None
    source: str | None = None
    family: str | None = None
    layers: dict[str, str] = Field(default_factory=dict)
    aliases: list[str] = Field(default_factory=list)
    roles: list[str] = Field(default_factory=list)
    group: str | None = None
    pinned: bool = False
    idle_timeout: float | None = None
    client_policy: ClientPolicy = Field(default_factory=ClientPolicy)
    installed: bool = True
    deprecated: bool = False
    hidden: str | None = None
    locked: bool = False
    expected_hash: str | None = None
    cooldown_until: datetime | None = None
    queue_position: int | None = None
    vram_bytes: int | None = None
    alarm: str | None = None
    total_loads: int = 0
    last_loaded: datetime | None = None
    created_at: datetime

    @computed_field  # type: ignore[prop-decorator]
    @property
    def model_name(self) -> str:
        """`name` under the name of the original interface."""
        return self.name

    @computed_field  # type: ignore[prop-decorator]
    @property
    def compatibility_status(self) -> Status:
        """`status` under the name of the original interface."""
        return self.status

    @computed_field  # type: ignore[prop-decorator]
    @property
    def compatibility_notes(self) -> str:
        """`notes` under the name of the original interface."""
        return self.notes


class ModelCreate(BaseModel):
    """Registers a model. One of `path` (a local file) and `url` (a running server) is needed."""

    model_config = ConfigDict(extra="forbid")

    model_name: str
    path: str | None = None
    url: str | None = None
    hf_path: str | None = None
    cache_location: str | None = None
    backend: str | None = None
    served_name: str | None = None
    load_config: str | dict[str, Any] | None = None


class ConfigPatch(BaseModel):
    """Changes only the fields that are given. `load_config` is JSON text or an object.

    An `idle_timeout` of 0 means never; null goes back to the general setting.
    """

    model_config = ConfigDict(extra="forbid")

    compatibility_status: str | None = None
    compatibility_notes: str | None = None
    load_config: str | dict[str, Any] | None = None
    aliases: list[str] | None = None
    roles: list[str] | None = None
    capabilities: list[str] | None = None
    group: str | None = None
    pinned: bool | None = None
    idle_timeout: float | None = Field(default=None, ge=0)
    deprecated: bool | None = None
    client_policy: ClientPolicy | None = None


class Outcome(StrEnum):
    """How a load attempt ended; `running` until it has."""

    RUNNING = "running"
    LOADED = "loaded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"


class CauseKind(StrEnum):
    """What a failure says about the model on this machine; decides the status after it."""

    HARDWARE = "hardware"
    CAPACITY = "capacity"
    ENVIRONMENT = "environment"


class Cause(BaseModel):
    """Why a load failed. `failure_class` is a class of the diagnosis rules; `line` is where `evidence` stands."""

    failure_class: str
    kind: CauseKind
    title: str
    sentence: str
    hint: str
    evidence: str = ""
    line: int | None = None
    confidence: float = 1.0
    remedies: list[Remedy] = Field(default_factory=list)
    known_issue: str | None = None


class Circumstances(BaseModel):
    """How the machine was when a load failed or an engine died; `gpu_state` is what the driver said of `nvml`."""

    at: datetime
    gpu_state: str = ""
    nvml: NvmlState | None = None
    gpus: list[GpuSample] = Field(default_factory=list)
    holders: list[GpuProcess] = Field(default_factory=list)
    host_used_bytes: int | None = None
    host_total_bytes: int | None = None
    loaded: list[str] = Field(default_factory=list)
    versions: dict[str, str] = Field(default_factory=dict)


class AttemptView(BaseModel):
    """One row of the journal of load attempts."""

    id: int
    model_name: str
    backend: str
    outcome: Outcome
    started_at: datetime
    ended_at: datetime | None = None
    load_seconds: float | None = None
    forced: bool = False
    load_config: str = "{}"
    config_hash: str = ""
    hardware: str = ""
    status_before: Status
    status_after: Status | None = None
    failure_class: str | None = None
    error: str | None = None
    hint: str | None = None
    exit_code: int | None = None
    signal: str | None = None
    log_tail: str = ""
    circumstances: Circumstances | None = None


class LoadRequest(BaseModel):
    """Asks for a load. `load_config` (JSON text or object) replaces the stored one for this load only."""

    model_config = ConfigDict(extra="forbid")

    model_name: str
    force_load: bool = False
    load_config: str | dict[str, Any] | None = None


class ModelName(BaseModel):
    """Names a model; without a name, the one that is loaded or loading is meant."""

    model_config = ConfigDict(extra="forbid")

    model_name: str | None = None


class LoadResult(BaseModel):
    """The answer to a load that worked."""

    message: str
    model_id: str
    model_name: str
    parameter_count: int | None = None
    model_type: str | None = None
    compatibility_status: Status
    load_seconds: float | None = None
