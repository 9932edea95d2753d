"""A scheduler over engines, a journal and a registry that exist in memory only, on a clock of its own."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Collection, Coroutine, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from scheduler_clock import VirtualLoop

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
from quarterdeck.backends.logs import LogBook
from quarterdeck.compatibility.failure import Failure
from quarterdeck.compatibility.journal import Begun
from quarterdeck.errors import AppError
from quarterdeck.scheduling import cooldown
from quarterdeck.scheduling.catalog import Catalog
from quarterdeck.scheduling.issues import Issues
from quarterdeck.scheduling.residency import Tenant, may_live_together
from quarterdeck.scheduling.scheduler import Scheduler
from quarterdeck.scheduling.settling import Settling
from quarterdeck.schemas.backends import BackendKind, BackendView
from quarterdeck.schemas.models import AttemptView, ModelView, Outcome, Status
from quarterdeck.settings import Settings

T = TypeVar("T")

LATENCY = 0.01
UNLOAD_SECONDS = 0.5


class Engine(Backend):
    """Loads in as many seconds as `seconds` says; checks at every turn what a scheduler must never do."""

    title = "Engine"
    kind = BackendKind.EMBEDDED

    def __init__(self, name: str, world: World, *, uses_memory: bool = True, can_sleep: bool = False) -> None:
        self.name = name
        self.log = LogBook(name)
        self.uses_memory = uses_memory
        self.can_sleep = can_sleep
        self.wakes = True
        self.gives_up = True
        self.single = False
        self.foreign: list[Resident] = []
        self._world = world

    @property
    def one_at_a_time(self) -> bool:
        return self.single

    def check_config(self, load_config: Mapping[str, Any]) -> dict[str, Any]:
        return dict(load_config)

    async def load(self, target: Target, *, timeout: float, progress: Progress, started: Started) -> Instance:
        world, name = self._world, target.name
        world.say("load", name)
        world.targets.append(target)
        world.timeouts.append(timeout)
        here = target.url is None or "localhost" in target.url
        world.takes_memory(name, self.gives_back(name, target.url) and here)
        try:
            await started(EngineRecord(next(world.pids), 0.0, 9))
            progress("loading", 0.5)
            await asyncio.sleep(world.seconds.get(name, 1.0))
            if name in world.crashing:
                raise EngineFailed(ExitReport(None, "SIGSEGV"), ["about to fall over"])
            self.log.add([f"{name} took 42 MiB"])
        except BaseException as error:
            world.say("crash" if isinstance(error, EngineFailed) else "cancel", name)
            await asyncio.sleep(LATENCY)
            world.memory.discard(name)
            raise
        exited: asyncio.Future[ExitReport] = asyncio.get_running_loop().create_future()
        pid = next(world.pids)
        instance = Instance(name, "http://127.0.0.1:9", None, None, exited, 0.0, served_id=name, pids=(pid,))
        world.instances[name] = instance
        return instance

    async def unload(self, instance: Instance) -> None:
        self._world.may_end(instance)
        self._world.say("unload", instance.model)
        await asyncio.sleep(UNLOAD_SECONDS)
        if not instance.exited.done():
            instance.exited.set_result(ExitReport(None, "SIGTERM", asked_for=True))
        self._world.memory.discard(instance.model)

    async def sleep(self, instance: Instance) -> bool:
        if not self.can_sleep:
            return False
        self._world.may_end(instance)
        self._world.say("sleep", instance.model)
        await asyncio.sleep(UNLOAD_SECONDS)
        self._world.memory.discard(instance.model)
        return True

    async def wake(self, instance: Instance, *, timeout: float) -> None:
        self._world.say("wake", instance.model)
        self._world.takes_memory(instance.model, self.uses_memory)
        await asyncio.sleep(LATENCY)
        if instance.exited.done() or not self.wakes:
            self._world.memory.discard(instance.model)
            raise EngineFailed(None, ["it does not wake up"])

    async def residents(self) -> list[Resident]:
        await asyncio.sleep(LATENCY)
        world = self._world
        mine = {name: each for name, each in world.instances.items() if world.views[name].backend == self.name}
        ours = [name for name, each in mine.items() if not each.exited.done()]
        return [*(Resident(name, "http://127.0.0.1:9") for name in ours), *self.foreign]

    async def release(self, resident: Resident) -> bool:
        await asyncio.sleep(LATENCY)
        assert resident in self.foreign, f"{resident.served_id} is ours"
        self._world.say("release", resident.served_id)
        if self.gives_up:
            self.foreign.remove(resident)
        return self.gives_up

    def view(self, instances: Sequence[Instance]) -> BackendView:
        return BackendView(name=self.name, title=self.title, models=[each.model for each in instances])


class World:
    """Everything around the scheduler. `wrong` collects what must never happen."""

    def __init__(self, models: Sequence[ModelView], *, hooks: Mapping[str, Any] | None = None, **settings: Any) -> None:
        """`hooks` go to the scheduler (memory, estimator)."""
        self.settings = Settings(**{"minimum_residence": 0, "cooldown": 0, "desktop_reserve": 0, **settings})
        self.said: list[str] = []
        self.moments: list[float] = []
        self.targets: list[Target] = []
        self.timeouts: list[float] = []
        self.views = {view.name: view for view in models}
        self.seconds: dict[str, float] = {}
        self.crashing: set[str] = set()
        self.memory: set[str] = set()
        self.instances: dict[str, Instance] = {}
        self.pids = itertools.count(1)
        self.programs: set[str] = set()
        # How many people are stopping a model, busy or not.
        self.at_once: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._begun: list[asyncio.Task[Any]] = []
        self.loop = VirtualLoop()
        self._wall_clock, began = cooldown.utc_now, datetime.now(UTC)
        cooldown.utc_now = lambda: began + timedelta(seconds=self.loop.time())
        self.journal = _Journal(self)
        events: Any = _Events()
        registry: Any = self
        self.catalog = Catalog(registry, self.journal, events)  # type: ignore[arg-type]
        self.backends = {
            "engine": Engine("engine", self),
            "sleeper": Engine("sleeper", self, can_sleep=True),
            "gateway": Engine("gateway", self, uses_memory=False),
        }
        self.loop.run_until_complete(self.catalog.open())
        self.scheduler = Scheduler(
            self.catalog,
            self.backends,
            Settling(self.catalog, events, Issues(events)),
            events,
            settings=lambda: self.settings,
            hardware=self._hardware,
            on_backend=lambda _: None,
            inspect=self._inspect,
            running_programs=self._programs,
            **(hooks or {}),
        )
        self.loop.run_until_complete(self.scheduler.open())

    async def get(self, name: str) -> ModelView:
        """As the registry would."""
        return self.views[name]

    async def list(self) -> list[ModelView]:
        return list(self.views.values())

    def say(self, what: str, name: str) -> None:
        """An engine does something."""
        self.said.append(f"{what} {name}")
        self.moments.append(self.loop.time())

    def when(self, said: str) -> float:
        """The first moment at which an engine did that."""
        return self.moments[self.said.index(said)]

    def set(self, **values: Any) -> None:
        self.settings = self.settings.model_copy(update=values)
        self.run(self._update())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Until it is done; nobody else gets time after that."""
        return self.loop.run_until_complete(work)

    def begin(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Begin it, and let it come as far as it comes at once."""
        task = self.loop.create_task(work)
        self._begun.append(task)
        self.loop.advance(0)
        return task

    async def use(self, name: str, hold: float = 0.0, **options: Any) -> float:
        """One request that takes `hold` seconds to answer; returns when it got its place."""
        async with self.scheduler.lease(name, **options) as instance:
            assert instance.model == name
            assert not instance.asleep
            began = self.loop.time()
            await asyncio.sleep(hold)
            return began

    def refused(self, work: Coroutine[Any, Any, Any] | asyncio.Future[Any]) -> AppError:
        """The error that it ends with."""
        try:
            self.loop.run_until_complete(work)
        except AppError as error:
            return error
        raise AssertionError("it was not refused")

    def takes_memory(self, name: str, on_budget: bool) -> None:
        """A model begins to take memory: whoever has some must be allowed to live with it."""
        if not on_budget:
            return
        for other in self.memory - {name}:
            if not may_live_together(self._tenant(name), self._tenant(other)):
                self.wrong.append(f"{name} was loaded while {other} held memory")
        if name in self.memory:
            self.wrong.append(f"{name} was loaded twice")
        self.memory.add(name)

    def may_end(self, instance: Instance) -> None:
        """A model is unloaded or put to sleep: not while it is used, unless a person said so."""
        if instance.active_requests and not self.at_once[instance.model] and not self.scheduler.closing:
            self.wrong.append(f"{instance.model} was evicted with {instance.active_requests} requests")

    def ends(self, name: str, report: ExitReport) -> None:
        """The engine of a model ends by itself."""
        instance = self.instances.get(name)
        if instance is not None and not instance.exited.done():
            self.memory.discard(name)
            instance.exited.set_result(report)

    def queue(self) -> set[str]:
        """The models that are being loaded or wait for it."""

        async def ask() -> set[str]:
            return {entry.model for entry in self.scheduler.queue}

        return self.loop.run_until_complete(ask())

    def close(self) -> None:
        for task in self._begun:
            task.cancel()
        try:
            self.loop.advance(1)
            self.loop.run_until_complete(self.scheduler.close())
            self.loop.advance(1)
        finally:
            self.loop.close()
            cooldown.utc_now = self._wall_clock

    async def _update(self) -> None:
        self.scheduler.update()

    def _tenant(self, name: str) -> Tenant:
        view = self.views[name]
        return Tenant(name, view.group or "", view.pinned)

    async def _hardware(self) -> str:
        return "this machine"

    async def _inspect(self, view: ModelView) -> tuple[Path | None, int | None]:
        return Path(view.name), 1

    async def _programs(self) -> Collection[str]:
        return self.programs


def model(name: str, backend: str = "engine", **fields: Any) -> ModelView:
    known = {"served_name": name, "layer": "curated", "created_at": datetime.now(UTC)}
    return ModelView(name=name, backend=backend, **{**known, **fields})


class _Events:
    def publish(self, *_: Any) -> None:
        """Nobody listens."""


class _Journal:
    """Keeps statuses as the real one would after good loads; failures leave them as they are."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._names: dict[int, str] = {}
        self.open: set[int] = set()
        self.ended: list[tuple[str, Outcome]] = []
        self.failures: list[Failure] = []
        self.usual: float | None = None

    async def begin(self, model_name: str, **_: Any) -> Begun:
        await asyncio.sleep(LATENCY)
        id_ = len(self._names) + 1
        self._names[id_] = model_name
        self.open.add(id_)
        return Begun(id_, Status.UNKNOWN)

    def witness(self) -> None:
        """Nothing is seen of the machine here."""

    async def set_engine(self, *_: Any) -> None:
        await asyncio.sleep(LATENCY)

    async def succeed(self, attempt_id: int, _seconds: float) -> AttemptView:
        return await self._end(attempt_id, Outcome.LOADED)

    async def fail(self, attempt_id: int, failure: Failure) -> AttemptView:
        self.failures.append(failure)
        return await self._end(attempt_id, Outcome.FAILED)

    async def cancel(self, attempt_id: int, _reason: str) -> AttemptView:
        return await self._end(attempt_id, Outcome.CANCELLED)

    async def crashed_after_load(self, _name: str, attempt_id: int, _failure: Any) -> AttemptView:
        if attempt_id in self.open:
            raise AppError("unknown_attempt", "The load has not ended yet.", status=404)
        return await self._view(attempt_id, Outcome.FAILED)

    async def usual_load_seconds(self, _name: str) -> float | None:
        await asyncio.sleep(LATENCY)
        return self.usual

    async def pauses(self) -> dict[str, Any]:
        return {}

    async def set_pause(self, *_: Any) -> None:
        await asyncio.sleep(LATENCY)

    async def _end(self, attempt_id: int, outcome: Outcome) -> AttemptView:
        self.ended.append((self._names[attempt_id], outcome))
        self.open.discard(attempt_id)
        return await self._view(attempt_id, outcome)

    async def _view(self, attempt_id: int, outcome: Outcome) -> AttemptView:
        await asyncio.sleep(LATENCY)
        return AttemptView(
            id=attempt_id, model_name=self._names[attempt_id], backend="engine", outcome=outcome,
            started_at=datetime.now(UTC), status_before=Status.UNKNOWN,
        )  # fmt: skip
