"""The small interface behind which every engine stands."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from quarterdeck.backends.logs import LogBook
from quarterdeck.backends.options import Option, check
from quarterdeck.errors import AppError
from quarterdeck.schemas.backends import BackendKind, BackendView
from quarterdeck.schemas.discovery import FoundModel


@dataclass(frozen=True, slots=True)
class Target:
    """What is to be loaded: the model's name for clients, where it is, and its checked load_config.

    `path` is a file, or a folder of safetensors; `url` the base address of a server that has the model. `served_id` is
    the id under which the engine knows it, or shall serve it. Size in bytes. `free_bytes` is the GPU memory that is
    free before the load, where it is known.
    """

    name: str
    path: Path | None
    size_bytes: int | None
    load_config: Mapping[str, Any]
    served_id: str = ""
    url: str | None = None
    free_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class EngineRecord:
    """How to find an engine process again: pid, create time (seconds since the epoch) and its loopback port."""

    pid: int
    create_time: float
    port: int


@dataclass(frozen=True, slots=True)
class ExitReport:
    """How an engine process ended; `signal` is a name such as SIGSEGV.

    `outside` is set when the model went away without a crash and without us: a sentence such as “Ollama unloaded it.”
    """

    exit_code: int | None
    signal: str | None
    oom_killed: bool = False
    asked_for: bool = False
    outside: str | None = None


@dataclass(eq=False, slots=True)
class Instance:
    """A loaded model that answers at `base_url` (without /v1) under the id `served_id`.

    `record` is None for a server that is not our child. `exited` gets the report of its end. `pids` are the processes
    whose descendants hold its memory. `headers` go with every request (keys), and so does `query`. The paths of
    clients begin with /v1; where the server has its OpenAI interface elsewhere, `api_path` stands for that. `speaks`
    names its other dialects (`ollama`). `asleep` means that it answers again after `Backend.wake`.
    """

    model: str
    base_url: str
    record: EngineRecord | None
    command: str | None
    exited: asyncio.Future[ExitReport]
    started_at: float
    served_id: str = ""
    pids: tuple[int, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    api_path: str = "/v1"
    speaks: frozenset[str] = frozenset()
    asleep: bool = False
    active_requests: int = 0
    drained: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True, slots=True)
class Resident:
    """A model that a server holds in memory, whoever loaded it. Sizes in bytes; `vram_bytes` None means not known."""

    served_id: str
    url: str
    vram_bytes: int | None = None
    size_bytes: int | None = None


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
"""Awaited as soon as an engine process of ours exists, before it is waited for."""


class Backend(ABC):
    """One engine. All coroutines run on the core loop. Methods that an engine has no use for keep their default."""

    name: str
    title: str
    kind: BackendKind
    log: LogBook
    options: tuple[Option, ...] = ()
    uses_memory: bool = True
    """False for gateways and servers elsewhere: their models take no memory of this machine's budget."""

    @property
    def one_at_a_time(self) -> bool:
        """Whether only one model can be loaded here, even of those that may live together."""
        return False

    def gives_back(self, name: str, url: str | None) -> bool:
        """Whether the memory of the model (its server's address, where it has one) can be had back by unloading it.

        What cannot be had back is no part of the budget: making room for it or with it would be in vain.
        """
        return self.uses_memory

    def check_config(self, load_config: Mapping[str, Any]) -> dict[str, Any]:
        """The config with canonical option names; raises ConfigError for an unknown option or a bad value."""
        return check(self.options, load_config, backend=self.title)

    def command(self, target: Target, port: int) -> list[str]:
        """The launch arguments, exactly; empty where nothing is launched."""
        return []

    async def computes_on_gpu(self) -> bool:
        """Whether the engine as it is installed can use a GPU; what cannot be told counts as able."""
        return True

    @abstractmethod
    async def load(self, target: Target, *, timeout: float, progress: Progress, started: Started) -> Instance:
        """Start the engine and wait until it answers. Raises EngineFailed, AppError or OSError.

        Cancelling stops what was started and returns when it is gone.
        """

    @abstractmethod
    async def unload(self, instance: Instance) -> None:
        """Give the memory of `instance` back; returns when the engine says so, or when its process is gone.

        Raises AppError `not_released` when the engine keeps it.
        """

    async def sleep(self, instance: Instance) -> bool:
        """Give the GPU memory back but keep what makes waking quick; False where that is not offered."""
        return False

    async def wake(self, instance: Instance, *, timeout: float) -> None:
        """Make a sleeping instance answer again. Raises EngineFailed."""
        raise NotImplementedError

    async def residents(self) -> list[Resident]:
        """What running servers of this kind hold in memory now, whoever loaded it; ours are among them."""
        return []

    async def release(self, resident: Resident) -> bool:
        """Ask a server to give up a model that somebody else loaded; False where it cannot be asked."""
        return False

    async def found_models(self) -> list[FoundModel]:
        """The models that servers of this kind offer; never loads one. Empty when none answers."""
        return []

    async def defect(self, instance: Instance) -> str | None:
        """What a loaded instance lacks, in words; None when all is well."""
        return None

    @abstractmethod
    def view(self, instances: Sequence[Instance]) -> BackendView:
        """The state of the backend for people."""

    async def start(self) -> None:
        """Start the server behind this backend. Raises AppError where a model has to be loaded instead."""
        raise AppError(
            "backend_not_running", f"{self.title} is not running.", "Load a model: the backend starts with it.",
            status=409,
        )  # fmt: skip

    async def stop(self) -> None:  # noqa: B027 - most engines have no server to stop
        """Stop the server behind this backend, if it is ours; models on it end with it."""

    async def close(self) -> None:  # noqa: B027 - most engines end with their instances
        """Let go of everything when the core stops; servers of ours end."""
