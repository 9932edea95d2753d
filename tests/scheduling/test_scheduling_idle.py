"""Models that nobody uses are unloaded when their time is over."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from scheduler_world import World, model

from quarterdeck.scheduling.idle import idle_limit

Worlds = Callable[..., World]


@pytest.mark.parametrize(
    ("pinned", "own", "general", "limit"),
    [
        (False, None, 60.0, 60.0),
        (False, None, 0.0, None),
        (False, 5.0, 60.0, 5.0),
        (False, 0.0, 60.0, None),
        (True, None, 60.0, None),
        (True, 5.0, 60.0, 5.0),
    ],
)
def test_the_limit_of_a_model(pinned: bool, own: float | None, general: float, limit: float | None) -> None:
    assert idle_limit(pinned, own, general) == limit


def test_a_model_goes_when_nobody_used_it_for_its_limit(world: Worlds) -> None:
    here = world(model("a"), idle_timeout=60)
    here.run(here.use("a", 100.0))
    ended = here.loop.time()
    here.loop.advance(40)
    here.run(here.use("a"))
    here.loop.advance(55)
    assert here.said == ["load a"]
    here.loop.advance(10)
    assert here.said == ["load a", "unload a"]
    assert ended + 99 < here.when("unload a") < ended + 101


def test_each_model_has_its_own_limit(world: Worlds) -> None:
    here = world(
        model("a", group="g", idle_timeout=10), model("b", group="g"), model("c", group="g", idle_timeout=0),
        idle_timeout=50,
    )  # fmt: skip
    for name in "abc":
        here.run(here.scheduler.load(name))
    here.loop.advance(20)
    assert set(here.scheduler.loaded) == {"b", "c"}
    here.loop.advance(5000)
    assert set(here.scheduler.loaded) == {"c"}


def test_a_busy_model_is_not_idle(world: Worlds) -> None:
    here = world(model("a"), idle_timeout=5)
    request = here.begin(here.use("a", 1000.0))
    here.loop.advance(900)
    assert here.said == ["load a"]
    here.run(request)


def test_a_changed_limit_counts_at_once(world: Worlds) -> None:
    here = world(model("a"))
    here.run(here.scheduler.load("a"))
    here.loop.advance(100)
    here.set(idle_timeout=10)
    here.loop.advance(1)
    assert here.said[-1] == "unload a"


def test_nothing_ticks_while_no_model_has_a_limit(world: Worlds) -> None:
    here = world(model("a"))
    here.run(here.scheduler.load("a"))
    here.loop.advance(1)
    assert here.loop.timers() == 0
    here.set(idle_timeout=10)
    assert here.loop.timers() == 1
