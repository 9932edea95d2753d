"""Quarterdeck is killed with engines up and started again: adopted or stopped, and the next load works."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from deaths import Victim, VllmVictim
from engine_room import OLLAMA_MODEL, SECOND, VLLM_NAME, EngineRoom, engine_room
from real_engines import OLLAMA, VLLM, VLLM_MODEL, needs
from serve_process import STARTER, wait_for

from quarterdeck.processes import is_alive

pytestmark = [pytest.mark.engine, pytest.mark.slow, needs(OLLAMA, "a restart with engines up")]


@pytest.fixture
def room(data_dir: Path, starter_file: Path) -> Iterator[EngineRoom]:
    with engine_room(data_dir, starter_file, vllm=False, QUARTERDECK_MINIMUM_RESIDENCE="0") as made:
        yield made


def test_the_built_in_engine_ends_and_ollama_is_adopted(room: EngineRoom) -> None:
    ollama = room.backend("ollama")
    created = psutil.Process(ollama["pid"]).create_time()
    assert room.chat(STARTER).status_code == 200
    room.serve.kill()
    room.serve.wait_without_engines()
    with room.again() as serve:
        assert serve.issues().keys() <= {"port_in_use"}
        adopted = room.backend("ollama")
        assert (adopted["pid"], adopted["state"]) == (ollama["pid"], "running")
        assert (adopted["owner"]["kind"], adopted["actions"]) == ("quarterdeck", ["stop", "restart"])
        assert (room.phase(STARTER), serve.model(STARTER)["status"]) == ("unloaded", "compatible")
        assert [attempt["outcome"] for attempt in serve.attempts(STARTER)] == ["loaded"]
        assert room.chat(OLLAMA_MODEL).status_code == 200
        assert room.chat(SECOND).status_code == 200
        assert room.resident_on_ollama() == []
        assert serve.terminate() == 0
    assert not is_alive(ollama["pid"], created)


def test_a_model_in_ollama_stays_there_until_another_is_wanted(room: EngineRoom) -> None:
    assert room.chat(OLLAMA_MODEL).status_code == 200
    server = room.backend("ollama")["pid"]
    [runner] = psutil.Process(server).children()
    room.serve.kill()
    assert runner.is_running()
    with room.again() as serve:
        assert (room.phase(OLLAMA_MODEL), serve.model(OLLAMA_MODEL)["status"]) == ("unloaded", "compatible")
        assert room.backend("ollama")["pid"] == server
        assert room.chat(SECOND).status_code == 200
        assert room.resident_on_ollama() == []
        assert not runner.is_running()
        assert room.chat(OLLAMA_MODEL).status_code == 200
        assert room.watcher.overlaps == []


def test_killed_while_ollama_loads(room: EngineRoom) -> None:
    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(room.chat, OLLAMA_MODEL)
        wait_for(lambda: room.phase(OLLAMA_MODEL) == "loading", "the load is under way")
        room.serve.kill()
        assert loading.exception(30) is not None
    with room.again() as serve:
        model = serve.model(OLLAMA_MODEL)
        assert (model["phase"], model["status"]) == ("unloaded", "incompatible")
        assert "crashed during the compatibility test" in model["notes"]
        assert serve.attempts(OLLAMA_MODEL)[0]["outcome"] == "interrupted"
        assert room.chat(STARTER).status_code == 200
        assert room.resident_on_ollama() == []


def test_an_ollama_that_ended_meanwhile_is_no_longer_ours(room: EngineRoom) -> None:
    server = psutil.Process(room.backend("ollama")["pid"])
    room.serve.kill()
    server.kill()
    with room.again():
        assert (room.backend("ollama")["state"], room.backend("ollama")["actions"]) == ("stopped", ["start"])
        assert room.chat(OLLAMA_MODEL).status_code == 200
        assert room.backend("ollama")["pid"] != server.pid


@pytest.mark.timeout(600)
@needs(VLLM, "a restart with vLLM up")
@needs(VLLM_MODEL, "a restart with vLLM up")
def test_vllm_ends_with_all_its_processes(room: EngineRoom) -> None:
    with ThreadPoolExecutor(1) as pool:
        victim: Victim = VllmVictim(room, VLLM_NAME, pool)
        victim.load().raise_for_status()
        family = victim.family()
        assert len(family) >= 3
        room.serve.kill()
        with room.again() as serve:
            victim.gone(family)
            assert room.backend("vllm")["state"] == "stopped"
            assert (room.phase(VLLM_NAME), serve.model(VLLM_NAME)["status"]) == ("unloaded", "compatible")
            assert room.chat(STARTER).status_code == 200
            assert room.loaded() == [STARTER]
