"""A backend without an engine, whose loads do what a test has written down for them."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Sequence
from enum import Enum, auto

from quarterdeck.backends.base import (
    Backend,
    EngineFailed,
    EngineRecord,
    ExitReport,
    Instance,
    Progress,
    Resident,
    Started,
    Target,
)
from quarterdeck.backends.child import instance_view
from quarterdeck.backends.embedded import OPTIONS
from quarterdeck.backends.logs import LogBook
from quarterdeck.errors import AppError
from quarterdeck.schemas.backends import BackendKind, BackendState, BackendView

SEGFAULT = ExitReport(exit_code=None, signal="SIGSEGV")
OUT_OF_MEMORY_LOG = [
    "ggml_backend_cuda_buffer_type_alloc_buffer: allocating 9000.00 MiB: cudaMalloc failed: out of memory"
]


class Act(Enum):
    """How a load goes."""

    OK = auto()
    WAIT = auto()  # until `let_go`
    CRASH = auto()
    WAIT_AND_CRASH = auto()
    OUT_OF_MEMORY = auto()
    TIME_OUT = auto()


class FakeBackend(Backend):
    """Follows `plan` (by model name; OK where it says nothing). Can be steered from any thread."""

    title = "Scripted engine"
    kind = BackendKind.EMBEDDED
    options = OPTIONS

    def __init__(
        self, log: LogBook | None = None, base_url: str = "http://127.0.0.1:9", *, name: str = "embedded"
    ) -> None:
        self.name = name
        self.log = log or LogBook(self.name)
        self.base_url = base_url
        self.can_sleep = False
        self.wakes = True
        self.keeps_memory = False
        self.single = False
        self.foreign: list[Resident] = []
        self.gives_up = True
        self.released: list[str] = []
        self.slept: list[str] = []
        self.woken: list[str] = []
        self.timeouts: list[float] = []
        self.closed = False
        self.plan: dict[str, Act] = {}
        self.loads: list[Target] = []
        self.unloads: list[str] = []
        self.cancelled: list[str] = []
        self.instances: dict[str, Instance] = {}
        self.slow_stop = False
        self._pids = itertools.count(4_000_000)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._go: dict[str, asyncio.Event] = {}

    @property
    def one_at_a_time(self) -> bool:
        return self.single

    @property
    def running(self) -> list[str]:
        return [name for name, instance in self.instances.items() if not instance.exited.done()]

    def _alive(self) -> list[tuple[str, Instance]]:
        return [(name, self.instances[name]) for name in self.running]

    def let_go(self, model: str) -> None:
        """Let a waiting load, now or to come, become ready."""
        if self._loop is None:
            self._gate(model).set()
        else:
            self._loop.call_soon_threadsafe(self._gate(model).set)

    def die(self, model: str, report: ExitReport = SEGFAULT) -> None:
        """End the engine of a loaded model."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self.instances[model].exited.set_result, report)

    async def load(self, target: Target, *, timeout: float, progress: Progress, started: Started) -> Instance:
        self._loop = asyncio.get_running_loop()
        self.loads.append(target)
        self.timeouts.append(timeout)
        progress("starting the engine", None)
        record = EngineRecord(next(self._pids), time.time(), 9)
        try:
            await started(record)
            progress("reading the model", 0.5)
            await self._act(self.plan.get(target.name, Act.OK), target.name, timeout)
        except asyncio.CancelledError:
            if self.slow_stop:
                await asyncio.sleep(0.05)
            self.cancelled.append(target.name)
            raise
        self.log.add([f"serving {target.name}"])
        exited: asyncio.Future[ExitReport] = self._loop.create_future()
        instance = Instance(target.name, self.base_url, record, "engine", exited, time.monotonic(), pids=(record.pid,))
        self.instances[target.name] = instance
        return instance

    async def unload(self, instance: Instance) -> None:
        if self.keeps_memory:
            raise AppError("not_released", f"The engine keeps “{instance.model}”.", "Restart it.", status=502)
        self.unloads.append(instance.model)
        if not instance.exited.done():
            instance.exited.set_result(ExitReport(None, "SIGTERM", asked_for=True))

    async def sleep(self, instance: Instance) -> bool:
        if self.can_sleep:
            self.slept.append(instance.model)
        return self.can_sleep

    async def wake(self, instance: Instance, *, timeout: float) -> None:
        self.woken.append(instance.model)
        if not self.wakes:
            raise EngineFailed(None, ["it does not wake up"])

    async def residents(self) -> list[Resident]:
        ours = [Resident(each.served_id or name, each.base_url) for name, each in self._alive()]
        return [*ours, *self.foreign]

    async def release(self, resident: Resident) -> bool:
        self.released.append(resident.served_id)
        if self.gives_up:
            self.foreign.remove(resident)
        return self.gives_up

    async def close(self) -> None:
        self.closed = True

    def view(self, instances: Sequence[Instance]) -> BackendView:
        view = BackendView(name=self.name, title=self.title)
        if instances:
            view.state, view.models = BackendState.RUNNING, [instance.model for instance in instances]
            view.pid = instances[0].record.pid if instances[0].record else None
            view.instances = [instance_view(instance) for instance in instances]
        return view

    async def _act(self, act: Act, model: str, timeout: float) -> None:
        match act:
            case Act.WAIT:
                await self._gate(model).wait()
            case Act.WAIT_AND_CRASH:
                await self._gate(model).wait()
                raise EngineFailed(SEGFAULT, ["about to fall over"])
            case Act.CRASH:
                self.log.add(["about to fall over"])
                raise EngineFailed(SEGFAULT, ["about to fall over"])
            case Act.OUT_OF_MEMORY:
                raise EngineFailed(ExitReport(1, None), OUT_OF_MEMORY_LOG)
            case Act.TIME_OUT:
                raise EngineFailed(None, ["still loading"], timed_out=timeout)
            case Act.OK:
                return

    def _gate(self, model: str) -> asyncio.Event:
        return self._go.setdefault(model, asyncio.Event())
