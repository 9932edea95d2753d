"""Making room: who stays, who goes, what others loaded, and memory that is really free."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import pytest
from scheduler_bench import Bench
from scheduler_world import World, model

from quarterdeck.backends.base import Resident
from quarterdeck.errors import AppError
from quarterdeck.scheduling import refusals
from quarterdeck.scheduling.fitting import Fitting
from quarterdeck.schemas.hardware import GpuProcess
from quarterdeck.schemas.models import CauseKind, Outcome, Phase, Status

Worlds = Callable[..., World]
HERE = "http://127.0.0.1:9"
GIB = 1024**3


class Memory:
    """A GPU of which tests say what it does."""

    def __init__(self, free: int | None = 8 * GIB) -> None:
        self.free = free
        self.releases = True
        self.asked: list[set[int]] = []
        self.processes: list[GpuProcess] = []

    async def free_bytes(self) -> int | None:
        return self.free

    async def holders(self) -> list[GpuProcess]:
        return self.processes

    async def wait_released(self, pids: Collection[int], *, timeout: float) -> bool:
        self.asked.append(set(pids))
        return self.releases


def load(here: World, *names: str) -> None:
    for name in names:
        here.run(here.scheduler.load(name))


@pytest.mark.parametrize(
    ("models", "left"),
    [
        ([model("a"), model("b")], {"b"}),
        ([model("a", group="g"), model("b", group="g")], {"a", "b"}),
        ([model("a", group="g"), model("b", group="g"), model("c", group="h")], {"c"}),
        ([model("a", pinned=True), model("b"), model("c")], {"a", "c"}),
        ([model("a"), model("b", pinned=True), model("c", pinned=True)], {"a", "b", "c"}),
        ([model("a"), model("b", "gateway"), model("c", url="http://192.168.7.9:1")], {"a", "b", "c"}),
        ([model("a", url="http://localhost:8000/v1"), model("b")], {"b"}),
    ],
)
def test_who_is_loaded_after_all_were_asked_for(world: Worlds, models: list[Any], left: set[str]) -> None:
    here = world(*models)
    load(here, *(each.name for each in models))
    assert set(here.scheduler.loaded) == left


def test_a_change_of_group_counts_at_the_next_load(world: Worlds) -> None:
    here = world(model("a"), model("b"))
    load(here, "a")
    for name in "ab":
        here.views[name] = here.views[name].model_copy(update={"group": "g"})
        here.run(here.catalog.refresh(name))
    load(here, "b")
    assert set(here.scheduler.loaded) == {"a", "b"}


def test_an_engine_with_one_place_holds_one_model_of_a_group(world: Worlds) -> None:
    here = world(model("a", "sleeper", group="g"), model("b", "sleeper", group="g"), model("c", group="g"))
    here.backends["sleeper"].single = True
    load(here, "a", "c", "b")
    assert set(here.scheduler.loaded) == {"b", "c"}
    # What has to leave its place cannot sleep there.
    assert "unload a" in here.said


@pytest.mark.parametrize("backend", ["engine", "sleeper"])
def test_what_others_loaded_is_released_before_the_first_load(world: Worlds, backend: str) -> None:
    here = world(model("a"))
    here.backends[backend].foreign.append(Resident("theirs", HERE))
    load(here, "a")
    assert here.said == ["release theirs", "load a"]


def test_what_others_loaded_later_is_released_at_the_next_load(world: Worlds) -> None:
    here = world(model("a"), model("b"))
    load(here, "a")
    here.backends["sleeper"].foreign.append(Resident("theirs", HERE))
    load(here, "b")
    assert here.said == ["load a", "release theirs", "unload a", "load b"]


def test_what_cannot_be_released_is_named_and_nobody_is_evicted(world: Worlds) -> None:
    here = world(model("a"), model("b"))
    load(here, "a")
    here.backends["sleeper"].foreign.append(Resident("theirs", HERE))
    here.backends["sleeper"].gives_up = False
    error = here.refused(here.scheduler.load("b"))
    assert (error.code, error.status) == ("held_by_other", 409)
    assert "“theirs”" in error.sentence
    assert HERE in error.sentence
    assert error.hint
    assert (set(here.scheduler.loaded), here.journal.ended) == ({"a"}, [("a", Outcome.LOADED)])
    assert here.catalog.get("a").phase is Phase.LOADED
    here.run(here.scheduler.load("b", force=True))
    assert set(here.scheduler.loaded) == {"b"}
    here.backends["sleeper"].foreign.clear()


def test_memory_that_cannot_be_had_back_is_no_part_of_the_budget(
    world: Worlds, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = world(model("theirs", "sleeper", url="http://localhost:8000"), model("a"), model("b"))
    known: set[str] = set()
    monkeypatch.setattr(here.backends["sleeper"], "gives_back", lambda _, url: url is None or url in known)
    load(here, "a", "theirs", "b")
    assert set(here.scheduler.loaded) == {"theirs", "b"}
    here.run(here.scheduler.unload("theirs"))
    # As it may turn out when the server is asked for the first time.
    monkeypatch.setattr(here.scheduler.backends["sleeper"], "gives_back", lambda *_: "theirs" in here.instances)
    here.instances.pop("theirs")
    load(here, "theirs")
    assert here.scheduler.loaded["theirs"].on_budget


def test_residents_that_are_no_matter_of_ours_are_left_alone(world: Worlds) -> None:
    here = world(model("a", served_name="wanted"), model("far", "gateway"), model("b"))
    elsewhere = Resident("theirs", "http://192.168.7.9:11434")
    the_wanted = Resident("wanted:latest", HERE)
    here.backends["engine"].foreign += [elsewhere, the_wanted]
    here.backends["gateway"].foreign.append(Resident("cloud", HERE))
    load(here, "far", "a")
    assert not [each for each in here.said if each.startswith("release")]
    load(here, "b")
    assert "release wanted:latest" in here.said
    here.backends["engine"].foreign.clear()


def test_a_server_that_cannot_say_what_it_holds_stops_no_load(world: Worlds, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken() -> list[Resident]:
        raise AppError("unreachable", "It does not answer.")

    here = world(model("a"))
    monkeypatch.setattr(here.backends["sleeper"], "residents", broken)
    load(here, "a")
    assert here.said == ["load a"]


def test_memory_must_be_free_before_the_next_load(world: Worlds) -> None:
    memory = Memory()
    here = world(model("a"), model("b"), model("p", pinned=True), hooks={"memory": memory}, desktop_reserve=2)
    load(here, "p", "a")
    assert memory.asked == []
    pids = set(here.scheduler.loaded["a"].instance.pids)
    load(here, "b")
    assert memory.asked == [pids]
    assert here.targets[-1].free_bytes == 6 * GIB


def test_processes_that_stay_are_not_waited_for(world: Worlds) -> None:
    memory = Memory()
    here = world(model("a"), model("b"), model("p", pinned=True), hooks={"memory": memory})
    load(here, "p", "a")
    shared = here.scheduler.loaded["p"].instance.pids
    here.scheduler.loaded["a"].instance.pids = (*shared, 77)
    load(here, "b")
    assert memory.asked == [{77}]


def test_memory_that_stays_taken_is_a_failed_load_that_names_who_holds_it(world: Worlds) -> None:
    memory = Memory()
    memory.processes = [GpuProcess(gpu=0, pid=4711, name="blender", memory_bytes=3 * GIB)]
    here = world(model("a"), model("b"), hooks={"memory": memory}, cooldown=60)
    load(here, "a")
    memory.releases = False
    error = here.refused(here.use("b"))
    assert (error.code, error.status) == ("memory_not_released", 507)
    assert "blender (pid 4711, 3.0 GiB)" in error.sentence
    assert here.journal.ended[-1] == ("b", Outcome.FAILED)
    [failure] = here.journal.failures
    assert (failure.cause.kind, failure.exceeds_card) == (CauseKind.CAPACITY, False)
    assert "load b" not in here.said
    memory.releases = True
    here.loop.advance(10)
    assert set(here.scheduler.loaded) == {"a"}


async def test_a_model_whose_place_was_not_free_keeps_its_status(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    async def taken(*_: object) -> None:
        raise refusals.memory_not_released(20.0, [])

    await bench.scheduler.load("alpha")
    monkeypatch.setattr(Fitting, "wait_released", taken)
    with pytest.raises(AppError) as caught:
        await bench.scheduler.load("beta")
    assert (caught.value.status, bench.get("beta").status) == (507, Status.UNKNOWN)
    await bench.until(lambda: bench.get("alpha").loaded)


def test_an_engine_that_keeps_its_model_keeps_it_loaded(world: Worlds, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(_instance: object) -> None:
        raise AppError("not_released", "The engine keeps it.", status=502)

    here = world(model("a"), model("b"))
    load(here, "a")
    with monkeypatch.context() as patch:
        patch.setattr(here.backends["engine"], "unload", refuse)
        assert here.refused(here.scheduler.load("b")).code == "not_released"
        assert here.refused(here.scheduler.unload("a")).code == "not_released"
    assert here.catalog.get("a").phase is Phase.LOADED
    here.run(here.use("a"))
    load(here, "b")


def test_a_person_unloads_a_busy_model_at_once_even_while_another_load_waits_for_it(world: Worlds) -> None:
    here = world(model("a"), model("b"))
    here.at_once["a"] += 1
    here.begin(here.use("a", 100.0))
    here.loop.advance(5)
    waiting = here.begin(here.scheduler.load("b"))
    here.loop.advance(5)
    assert here.catalog.get("a").phase is Phase.UNLOADING
    here.run(here.scheduler.unload("a"))
    here.run(waiting)
    assert here.loop.time() < 20
