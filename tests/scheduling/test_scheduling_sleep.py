"""Sleeping instead of unloading, and waking instead of loading."""

from __future__ import annotations

from collections.abc import Callable

from scheduler_world import World, model

from quarterdeck.backends.base import ExitReport
from quarterdeck.schemas.models import Outcome, Phase

Worlds = Callable[..., World]
S1, S2, S3, A = model("s1", "sleeper"), model("s2", "sleeper"), model("s3", "sleeper"), model("a")


def load(here: World, *names: str) -> None:
    for name in names:
        here.run(here.scheduler.load(name))


def test_a_model_that_can_sleep_makes_room_asleep_and_wakes_up_again(world: Worlds) -> None:
    here = world(S1, A)
    load(here, "s1", "a")
    assert (here.catalog.get("s1").phase, here.catalog.get("s1").loaded) == (Phase.SLEEPING, False)
    here.run(here.use("s1"))
    assert here.said == ["load s1", "sleep s1", "load a", "unload a", "wake s1"]
    assert here.catalog.get("s1").phase is Phase.LOADED
    # Waking is no load: it is not in the journal, and the usual time of a load stays what it was.
    assert here.journal.ended == [("s1", Outcome.LOADED), ("a", Outcome.LOADED)]


def test_two_models_of_one_engine_take_turns_asleep(world: Worlds) -> None:
    here = world(S1, S2)
    load(here, "s1", "s2", "s1", "s2")
    assert here.said == ["load s1", "sleep s1", "load s2", "sleep s2", "wake s1", "sleep s1", "wake s2"]


def test_only_one_model_of_an_engine_sleeps(world: Worlds) -> None:
    here = world(S1, S2, S3)
    load(here, "s1", "s2", "s3")
    assert here.said[-2:] == ["unload s1", "load s3"]
    assert set(here.scheduler.loaded) == {"s2", "s3"}


def test_what_does_not_wake_up_is_loaded_anew(world: Worlds) -> None:
    here = world(S1, A)
    load(here, "s1", "a")
    here.backends["sleeper"].wakes = False
    here.run(here.use("s1"))
    assert here.said[-3:] == ["wake s1", "unload s1", "load s1"]


def test_another_config_is_not_woken_but_loaded(world: Worlds) -> None:
    here = world(S1, A)
    load(here, "s1", "a")
    here.run(here.scheduler.load("s1", load_config={"n_ctx": 256}))
    assert "wake s1" not in here.said
    assert here.said[-1] == "load s1"


def test_an_engine_that_ends_asleep_is_no_crash(world: Worlds) -> None:
    here = world(S1, A)
    load(here, "s1", "a")
    here.ends("s1", ExitReport(None, "SIGKILL"))
    here.loop.advance(1)
    view = here.catalog.get("s1")
    assert (view.phase, view.last_error) == (Phase.UNLOADED, "Its engine ended while it slept.")
    assert here.journal.failures == []
    load(here, "s1")


def test_a_sleeping_model_can_be_unloaded(world: Worlds) -> None:
    here = world(S1, A)
    load(here, "s1", "a")
    here.run(here.scheduler.unload("s1"))
    assert here.catalog.get("s1").phase is Phase.UNLOADED
    assert set(here.scheduler.loaded) == {"a"}
