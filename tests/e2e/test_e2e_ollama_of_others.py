"""An Ollama that somebody else started: attached to, never stopped, and its models make room for ours."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from deaths import OllamaVictim, RunnerVictim, ended_in_order
from engine_room import QUESTION, TAG, EngineRoom, end_listener, free_port
from real_engines import OLLAMA, needs
from serve_process import STARTER, serving, wait_for

from quarterdeck.processes import is_alive

pytestmark = [pytest.mark.engine, pytest.mark.slow, needs(OLLAMA, "working beside an Ollama that others started")]

OTHER_TAG = "theirs:latest"
NAME = "smol"


class Others:
    """Somebody else's Ollama, with two models in its store."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._environment = {
            **os.environ,
            "OLLAMA_HOST": f"127.0.0.1:{self.port}",
            "OLLAMA_MODELS": str(folder / "ollama-models"),
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> int:
        if self.process is not None:
            self.process.wait(10)
        self.process = subprocess.Popen(
            [str(OLLAMA), "serve"], env=self._environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_for(self.answers, "Ollama answers")
        return self.process.pid

    def answers(self) -> bool:
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"{self.url}/api/version", trust_env=False, timeout=5).status_code == 200
        return False

    def end(self) -> None:
        """As its owner ends it, with all it started."""
        end_listener(self.port)
        if self.process is not None:
            self.process.wait(10)

    def create(self, file: Path, folder: Path) -> None:
        modelfile = folder / "Modelfile"
        modelfile.write_text(f"FROM {file}\nPARAMETER num_ctx 512\n")
        for tag in (TAG, OTHER_TAG):
            subprocess.run([OLLAMA, "create", tag, "-f", modelfile], env=self._environment, check=True,
                           capture_output=True, timeout=120)  # fmt: skip

    def load(self, tag: str) -> None:
        """Somebody else uses it, for a long time."""
        body = {"model": tag, "keep_alive": "1h"}
        httpx.post(f"{self.url}/api/generate", json=body, trust_env=False, timeout=120).raise_for_status()

    def resident(self) -> list[str]:
        answer = httpx.get(f"{self.url}/api/ps", trust_env=False, timeout=10)
        return [model["name"] for model in answer.json()["models"]]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, starter_file: Path) -> Iterator[Others]:
    folder = tmp_path_factory.mktemp("others")
    others = Others(folder)
    try:
        others.start()
        others.create(starter_file, folder)
        yield others
    finally:
        others.end()


@pytest.fixture
def others(store: Others) -> Others:
    """Their Ollama, running, with nothing in memory."""
    if not store.answers():
        store.start()
    for tag in store.resident():
        body = {"model": tag, "keep_alive": 0}
        httpx.post(f"{store.url}/api/generate", json=body, trust_env=False, timeout=60)
    wait_for(lambda: store.resident() == [], "nothing is in memory")
    return store


@contextlib.contextmanager
def beside(others: Others, data_dir: Path) -> Iterator[EngineRoom]:
    """Our own program, with one model of theirs registered; it looks around when it starts."""
    environment = {
        "QUARTERDECK_OLLAMA_URL": others.url,
        "QUARTERDECK_OLLAMA_COMMAND": str(OLLAMA),
        "QUARTERDECK_MINIMUM_RESIDENCE": "0",
        "QUARTERDECK_DISCOVER_AT_START": "1",
    }
    with serving(data_dir, **environment) as serve:
        room = EngineRoom(serve, others.port)
        if all(model["name"] != NAME for model in serve.http.get("/api/models").json()):
            room.register_ollama(NAME)
        yield room


def is_shown(room: EngineRoom, **wanted: Any) -> None:
    def fits() -> bool:
        view = room.backend("ollama")
        flat = {**view, "owner": view["owner"]["kind"]}
        return all(flat[key] == value for key, value in wanted.items())

    wait_for(fits, f"Ollama is shown with {wanted}", 20)


