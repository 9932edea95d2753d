"""Models that failed are left alone for a while, longer each time, and also after a restart."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fake_backend import Act
from hypothesis import given
from hypothesis import strategies as st
from scheduler_bench import Bench
from scheduler_world import World, model

from quarterdeck.backends.base import ExitReport
from quarterdeck.errors import AppError
from quarterdeck.scheduling.cooldown import LONGEST, pause_seconds

Worlds = Callable[..., World]
A = model("a")


@given(base=st.floats(0.01, 86400), failures=st.integers(1, 10_000))
def test_the_pause_doubles_up_to_an_hour(base: float, failures: int) -> None:
    assert pause_seconds(base, 0) == pause_seconds(0, failures) == 0
    assert pause_seconds(base, 1) == min(base, LONGEST)
    assert pause_seconds(base, failures + 1) == min(2 * pause_seconds(base, failures), LONGEST)


def test_each_failure_makes_clients_wait_longer(world: Worlds) -> None:
    here = world(A, cooldown=10)
    here.crashing.add("a")
    for pause in (10, 20, 40):
        assert here.refused(here.use("a")).status == 424
        error = here.refused(here.use("a"))
        assert (error.code, error.status) == ("cooling_down", 503)
        assert pause - 1 <= int(str(error.details["retry_after"])) <= pause
        assert here.catalog.get("a").cooldown_until is not None
        here.loop.advance(pause)
    assert here.said.count("load a") == 3


def test_a_success_forgives_all(world: Worlds) -> None:
    here = world(A, cooldown=10)
    here.crashing.add("a")
    here.refused(here.use("a"))
    here.loop.advance(10)
    here.crashing.clear()
    here.run(here.use("a"))
    assert here.catalog.get("a").cooldown_until is None
    here.ends("a", ExitReport(None, "SIGSEGV"))
    here.loop.advance(1)
    assert 8 <= int(str(here.refused(here.use("a")).details["retry_after"])) <= 10


def test_what_a_person_says_of_a_model_forgives_all(world: Worlds) -> None:
    here = world(A, cooldown=1000)
    here.crashing.add("a")
    here.refused(here.use("a"))
    here.crashing.clear()

    async def says() -> None:
        here.scheduler.forgive("a")

    here.run(says())
    assert here.catalog.get("a").cooldown_until is None
    here.run(here.use("a"))


@pytest.mark.parametrize("by_person", [True, False])
def test_a_person_and_force_need_not_wait(world: Worlds, by_person: bool) -> None:
    here = world(A, cooldown=1000)
    here.crashing.add("a")
    here.refused(here.use("a"))
    here.crashing.clear()
    here.run(here.scheduler.load("a") if by_person else here.use("a", force=True))


def test_a_failure_before_anything_was_tried_costs_nothing(world: Worlds, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_config: object) -> None:
        raise AppError("bad_load_config", "There is no such option.")

    here = world(A, cooldown=1000)
    monkeypatch.setattr(here.backends["engine"], "check_config", refuse)
    here.refused(here.use("a"))
    assert here.refused(here.use("a")).code == "bad_load_config"


async def test_the_pause_outlives_a_restart(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> None:
    bench.set(cooldown=1000)
    bench.backend.plan["alpha"] = Act.OUT_OF_MEMORY
    with pytest.raises(AppError):
        await bench.scheduler.load("alpha")
    await bench.until(lambda: bench.get("alpha").cooldown_until)
    later = Bench(bench.folder)
    try:
        await later.catalog.open()
        await later.scheduler.open()
        until = later.get("alpha").cooldown_until
        assert until is not None
        assert until > datetime.now(UTC)
        with pytest.raises(AppError) as caught:
            async with later.scheduler.lease("alpha"):
                raise AssertionError("never reached")
        assert caught.value.code == "cooling_down"
    finally:
        await later.scheduler.close()
        later.database.close()
    assert Path(bench.folder).exists()
