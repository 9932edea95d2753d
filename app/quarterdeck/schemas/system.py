"""The state of the whole: status, settings, requests, issues."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from quarterdeck.schemas.backends import BackendView
from quarterdeck.schemas.hardware import HardwareSample


class IssueView(BaseModel):
    """A lasting condition that a person should know of, such as a public port that is taken."""

    code: str
    sentence: str
    hint: str = ""
    severity: str = "warning"


class QueueEntry(BaseModel):
    """A load that runs (`position` 0) or waits. Times in seconds; `why` says in words what it waits for."""

    model: str
    position: int
    waiting_s: float = 0.0
    waiters: int = 1
    expected_s: float | None = None
    why: str = ""


class SystemStatus(BaseModel):
    """The answer of `GET /api/status`; the first six fields keep the names of the original interface."""

    loaded_model: str | None = None
    loaded_model_id: str | None = None
    performance_logging: bool = True
    gpu_available: bool = False
    gpu_memory_allocated_mb: float | None = None
    gpu_memory_reserved_mb: float | None = None
    hardware: HardwareSample
    loaded_models: list[str] = Field(default_factory=list)
    queue: list[QueueEntry] = Field(default_factory=list)
    backends: list[BackendView] = Field(default_factory=list)
    issues: list[IssueView] = Field(default_factory=list)
    public_url: str | None = None
    control_url: str
    data_dir: str
    uptime_seconds: float
    versions: dict[str, str] = Field(default_factory=dict)


class SettingView(BaseModel):
    """One setting: its value, where the value comes from and whether a change needs a restart."""

    name: str
    value: Any
    default: Any
    source: str
    environment: str
    help: str
    group: str
    label: str
    restart: bool
    choices: list[str] | None = None
    minimum: float | None = None
    maximum: float | None = None
