"""Backends with several models: how they look, start, stop and restart, and how their engines end."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from scheduler_world import World, model

from quarterdeck.backends.base import ExitReport
from quarterdeck.errors import AppError
from quarterdeck.schemas.backends import BackendState, BackendView
from quarterdeck.schemas.models import Outcome, Phase

Worlds = Callable[..., World]
G1, G2, S = model("g1", group="g"), model("g2", group="g"), model("s", "sleeper", group="g")


def three(world: Worlds) -> World:
    here = world(G1, G2, S)
    for name in ("g1", "g2", "s"):
        here.run(here.scheduler.load(name, load_config={"n_ctx": 256} if name == "g2" else None))
    return here


def test_each_backend_shows_its_own_models(world: Worlds) -> None:
    here = three(world)
    views = {view.name: view.models for view in here.scheduler.backend_views()}
    assert views == {"engine": ["g1", "g2"], "sleeper": ["s"], "gateway": []}
    assert here.scheduler.backend_view("engine").models == ["g1", "g2"]


def test_stop_ends_all_models_of_the_backend_and_its_loads(world: Worlds) -> None:
    here = three(world)
    here.seconds["g1"] = 100.0
    loading = here.begin(here.scheduler.load("g1", load_config={"n_ctx": 1}))
    here.loop.advance(5)
    here.run(here.scheduler.stop("engine"))
    assert here.refused(loading).code == "load_cancelled"
    assert set(here.scheduler.loaded) == {"s"}
    assert here.refused(here.scheduler.stop("engine")).code == "backend_not_running"


def test_restart_brings_all_models_back_as_they_were(world: Worlds) -> None:
    here = three(world)
    here.run(here.scheduler.restart("engine"))
    assert {name: each.config for name, each in here.scheduler.loaded.items()} == {
        "s": {}, "g1": {}, "g2": {"n_ctx": 256},
    }  # fmt: skip
    assert here.said[-2:] == ["load g1", "load g2"]


def test_a_backend_with_a_server_of_its_own_starts_and_stops_that(
    world: Worlds, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def start() -> None:
        calls.append("start")

    async def stop() -> None:
        calls.append("stop")

    calls: list[str] = []
    here = world(G1)
    engine = here.backends["engine"]
    monkeypatch.setattr(engine, "start", start)
    monkeypatch.setattr(engine, "stop", stop)
    here.run(here.scheduler.start("engine"))
    assert (calls, here.said) == (["start"], [])
    stoppable = BackendView(name="engine", title="Engine", state=BackendState.RUNNING, actions=["stop", "restart"])
    monkeypatch.setattr(engine, "view", lambda _: stoppable)
    here.run(here.scheduler.restart("engine"))
    assert calls == ["start", "stop", "start"]


def test_a_backend_that_makes_room_is_switching(world: Worlds) -> None:
    here = world(model("a"), model("b"))
    engine = here.backends["engine"]
    shown = BackendView(name="engine", title="Engine", state=BackendState.RUNNING)
    engine.view = lambda _: shown.model_copy()  # type: ignore[method-assign]
    here.begin(here.use("a", 10.0))
    here.loop.advance(5)
    here.begin(here.use("b"))
    here.loop.advance(1)
    assert here.scheduler.backend_view("engine").state is BackendState.SWITCHING
    here.loop.advance(30)
    assert here.scheduler.backend_view("engine").state is BackendState.RUNNING


def test_a_model_that_went_away_without_a_crash_keeps_its_status(world: Worlds) -> None:
    here = three(world)
    here.ends("g1", ExitReport(None, None, outside="Ollama unloaded it."))
    here.loop.advance(1)
    view = here.catalog.get("g1")
    assert (view.phase, view.last_error) == (Phase.UNLOADED, "Ollama unloaded it.")
    assert here.journal.failures == []
    assert all(outcome is Outcome.LOADED for _, outcome in here.journal.ended)
    assert set(here.scheduler.loaded) == {"g2", "s"}


def test_a_model_that_its_backend_ended_for_us_is_just_gone(world: Worlds) -> None:
    here = three(world)
    here.ends("g1", ExitReport(None, "SIGTERM", asked_for=True))
    here.loop.advance(1)
    assert (here.catalog.get("g1").phase, here.catalog.get("g1").last_error) == (Phase.UNLOADED, None)


def test_unload_without_a_name_means_the_model_loaded_last(world: Worlds) -> None:
    here = three(world)
    assert here.run(here.scheduler.unload()) == "s"


def test_at_the_end_all_models_and_backends_end_whatever_goes_wrong(
    world: Worlds, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse() -> None:
        raise AppError("busy", "It does not end.")

    async def close() -> None:
        closed.append("sleeper")

    closed: list[str] = []
    here = three(world)
    monkeypatch.setattr(here.backends["engine"], "close", refuse)
    monkeypatch.setattr(here.backends["sleeper"], "close", close)
    here.run(here.scheduler.close())
    assert (here.scheduler.loaded, closed) == ({}, ["sleeper"])
