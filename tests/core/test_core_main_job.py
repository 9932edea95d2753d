"""The main job on the real engine: card, load, chat through the proxy, unload, and what is remembered."""

from __future__ import annotations

from collections.abc import Iterator

import psutil
import pytest
from running_core import STARTER, RunningCore, running_core

pytestmark = pytest.mark.engine


@pytest.fixture
def core(starter_file: object) -> Iterator[RunningCore]:
    with running_core() as running:
        yield running


def test_the_starter_model_is_there_on_the_first_start(core: RunningCore) -> None:
    [model] = core.http.get("/api/models").json()
    assert (model["name"], model["status"], model["loaded"]) == (STARTER, "unknown", False)
    assert model["quantization"] == "Q4_1"
    assert model["context_length"] == 8192


def test_a_load_makes_an_unknown_model_compatible(core: RunningCore) -> None:
    answer = core.load()
    assert answer.status_code == 200
    assert answer.json()["compatibility_status"] == "compatible"
    assert answer.json()["model_type"] == "llama"
    assert core.model()["loaded"] is True
    [attempt] = core.attempts()
    assert attempt["outcome"] == "loaded"
    assert (attempt["status_before"], attempt["status_after"]) == ("unknown", "compatible")


def test_unloading_ends_the_engine_process(core: RunningCore) -> None:
    core.load()
    pid = core.engine_pid()
    assert pid is not None
    core.http.post("/api/orchestrate/unload", json={}).raise_for_status()
    assert core.engine_pid() is None
    assert not psutil.pid_exists(pid)


def test_a_chat_loads_the_model_and_answers_text(core: RunningCore) -> None:
    body = {"model": STARTER, "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 12}
    answer = core.http.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200
    assert answer.json()["choices"][0]["message"]["content"].strip()
    assert answer.headers["x-quarterdeck-route"] == "exact"
    assert core.model()["status"] == "compatible"


def test_two_loads_at_once_share_one_engine(core: RunningCore) -> None:
    import concurrent.futures

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        answers = [future.result() for future in [pool.submit(core.load) for _ in range(4)]]
    assert [answer.status_code for answer in answers] == [200] * 4
    assert len(core.attempts()) == 1


def test_stopping_the_core_stops_the_engine(starter_file: object) -> None:
    with running_core() as running:
        running.load()
        pid = running.engine_pid()
        assert pid is not None
    assert not psutil.pid_exists(pid)
