"""vLLM is killed, its leader or the worker that holds the weights: while it loads, rests and answers."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from deaths import Victim, VllmVictim, WorkerVictim, ended_in_order
from engine_room import EngineRoom, engine_room
from real_engines import OLLAMA, VLLM, VLLM_MODEL, needs
from serve_process import STARTER, wait_for

WHAT = "what a user sees when vLLM is killed"
pytestmark = [
    pytest.mark.engine,
    pytest.mark.slow,
    pytest.mark.timeout(600),
    needs(OLLAMA, WHAT),
    needs(VLLM, WHAT),
    needs(VLLM_MODEL, WHAT),
]

EVERY_VICTIM = pytest.mark.parametrize("kind", [VllmVictim, WorkerVictim], ids=["leader", "worker"])
NUMBERS = itertools.count()

MakeVictim = Callable[[type[Victim]], Victim]


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory, starter_file: Path) -> Iterator[EngineRoom]:
    folder = tmp_path_factory.mktemp("deaths")
    with engine_room(folder / "data", starter_file, vllm=False, QUARTERDECK_MINIMUM_RESIDENCE="0") as made:
        yield made


@pytest.fixture
def make(room: EngineRoom) -> Iterator[MakeVictim]:
    """A victim of a kind, with nothing else in memory."""
    with ThreadPoolExecutor(1) as pool:
        yield lambda kind: kind(room, f"vllm-victim-{next(NUMBERS)}", pool)
        room.serve.http.post("/api/orchestrate/cancel", json={}, timeout=60)
        room.serve.http.post("/api/orchestrate/unload", json={})


@EVERY_VICTIM
def test_killed_while_loading(room: EngineRoom, make: MakeVictim, kind: type[Victim]) -> None:
    victim = make(kind)
    answer = victim.kill_while_loading()
    assert answer.status_code == 424, answer.text
    attempt = room.serve.attempts(victim.name)[0]
    assert (attempt["outcome"], attempt["status_after"]) == ("failed", "incompatible")
    assert attempt["load_seconds"] is None
    model = victim.model
    assert (model["phase"], model["status"]) == ("unloaded", "incompatible")
    view = room.backend("vllm")
    assert (view["state"], view["instances"], bool(view["last_error"])) == ("failed", [], True)
    another_engine_works(room)


@EVERY_VICTIM
def test_killed_while_streaming_then_while_idle(room: EngineRoom, make: MakeVictim, kind: type[Victim]) -> None:
    victim = make(kind)
    lines = victim.kill_while_streaming()
    assert ended_in_order(lines)
    crashed(room, victim)
    victim.works_again()
    family = victim.family()
    family[0].kill()
    room.until_phase(victim.name, "unloaded")
    victim.gone(family)
    crashed(room, victim)
    another_engine_works(room)


def crashed(room: EngineRoom, victim: Victim) -> None:
    wait_for(lambda: victim.model["status"] == "incompatible", "the crash is remembered")
    attempt = room.serve.attempts(victim.name)[0]
    assert (attempt["outcome"], attempt["status_after"]) == ("failed", "incompatible")
    assert attempt["load_seconds"] > 0
    assert victim.model["last_error"]
    assert room.backend("vllm")["state"] == "failed"
    refused = room.chat(victim.name)
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "incompatible")


def another_engine_works(room: EngineRoom) -> None:
    assert room.chat(STARTER).status_code == 200
    assert room.loaded() == [STARTER]
