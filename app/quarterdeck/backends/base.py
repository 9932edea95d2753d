"""The small interface behind which every engine stands."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from quarterdeck.backends.logs import LogBook
from quarterdeck.schemas.backends import BackendView


@dataclass(frozen=True, slots=True)
class Target:
    """What is to be loaded: the model's name for clients, its file and its checked load_config."""

    name: str
    path: Path
    size_bytes: int | None
    load_config: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class EngineRecord:
    """How to find an engine process again: pid, create time (seconds since the epoch) and its loopback port."""

    pid: int
    create_time: float
    port: int


@dataclass(frozen=True, slots=True)
class ExitReport:
    """How an engine process ended; `signal` is a name such as SIGSEGV."""

    exit_code: int | None
    signal: str | None
    oom_killed: bool = False
    asked_for: bool = False


@dataclass(eq=False, slots=True)
class Instance:
    """A loaded model that answers at `base_url`; `exited` gets the report of its process."""

    model: str
    base_url: str
    record: EngineRecord
    command: str
    exited: asyncio.Future[ExitReport]
    started_at: float
    active_requests: int = 0
    drained: asyncio.Event = field(default_factory=asyncio.Event)


class EngineFailed(Exception):  # noqa: N818 - reads as the event it is
    """An engine that did not become ready: it exited, or took too long (`timed_out`, seconds)."""

    def __init__(self, exit_report: ExitReport | None, log: list[str], timed_out: float | None = None) -> None:
        super().__init__("the engine did not become ready")
        self.exit_report = exit_report
        self.log = log
        self.timed_out = timed_out


Progress = Callable[[str, float | None], None]
"""Called with a stage in words and a fraction 0..1, or None where there is no measure."""

Started = Callable[[EngineRecord], Awaitable[None]]
"""Awaited as soon as the engine process exists, before it is waited for."""


class Backend(Protocol):
    """One engine. All coroutines run on the core loop."""

    name: str
    title: str
    log: LogBook

    def check_config(self, load_config: Mapping[str, Any]) -> dict[str, Any]:
        """The config with canonical option names; raises ConfigError for an unknown option or a bad value."""

    async def load(self, target: Target, *, timeout: float, progress: Progress, started: Started) -> Instance:
        """Start the engine and wait until it answers. Raises EngineFailed; cancelling stops the engine."""

    async def unload(self, instance: Instance) -> None:
        """Stop the engine of `instance`; returns when its process is gone."""

    def view(self, instance: Instance | None) -> BackendView:
        """The state of the backend for people."""
