"""Backends (engines) and the lines they log."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, Field


class BackendState(StrEnum):
    """The state of a backend as a whole."""

    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    FAILED = "failed"


class BackendView(BaseModel):
    """One backend. Memory in bytes, uptime in seconds; `command` is the exact command line of its engine."""

    name: str
    title: str
    version: str | None = None
    state: BackendState = BackendState.STOPPED
    owner: str = "quarterdeck"
    models: list[str] = Field(default_factory=list)
    pid: int | None = None
    address: str | None = None
    memory_bytes: int | None = None
    uptime_s: float | None = None
    command: str | None = None
    last_error: str | None = None


class LogLine(BaseModel):
    """One line of a log; `number` grows by one with every line of its source."""

    number: int
    at: datetime
    source: str
    level: str
    text: str
