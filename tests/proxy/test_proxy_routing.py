"""Which model a name in a request means, how its engine is asked, and what a request is told that has to wait."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_backend import Act
from fake_engine import EVENTS, PLAIN, FakeEngine
from scripted_core import ScriptedCore, scripted_core, wait_for

from quarterdeck.control.errors import render
from quarterdeck.errors import AppError

CHAT = "/v1/chat/completions"
MESSAGES = [{"role": "user", "content": "Say hello."}]


def ask(core: ScriptedCore, model: str, **fields: Any) -> httpx.Response:
    return core.http.post(CHAT, json={"model": model, "messages": MESSAGES, **fields})


def configure(core: ScriptedCore, model: str, **fields: Any) -> None:
    core.http.patch(f"/api/models/{model}/config", json=fields).raise_for_status()


class TestNames:
    @pytest.mark.parametrize(
        ("asked", "rule"),
        [
            ("Routed-4B", "exact"),
            ("acme/routed", "exact"),
            ("house/writer", "alias"),
            ("House/WRITER", "alias"),
            ("routed-4b", "alias"),
            ("Routed-4B:latest", "alias"),
        ],
    )
    def test_a_name_leads_to_its_model_and_the_rule_is_told(self, core: ScriptedCore, asked: str, rule: str) -> None:
        if core.http.get("/api/models/Routed-4B").status_code == 404:
            core.add("Routed-4B", served_name="acme/routed")
            configure(core, "Routed-4B", aliases=["house/Writer"])
        answer = ask(core, asked)
        assert (answer.status_code, answer.headers["x-quarterdeck-route"]) == (200, rule)
        assert core.model("Routed-4B")["loaded"]
        id = answer.headers["x-request-id"]
        [request] = wait_for(lambda: [each for each in core.http.get("/api/requests").json() if each["id"] == id])
        assert (request["model"], request["route"]) == ("Routed-4B", rule)
        assert core.http.get(f"/v1/models/{asked}").json()["id"] == "Routed-4B"

    @pytest.mark.parametrize("fields", [{"deprecated": True}, {"roles": ["testing"]}])
    def test_a_hidden_model_is_not_listed_and_answers_by_name(
        self, core: ScriptedCore, model: str, fields: dict[str, Any]
    ) -> None:
        def listed() -> list[str]:
            return [each["id"] for each in core.http.get("/v1/models").json()["data"]]

        assert model in listed()
        configure(core, model, **fields)
        assert model not in listed()
        assert ask(core, model).status_code == 200

    def test_a_model_whose_file_is_gone_is_not_listed(self, core: ScriptedCore, model: str) -> None:
        Path(core.model(model)["path"]).unlink()
        core.http.post("/api/scan").raise_for_status()
        assert model not in [each["id"] for each in core.http.get("/v1/models").json()["data"]]
        assert core.model(model)["installed"] is False


class TestEngines:
    def test_the_engine_is_asked_under_the_id_that_it_knows(
        self, core: ScriptedCore, engine: FakeEngine, model: str
    ) -> None:
        core.load(model)
        core.backend.instances[model].served_id = "smollm2:latest"
        body = {"model": model, "messages": [{"role": "user", "content": "ü “x”"}], "seed": 7, "stop": None}
        answer = core.http.post(CHAT, json=body)
        assert (answer.status_code, answer.content) == (200, PLAIN[CHAT])
        assert json.loads(engine.received[0].body) == {**body, "model": "smollm2:latest"}

    def test_a_body_that_names_that_id_stays_as_it_is(self, core: ScriptedCore, engine: FakeEngine) -> None:
        name = core.add(served_name="acme/as-served")
        core.load(name)
        core.backend.instances[name].served_id = "acme/as-served"
        body = b'{ "messages": [], "model": "acme/as-served" }'
        core.http.post(CHAT, content=body)
        assert engine.received[0].body == body

    def test_keys_queries_and_paths_of_a_server_go_with_the_request(
        self, core: ScriptedCore, engine: FakeEngine, model: str
    ) -> None:
        core.load(model)
        instance = core.backend.instances[model]
        instance.headers, instance.query = {"api-key": "sk-of-the-server"}, {"api-version": "2026-01-01"}
        instance.api_path = "/openai/deployments/x"
        answer = core.http.post(
            CHAT, json={"model": model, "messages": MESSAGES, "stream": True}, headers={"api-key": "of the client"}
        )
        assert answer.content == b"".join(EVENTS)
        [received] = engine.received
        assert received.path == "/openai/deployments/x/chat/completions"
        assert received.query == {"api-version": "2026-01-01"}
        headers = {name.lower(): value for name, value in received.headers.items()}
        assert headers["api-key"] == "sk-of-the-server"
        assert "authorization" not in headers
        assert "sk-of-the-server" not in str(answer.headers)


@pytest.fixture
def crowded(tmp_path: Path, engine: FakeEngine) -> Iterator[ScriptedCore]:
    """A core where one request may wait, and where failures are remembered for a minute."""
    with scripted_core(tmp_path, engine_url=engine.url, keep_alive_delay=0.05, queue_limit=1, cooldown=60) as running:
        yield running


class Asking(threading.Thread):
    """A streamed request of its own; what it gets is in `content`."""

    def __init__(self, core: ScriptedCore, model: str) -> None:
        super().__init__()
        self._core, self._model = core, model
        self.content = b""
        self.start()

    def run(self) -> None:
        body = {"model": self._model, "messages": MESSAGES, "stream": True}
        with (
            httpx.Client(base_url=self._core.url, headers=self._core.http.headers, trust_env=False, timeout=60) as http,
            http.stream("POST", CHAT, json=body) as answer,
        ):
            for part in answer.iter_raw():
                self.content += part


class TestWaiting:
    def test_a_stream_behind_a_busy_model_is_kept_open(
        self, core: ScriptedCore, engine: FakeEngine, model: str
    ) -> None:
        other = core.add()
        core.load(model)
        engine.mode = "slow"
        busy = Asking(core, model)
        assert engine.got_request.wait(20)
        waiting = Asking(core, other)
        wait_for(lambda: waiting.content.count(b": the model is loading") >= 3)
        assert core.http.get("/api/status").json()["queue"][0]["model"] == other
        assert core.backend.running == [model]
        engine.mode = "ok"
        for _ in EVENTS:
            engine.let_go()
        busy.join(20)
        waiting.join(20)
        assert busy.content == b"".join(EVENTS)
        assert waiting.content.endswith(b"".join(EVENTS))

    def test_a_full_queue_says_when_to_come_back(self, crowded: ScriptedCore) -> None:
        first, second = crowded.add(), crowded.add()
        crowded.backend.plan[first] = Act.WAIT
        waiting = Asking(crowded, first)
        wait_for(lambda: waiting.content)
        answer = ask(crowded, second)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "queue_full")
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.json()["error"]["retry_after"] == int(answer.headers["retry-after"])
        crowded.backend.let_go(first)
        waiting.join(20)

    def test_a_model_that_failed_a_moment_ago_says_when_to_come_back(self, crowded: ScriptedCore) -> None:
        name = crowded.add()
        crowded.backend.plan[name] = Act.OUT_OF_MEMORY
        assert ask(crowded, name).status_code == 507
        answer = ask(crowded, name)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "cooling_down")
        assert 1 <= int(answer.headers["retry-after"]) <= 60
        assert len(crowded.backend.loads) == 1


def test_an_answer_of_the_control_api_says_when_to_come_back_too() -> None:
    error = AppError("busy", "Somebody else holds the memory.", "Try again.", status=503, details={"retry_after": 9.2})
    assert render("/api/orchestrate/load", error).headers["retry-after"] == "10"
    assert render("/v1/chat/completions", error).headers["retry-after"] == "10"
    assert "retry-after" not in render("/api/models", AppError("x", "No.")).headers
