"""The loads under way and the models that are loaded, as the scheduler keeps them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

from quarterdeck.backends.base import Backend, Instance
from quarterdeck.compatibility.journal import Begun
from quarterdeck.errors import AppError
from quarterdeck.schemas.estimate import Estimate
from quarterdeck.schemas.models import LoadResult, ModelView
from quarterdeck.tasks import spawn

T = TypeVar("T")


def now() -> float:
    """The scheduler's clock, in seconds: that of the loop, on which its timers run."""
    return asyncio.get_running_loop().time()


@dataclass(eq=False, slots=True)
class Loaded:
    """A model that an engine holds, awake or asleep.

    `leaving` is set while it makes room: then it takes only a few further requests, counted by `overtaken`. Once
    `closed` it takes none. `ending` is the task that unloads it or puts it to sleep; `ended` says that it is gone.
    """

    view: ModelView
    backend: Backend
    instance: Instance
    config: dict[str, Any]
    forced: bool
    attempt_id: int
    on_budget: bool
    loaded_at: float
    idle_since: float
    vram_bytes: int | None = None
    leaving: bool = False
    overtaken: int = 0
    closed: bool = False
    ending: asyncio.Task[None] | None = None
    ended: bool = False

    @property
    def name(self) -> str:
        return self.view.name

    @property
    def awake(self) -> bool:
        return not self.ended and not self.instance.asleep

    @property
    def usable(self) -> bool:
        """Whether it answers and is not on its way out."""
        return self.awake and not self.leaving and not self.closed and not self.instance.exited.done()

    def reopen(self) -> None:
        """It stays after all."""
        self.leaving = self.closed = False
        self.overtaken = 0

    async def drain(self) -> None:
        """Wait until no request uses it; from that moment on it takes no further one."""
        while self.instance.active_requests and not self.ended:
            self.instance.drained.clear()
            await self.instance.drained.wait()
        self.closed = True


@dataclass(eq=False, slots=True)
class Load:
    """One load that runs or waits. `step` is the part that a cancel may interrupt.

    `tickets` are the requests that wait for it; one gets the model, or None when it went away again at once. `asked`
    is set when a person wants it. A load that `restores` a model nobody waits for gives way to every other.
    """

    view: ModelView
    config: dict[str, Any]
    forced: bool
    on_budget: bool
    queued_at: float
    restores: bool = False
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    turn: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    tickets: set[asyncio.Future[Loaded | None]] = field(default_factory=set)
    step: asyncio.Task[Any] | None = None
    task: asyncio.Task[LoadResult] | None = None
    begun: Begun | None = None
    started_at: float | None = None
    usual_s: float | None = None
    why: str = ""
    estimate: Estimate | None = None
    evicted: list[Loaded] = field(default_factory=list)
    loaded: Loaded | None = None
    cancel_reason: str | None = None
    refusal: AppError | None = None

    @property
    def name(self) -> str:
        return self.view.name

    @property
    def unwanted(self) -> bool:
        """Whether nobody waits for it."""
        return not self.tickets and not self.asked.is_set()

    async def run_step(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a part that a cancel may interrupt; raises CancelledByPersonError when it did."""
        if self.cancel_reason is not None:
            work.close()
            raise CancelledByPersonError
        self.step = step = spawn(work, name=f"step of load {self.name}", awaited=True)
        try:
            return await step
        except asyncio.CancelledError:
            if self.cancel_reason is None:
                raise
            raise CancelledByPersonError from None
        finally:
            self.step = None


class CancelledByPersonError(Exception):
    """A step of a load ended because somebody cancelled the load."""


def result(view: ModelView, seconds: float | None) -> LoadResult:
    """The answer to a load; `seconds` is None when the model was loaded already."""
    took = "" if seconds is None else f" in {seconds:.1f} s"
    return LoadResult(
        message=f"{view.name} is loaded{took}.",
        model_id=view.served_name,
        model_name=view.name,
        parameter_count=view.parameter_count,
        model_type=view.architecture,
        compatibility_status=view.status,
        load_seconds=seconds,
    )
