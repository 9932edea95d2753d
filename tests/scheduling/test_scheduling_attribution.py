"""Which GPU memory belongs to which model, and the alarm of one that is loaded but not there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection

import pytest
from fake_backend import Act, FakeBackend
from scheduler_bench import Bench

from quarterdeck.hardware.processes import Held, ProcessBook
from quarterdeck.scheduling import attribution
from quarterdeck.scheduling.attribution import Attribution
from quarterdeck.schemas.backends import BackendState, BackendView
from quarterdeck.schemas.hardware import GpuProcess
from quarterdeck.schemas.models import Phase

GIB = 1024**3


class Memory:
    """What the driver would say; `readable` is false where it does not tell."""

    def __init__(self, book: ProcessBook) -> None:
        self.book = book
        self.held: dict[int, int] = {}
        self.readable = True
        self.looks = 0

    async def free_bytes(self) -> int | None:
        return None

    async def holders(self) -> list[GpuProcess]:
        self.looks += 1
        held = [Held(0, pid, size) for pid, size in self.held.items()]
        return self.book.describe(held, readable=self.readable, at=0.0)

    async def wait_released(self, pids: Collection[int], *, timeout: float) -> bool:
        return True


class Room:
    """An attribution beside a bench; `told` are the backends that were published because of it."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.book = ProcessBook(clock=lambda: 0.0)
        self.memory = Memory(self.book)
        self.told: list[str] = []
        self.attribution = Attribution(
            bench.catalog,
            bench.scheduler.loaded,
            queue=lambda: bench.scheduler.queue,
            book=self.book,
            memory=self.memory,
            issues=bench.issues,
            tell=lambda backend: self.told.append(backend.name),
        )

    def changed(self) -> None:
        self.attribution.changed(self.bench.backend)

    async def load(self, name: str, *, ago: float = 60.0, vram: int = 0, **options: object) -> int:
        """Load a model as if it had been loaded `ago` seconds before; gives the pid of its engine."""
        await self.bench.scheduler.load(name, load_config=dict(options) or None)
        loaded = self.bench.scheduler.loaded[name]
        loaded.loaded_at -= ago
        [pid] = loaded.instance.pids
        self.memory.held = {pid: vram} if vram else {}
        self.changed()
        return pid

    async def until_looked(self, times: int = 2) -> None:
        await self.bench.until(lambda: self.memory.looks >= times)

    @property
    def issues(self) -> list[str]:
        return [issue.code for issue in self.bench.issues.all()]


@pytest.fixture
async def room(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Room]:
    monkeypatch.setattr(attribution, "CHECK_AFTER_SECONDS", 0.01)
    monkeypatch.setattr(attribution, "LOOK_AGAIN_SECONDS", 0.01)
    made = Room(bench)
    yield made
    await made.attribution.close()


async def test_engines_belong_to_their_models_while_they_are_loaded(room: Room) -> None:
    pid = await room.load("alpha", vram=3 * GIB)
    assert room.book.owners == {pid: ("alpha", "embedded")}
    assert room.book.owner_of(pid) == ("alpha", "embedded")
    await room.bench.scheduler.unload("alpha")
    room.changed()
    assert room.book.owners == {}
    assert room.book.owner_of(pid) is None


async def test_the_memory_of_a_model_is_shown_and_goes_with_it(room: Room) -> None:
    await room.load("alpha", vram=3 * GIB)
    await room.bench.until(lambda: room.bench.get("alpha").vram_bytes == 3 * GIB)
    assert room.told == ["embedded"]
    await room.until_looked()
    assert (room.bench.get("alpha").alarm, room.issues) == (None, [])
    await room.bench.scheduler.unload("alpha")
    room.changed()
    assert room.bench.get("alpha").vram_bytes is None


async def test_a_loaded_model_without_gpu_memory_is_an_alarm_until_memory_appears(room: Room) -> None:
    pid = await room.load("alpha")
    await room.bench.until(lambda: room.bench.get("alpha").alarm)
    alarm = room.bench.get("alpha").alarm
    assert alarm is not None
    assert "nothing of it is in GPU memory" in alarm
    [issue] = room.bench.issues.all()
    assert (issue.code, issue.sentence) == ("not_on_gpu:alpha", alarm)
    assert issue.hint
    room.memory.held = {pid: GIB}
    await room.bench.until(lambda: room.bench.get("alpha").alarm is None)
    assert room.bench.get("alpha").vram_bytes == GIB
    assert room.issues == []
    looks = room.memory.looks
    await room.bench.add("gamma")
    assert room.memory.looks == looks


async def test_an_alarm_ends_with_the_model(room: Room) -> None:
    await room.load("alpha")
    await room.bench.until(lambda: room.issues)
    await room.bench.scheduler.unload("alpha")
    room.changed()
    assert (room.bench.get("alpha").alarm, room.issues) == (None, [])


async def test_a_model_that_was_loaded_just_now_is_given_time(room: Room) -> None:
    await room.load("alpha", ago=0)
    await room.until_looked()
    assert (room.bench.get("alpha").alarm, room.issues) == (None, [])


@pytest.mark.parametrize("readable", [True, False])
async def test_no_alarm_where_nothing_can_be_told_or_none_is_wanted(room: Room, readable: bool) -> None:
    room.memory.readable = readable
    await room.load("alpha", **({"n_gpu_layers": 0} if readable else {}))
    await room.until_looked()
    assert (room.bench.get("alpha").alarm, room.issues) == (None, [])


async def test_an_engine_without_gpu_support_is_expected_on_the_processor(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def no(_backend: FakeBackend) -> bool:
        return False

    monkeypatch.setattr(FakeBackend, "computes_on_gpu", no)
    await room.load("alpha")
    await room.until_looked()
    assert (room.bench.get("alpha").alarm, room.issues) == (None, [])


async def test_a_model_that_sleeps_need_not_be_there(room: Room) -> None:
    await room.load("alpha")
    await room.bench.until(lambda: room.issues)
    room.bench.backend.can_sleep = True
    await room.bench.scheduler.load("beta")
    room.changed()
    assert room.bench.get("alpha").phase is Phase.SLEEPING
    assert (room.bench.get("alpha").alarm, room.issues) == (None, [])


async def test_an_engine_that_is_being_started_belongs_to_its_model(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    def starting(self: FakeBackend, instances: object) -> BackendView:
        return BackendView(name=self.name, title=self.title, state=BackendState.STARTING, pid=4242)

    room.bench.backend.plan["alpha"] = Act.WAIT
    task = asyncio.ensure_future(room.bench.scheduler.load("alpha"))
    await room.bench.until_waiting("alpha")
    with monkeypatch.context() as patched:
        patched.setattr(FakeBackend, "view", starting)
        room.changed()
        assert room.book.owners == {4242: ("alpha", "embedded")}
    room.bench.backend.let_go("alpha")
    await task
    room.changed()
    assert 4242 not in room.book.owners


async def test_nothing_is_kept_of_models_that_are_not_there(room: Room) -> None:
    assert not room.bench.catalog.set_memory("nobody", GIB, None)
