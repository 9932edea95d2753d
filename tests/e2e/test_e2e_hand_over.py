"""Several real engines, one machine: each request lands on its engine, and never do two models hold memory at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from engine_room import OLLAMA_MODEL, SECOND, VLLM_NAME, EngineRoom, engine_room
from real_engines import LONG, OLLAMA, VLLM, needs
from serve_process import STARTER, serving, wait_for

pytestmark = [pytest.mark.engine, pytest.mark.slow, needs(OLLAMA, "the hand-over between llama.cpp and Ollama")]


@pytest.fixture
def room(data_dir: Path, starter_file: Path) -> Iterator[EngineRoom]:
    with engine_room(data_dir, starter_file, vllm=False) as made:
        yield made


def take_turns(room: EngineRoom, order: list[str]) -> None:
    backends = {STARTER: "embedded", SECOND: "embedded", OLLAMA_MODEL: "ollama", VLLM_NAME: "vllm"}
    for model in order:
        answer = room.chat(model)
        assert answer.status_code == 200, answer.text
        assert answer.json()["choices"][0]["message"]["content"]
        assert room.backend_of(answer) == backends[model]
        assert room.phase(model) == "loaded"
        assert bool(room.resident_on_ollama()) == (model == OLLAMA_MODEL)
    assert room.watcher.overlaps == []


def test_alternating_requests_each_land_on_the_right_engine(room: EngineRoom) -> None:
    take_turns(room, [STARTER, OLLAMA_MODEL, SECOND, OLLAMA_MODEL, STARTER] * (2 if LONG else 1))


@pytest.mark.timeout(600)
@needs(VLLM, "the hand-over to and from vLLM")
def test_vllm_ollama_and_llama_cpp_take_turns(data_dir: Path, starter_file: Path) -> None:
    with engine_room(data_dir, starter_file, vllm=True) as room:
        take_turns(room, [STARTER, VLLM_NAME, OLLAMA_MODEL, SECOND, VLLM_NAME, STARTER, OLLAMA_MODEL, VLLM_NAME,
                          OLLAMA_MODEL, SECOND])  # fmt: skip


def test_what_ollama_had_loaded_before_us_makes_room(room: EngineRoom, data_dir: Path) -> None:
    room.chat(OLLAMA_MODEL).raise_for_status()
    room.serve.kill()
    environment = {"QUARTERDECK_OLLAMA_URL": room.ollama_url, "QUARTERDECK_OLLAMA_COMMAND": str(OLLAMA)}
    with serving(data_dir, **environment) as again:
        again.load(STARTER).raise_for_status()
        assert again.model(OLLAMA_MODEL)["status"] == "compatible"
        assert room.resident_on_ollama() == []


def test_an_ollama_of_ours_that_is_killed_is_told_and_started_again(room: EngineRoom) -> None:
    room.chat(OLLAMA_MODEL).raise_for_status()
    pid = room.backend("ollama")["pid"]
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: room.phase(OLLAMA_MODEL) == "unloaded", "the model counts as unloaded")
    wait_for(lambda: room.serve.model(OLLAMA_MODEL)["status"] == "incompatible", "the crash is remembered")
    assert room.chat(OLLAMA_MODEL).status_code in (409, 503)
    room.serve.load(OLLAMA_MODEL, force_load=True).raise_for_status()
    assert room.chat(OLLAMA_MODEL).status_code == 200
    assert room.backend("ollama")["pid"] != pid
