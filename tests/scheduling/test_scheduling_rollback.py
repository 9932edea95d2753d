"""When a load fails for which another model went, that model comes back."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from scheduler_world import World, model

from quarterdeck.schemas.models import Outcome

Worlds = Callable[..., World]
A, B, C = model("a"), model("b"), model("c")


def load(here: World, *names: str) -> None:
    for name in names:
        here.run(here.scheduler.load(name))


@pytest.mark.parametrize("by_person", [True, False])
def test_the_earlier_model_comes_back_and_the_failure_is_told_at_once(world: Worlds, by_person: bool) -> None:
    here = world(A, B)
    load(here, "a")
    here.seconds["a"] = 100.0
    here.crashing.add("b")
    error = here.refused(here.scheduler.load("b") if by_person else here.use("b"))
    assert error.status == 424
    assert here.loop.time() < 20
    here.loop.advance(200)
    assert set(here.scheduler.loaded) == {"a"}
    assert here.journal.ended == [("a", Outcome.LOADED), ("b", Outcome.FAILED), ("a", Outcome.LOADED)]


def test_all_that_went_come_back(world: Worlds) -> None:
    here = world(model("a", group="g"), model("b", group="g"), C)
    load(here, "a", "b")
    here.crashing.add("c")
    here.refused(here.scheduler.load("c"))
    here.loop.advance(20)
    assert set(here.scheduler.loaded) == {"a", "b"}


def test_nothing_comes_back_when_somebody_waits_for_another_model(world: Worlds) -> None:
    here = world(A, B, C)
    load(here, "a")
    here.crashing.add("b")
    failing = here.begin(here.use("b"))
    waiting = here.begin(here.use("c"))
    here.refused(failing)
    here.run(waiting)
    here.loop.advance(20)
    assert here.said == ["load a", "unload a", "load b", "crash b", "load c"]


def test_a_model_that_comes_back_gives_way_to_one_that_is_wanted(world: Worlds) -> None:
    here = world(A, B, C)
    load(here, "a")
    here.crashing.add("b")
    here.seconds["a"] = 1000.0
    here.refused(here.use("b"))
    here.loop.advance(1)
    here.run(here.use("c"))
    assert here.loop.time() < 50
    assert here.said[-2:] == ["cancel a", "load c"]


def test_a_request_for_the_model_that_comes_back_waits_for_it(world: Worlds) -> None:
    here = world(A, B)
    load(here, "a")
    here.crashing.add("b")
    here.refused(here.use("b"))
    here.run(here.use("a"))
    assert here.said.count("load a") == 2


def test_a_sleeping_model_is_woken(world: Worlds) -> None:
    here = world(model("s", "sleeper"), B)
    load(here, "s")
    here.crashing.add("b")
    here.refused(here.scheduler.load("b"))
    here.loop.advance(5)
    assert here.said[-1] == "wake s"


def test_a_config_that_fails_gives_way_to_the_earlier_one(world: Worlds) -> None:
    here = world(A)
    load(here, "a")
    here.crashing.add("a")
    here.refused(here.scheduler.load("a", load_config={"n_ctx": 256}))
    here.crashing.clear()
    here.loop.advance(5)
    assert [dict(target.load_config) for target in here.targets] == [{}, {"n_ctx": 256}, {}]
    assert here.scheduler.loaded["a"].config == {}


@pytest.mark.parametrize("how", ["person", "client"])
def test_a_load_that_was_given_up_brings_nothing_back(world: Worlds, how: str) -> None:
    here = world(A, B)
    load(here, "a")
    here.seconds["b"] = 100.0
    request = here.begin(here.use("b"))
    here.loop.advance(5)
    if how == "person":
        here.run(here.scheduler.cancel("b"))
        assert here.refused(request).code == "load_cancelled"
    else:
        request.cancel()
    here.loop.advance(200)
    assert here.said == ["load a", "unload a", "load b", "cancel b"]


def test_a_load_that_evicted_nobody_brings_nothing_back(world: Worlds) -> None:
    here = world(A, B)
    load(here, "a")
    here.run(here.scheduler.unload("a"))
    here.crashing.add("b")
    here.refused(here.scheduler.load("b"))
    here.loop.advance(20)
    assert here.scheduler.loaded == {}
