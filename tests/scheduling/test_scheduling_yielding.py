"""Giving way to other programs, and coming back."""

from __future__ import annotations

import os
from collections.abc import Callable

import psutil
import pytest
from scheduler_world import World, model

from quarterdeck.scheduling.yielding import first_running, running_programs
from quarterdeck.schemas.models import Phase

Worlds = Callable[..., World]
GAME = "blender"
A, B = model("a"), model("b")


@pytest.mark.parametrize(
    ("wanted", "running", "found"),
    [
        (["blender"], {"bash", "Blender"}, "blender"),
        (["Game"], {"game.exe"}, "Game"),
        (["game.exe"], {"game"}, "game.exe"),
        (["a", "b"], {"b"}, "b"),
        (["blend"], {"blender"}, None),
        (["", " "], {""}, None),
        ([], {"blender"}, None),
    ],
)
def test_which_program_runs(wanted: list[str], running: set[str], found: str | None) -> None:
    assert first_running(wanted, running) == found


async def test_running_programs_are_found() -> None:
    assert psutil.Process(os.getpid()).name() in await running_programs()


def giving(world: Worlds, *models: object, **options: object) -> World:
    return world(*models, yield_to=[GAME], **options)


def starts(here: World) -> None:
    here.programs = {GAME}
    here.loop.advance(6)


def ends(here: World) -> None:
    here.programs = set()
    here.loop.advance(20)


def test_models_go_while_the_program_runs_and_come_back(world: Worlds) -> None:
    here = giving(world, model("a", group="g"), model("b", group="g"), model("far", "gateway"))
    for name in ("a", "b", "far"):
        here.run(here.scheduler.load(name))
    starts(here)
    assert set(here.scheduler.loaded) == {"far"}
    here.loop.advance(1000)
    assert set(here.scheduler.loaded) == {"far"}
    ends(here)
    assert set(here.scheduler.loaded) == {"a", "b", "far"}


def test_models_sleep_where_they_can(world: Worlds) -> None:
    here = giving(world, model("s", "sleeper"))
    here.run(here.scheduler.load("s"))
    starts(here)
    assert here.catalog.get("s").phase is Phase.SLEEPING
    ends(here)
    assert here.said == ["load s", "sleep s", "wake s"]


def test_running_requests_are_let_finish(world: Worlds) -> None:
    here = giving(world, A)
    request = here.begin(here.use("a", 100.0))
    here.loop.advance(5)
    starts(here)
    assert here.catalog.get("a").phase is Phase.UNLOADING
    assert here.refused(here.use("a")).code == "yielded"
    here.run(request)
    here.loop.advance(5)
    assert here.scheduler.loaded == {}


def test_a_model_that_has_not_gone_yet_stays_when_the_program_ends(world: Worlds) -> None:
    here = giving(world, A)
    here.begin(here.use("a", 100.0))
    here.loop.advance(5)
    starts(here)
    ends(here)
    assert here.catalog.get("a").phase is Phase.LOADED
    here.run(here.use("a"))
    assert here.said == ["load a"]


def test_clients_are_told_who_has_the_memory_and_a_person_may_load(world: Worlds) -> None:
    here = giving(world, A, model("far", "gateway"))
    starts(here)
    error = here.refused(here.use("a"))
    assert (error.code, error.status) == ("yielded", 503)
    assert GAME in error.sentence
    assert int(str(error.details["retry_after"])) >= 1
    here.run(here.use("far"))
    here.run(here.scheduler.load("a"))
    here.run(here.use("a"))
    here.loop.advance(100)
    assert "a" in here.scheduler.loaded


def test_loads_for_clients_are_ended(world: Worlds) -> None:
    here = giving(world, A, B)
    here.seconds = {"a": 100.0, "b": 100.0}
    first, second = here.begin(here.use("a")), here.begin(here.use("b"))
    here.loop.advance(1)
    starts(here)
    assert [here.refused(each).code for each in (first, second)] == ["yielded", "yielded"]
    assert here.said == ["load a", "cancel a"]


def test_what_comes_back_takes_nobodys_place(world: Worlds) -> None:
    here = giving(world, A, B)
    here.run(here.scheduler.load("a"))
    starts(here)
    here.run(here.scheduler.load("b"))
    ends(here)
    assert set(here.scheduler.loaded) == {"b"}


def test_nobody_looks_while_there_is_nothing_to_look_for(world: Worlds) -> None:
    here = world(A)
    here.programs = {GAME}
    here.run(here.scheduler.load("a"))
    here.loop.advance(100)
    assert here.loop.timers() == 0
    here.set(yield_to=[GAME])
    here.loop.advance(1)
    assert here.scheduler.loaded == {}
    here.set(yield_to=[])
    here.loop.advance(20)
    assert set(here.scheduler.loaded) == {"a"}
    assert here.loop.timers() == 0