def test_it_is_attached_to_and_never_stopped(others: Others, data_dir: Path) -> None:
    assert others.process is not None
    pid = others.process.pid
    created = psutil.Process(pid).create_time()
    with beside(others, data_dir) as room:
        is_shown(room, state="running", owner="other", actions=[], pid=pid)
        assert room.chat(NAME).status_code == 200
        is_shown(room, state="running", owner="other", models=[NAME])
        refused = room.serve.http.post("/api/backends/ollama/restart")
        assert (refused.status_code, refused.json()["code"]) == (409, "not_ours")
        assert room.chat(STARTER).status_code == 200
        assert others.resident() == []
        assert room.chat(NAME).status_code == 200
        assert room.serve.terminate() == 0
    assert is_alive(pid, created)
    assert others.resident() == []


def test_what_others_loaded_makes_room_also_as_the_first_thing(others: Others, data_dir: Path) -> None:
    others.load(OTHER_TAG)
    with beside(others, data_dir) as room:
        assert room.chat(STARTER).status_code == 200
        assert others.resident() == []
        others.load(OTHER_TAG)
        assert room.chat(NAME).status_code == 200
        assert others.resident() == [TAG]
        assert room.watcher.overlaps == []
        room.serve.kill()
    # What our model left there makes room, right after our restart.
    assert others.resident() == [TAG]
    with beside(others, data_dir) as room:
        assert room.phase(NAME) == "unloaded"
        assert room.chat(STARTER).status_code == 200
        assert others.resident() == []
        assert (room.serve.model(NAME)["status"], room.serve.model(STARTER)["status"]) == ("compatible", "compatible")


def test_when_its_owner_restarts_it_the_model_is_loaded_again(others: Others, data_dir: Path) -> None:
    with beside(others, data_dir) as room:
        assert room.chat(NAME).status_code == 200
        others.end()
        room.until_phase(NAME, "unloaded")
        model = room.serve.model(NAME)
        assert (model["status"], model["last_error"]) == ("compatible", "Ollama stopped answering.")
        assert [attempt["outcome"] for attempt in room.serve.attempts(NAME)] == ["loaded"]
        pid = others.start()
        assert room.chat(NAME).status_code == 200
        assert others.resident() == [TAG]
        is_shown(room, state="running", owner="other", pid=pid)
        assert room.serve.model(NAME)["last_error"] is None


def test_a_restart_between_two_looks_is_noticed(others: Others, data_dir: Path) -> None:
    with beside(others, data_dir) as room:
        assert room.chat(NAME).status_code == 200
        others.end()
        others.start()
        room.until_phase(NAME, "unloaded")
        assert room.serve.model(NAME)["status"] == "compatible"
        assert room.chat(NAME).status_code == 200


@pytest.mark.parametrize("moment", ["loading", "streaming"])
def test_killed_while_it_works_for_us(others: Others, data_dir: Path, moment: str) -> None:
    with beside(others, data_dir) as room, ThreadPoolExecutor(1) as pool:
        victim = OllamaVictim(room, "victim", pool)
        if moment == "loading":
            answer = victim.kill_while_loading(orphans=True)
            assert (answer.status_code, answer.json()["code"]) == (502, "server_unreachable")
            assert room.serve.attempts("victim")[0]["outcome"] == "failed"
        else:
            assert ended_in_order(victim.kill_while_streaming(orphans=True))["code"] == "engine_lost"
            assert room.serve.attempts("victim")[0]["outcome"] == "loaded"
        # Not our engine, not our crash: the model may be loaded as before.
        assert victim.model["status"] in ("unknown", "compatible")
        is_shown(room, state="stopped")
        others.start()
        victim.works_again()
        is_shown(room, state="running", owner="other")


def test_its_runner_is_killed(others: Others, data_dir: Path) -> None:
    with beside(others, data_dir) as room, ThreadPoolExecutor(1) as pool:
        victim = RunnerVictim(room, "victim", pool)
        victim.kill_while_idle()
        wait_for(lambda: victim.model["status"] == "incompatible", "the crash is remembered")
        victim.works_again()
        assert ended_in_order(victim.kill_while_streaming())["code"] == "engine_lost"
        body = {"model": STARTER, "messages": QUESTION, "max_tokens": 2}
        assert room.serve.http.post("/v1/chat/completions", json=body).status_code == 200
