"""Engines that are killed while they load, rest or answer: what a user sees, and that nothing is left of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from deaths import EmbeddedVictim, OllamaVictim, RunnerVictim, Victim, ended_in_order
from engine_room import EngineRoom, engine_room
from real_engines import OLLAMA, needs
from serve_process import wait_for

pytestmark = [pytest.mark.engine, pytest.mark.slow, needs(OLLAMA, "what a user sees when an engine is killed")]

VICTIMS = [EmbeddedVictim, OllamaVictim, RunnerVictim]
EVERY_VICTIM = pytest.mark.parametrize("kind", VICTIMS, ids=["llama.cpp", "Ollama's server", "Ollama's runner"])
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
        yield lambda kind: kind(room, f"victim-{next(NUMBERS)}", pool)
        room.serve.http.post("/api/orchestrate/unload", json={})


@EVERY_VICTIM
def test_killed_while_loading(room: EngineRoom, make: MakeVictim, kind: type[Victim]) -> None:
    victim = make(kind)
    answer = victim.kill_while_loading()
    code, status, words = victim.killed_while_loading
    assert answer.status_code == code, answer.text
    assert answer.json()["compatibility_status"] == status
    attempt = room.serve.attempts(victim.name)[0]
    assert (attempt["outcome"], attempt["signal"], attempt["status_after"]) == ("failed", "SIGKILL", status)
    model = victim.model
    assert (model["phase"], model["status"], model["loaded"]) == ("unloaded", status, False)
    assert words in model["last_error"]
    assert room.backend(victim.backend)["instances"] == []
    victim.works_again()


@EVERY_VICTIM
def test_killed_while_idle(room: EngineRoom, make: MakeVictim, kind: type[Victim]) -> None:
    victim = make(kind)
    victim.kill_while_idle()
    crashed(room, victim)
    victim.works_again()


@EVERY_VICTIM
def test_killed_while_streaming(room: EngineRoom, make: MakeVictim, kind: type[Victim]) -> None:
    victim = make(kind)
    error = ended_in_order(victim.kill_while_streaming())
    assert error["code"] == "engine_lost"
    crashed(room, victim)
    victim.works_again()


def crashed(room: EngineRoom, victim: Victim) -> None:
    """The crash of a loaded model is remembered, and clients are told to wait or to force it."""
    wait_for(lambda: victim.model["status"] == "incompatible", "the crash is remembered")
    attempt = room.serve.attempts(victim.name)[0]
    # Ollama says nothing of the end of a runner that rests.
    signal = None if isinstance(victim, RunnerVictim) else "SIGKILL"
    assert (attempt["outcome"], attempt["signal"], attempt["status_after"]) == ("failed", signal, "incompatible")
    assert attempt["load_seconds"] > 0
    assert (signal or "without saying why") in victim.model["last_error"]
    assert "[GIN]" not in victim.model["last_error"]
    assert room.backend(victim.backend)["instances"] == []
    refused = room.chat(victim.name)
    assert refused.status_code == 409
    assert refused.json()["error"]["code"] == "incompatible"
