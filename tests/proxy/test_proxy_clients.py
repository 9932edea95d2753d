"""Clients that leave, clients that do not read, and what is remembered of requests."""

from __future__ import annotations

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import pytest
from fake_backend import Act
from fake_engine import FLOOD_LIMIT, FakeEngine
from scripted_core import ScriptedCore, wait_for

CHAT = "/v1/chat/completions"


def send(core: ScriptedCore, **fields: Any) -> socket.socket:
    """A raw request, so that the test decides when its connection is read and closed."""
    body = json.dumps({"messages": [], **fields}).encode()
    place = urlsplit(core.url)
    assert place.hostname is not None
    connection = socket.create_connection((place.hostname, place.port or 0), timeout=20)
    head = f"POST {CHAT} HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Length: {len(body)}\r\n\r\n"
    connection.sendall(head.encode() + body)
    return connection


def last_request(core: ScriptedCore, model: str) -> dict[str, Any]:
    def found() -> list[dict[str, Any]]:
        return [each for each in core.http.get("/api/requests").json() if each["model"] == model]

    return dict(wait_for(found)[0])


def waiters(core: ScriptedCore) -> int:
    """How many wait for the load that runs."""
    return int(core.http.get("/api/status").json()["queue"][0]["waiters"])


@pytest.mark.parametrize("stream", [False, True])
def test_the_engine_is_told_that_a_client_left(
    core: ScriptedCore, engine: FakeEngine, model: str, stream: bool
) -> None:
    core.load(model)
    engine.mode = "slow" if stream else "hangs"
    with send(core, model=model, stream=stream) as connection:
        assert engine.got_request.wait(20)
        if stream:
            engine.let_go()
            connection.recv(100)
    assert engine.client_left.wait(20)
    request = last_request(core, model)
    assert (request["status"], request["error"]) == (499, "The client went away.")
    wait_for(lambda: core.backend.instances[model].active_requests == 0)


@pytest.mark.parametrize("stream", [False, True])
def test_a_load_ends_when_the_only_client_that_wanted_it_left(core: ScriptedCore, model: str, stream: bool) -> None:
    core.backend.plan[model] = Act.WAIT
    with send(core, model=model, stream=stream):
        wait_for(lambda: core.model(model)["phase"] == "loading")
    assert last_request(core, model)["status"] == 499
    wait_for(lambda: core.model(model)["phase"] == "unloaded")
    assert core.backend.cancelled[-1] == model


def test_a_load_goes_on_while_a_person_wants_it(core: ScriptedCore, model: str) -> None:
    core.backend.plan[model] = Act.WAIT
    with ThreadPoolExecutor(1) as person:
        loading = person.submit(core.load, model)
        wait_for(lambda: core.model(model)["phase"] == "loading")
        with send(core, model=model, stream=False):
            wait_for(lambda: waiters(core) == 2)
        assert last_request(core, model)["status"] == 499
        core.backend.let_go(model)
        loading.result(20)
    assert core.backend.instances[model].active_requests == 0


def test_a_client_that_does_not_read_stops_the_engine(core: ScriptedCore, engine: FakeEngine, model: str) -> None:
    core.load(model)
    engine.mode = "flood"
    with send(core, model=model, stream=True):
        assert engine.blocked.wait(60)
        assert engine.sent < FLOOD_LIMIT / 8
    assert engine.client_left.wait(20)


def test_a_plain_request_is_remembered(core: ScriptedCore, model: str) -> None:
    answer = core.http.post(CHAT, json={"model": model, "messages": [{"role": "user", "content": "my secret"}]})
    request = last_request(core, model)
    assert request["id"] == answer.headers["x-request-id"]
    assert (request["path"], request["model"], request["backend"]) == (CHAT, model, "embedded")
    assert (request["status"], request["stream"], request["route"], request["error"]) == (200, False, "exact", None)
    assert (request["completion_tokens"], request["tokens_per_second"]) == (24, pytest.approx(1.517, abs=0.001))
    assert 0 < request["first_token_ms"] <= request["total_ms"]
    assert "my secret" not in core.http.get("/api/requests").text


def test_a_stream_is_remembered_with_its_first_token(core: ScriptedCore, engine: FakeEngine, model: str) -> None:
    core.load(model)
    engine.mode = "slow"
    for _ in range(20):
        engine.let_go()
    core.http.post(CHAT, json={"model": model, "messages": [], "stream": True}).raise_for_status()
    request = last_request(core, model)
    assert (request["status"], request["stream"], request["completion_tokens"]) == (200, True, 12)
    assert request["tokens_per_second"] == pytest.approx(4.693, abs=0.001)
    assert 0 < request["first_token_ms"] <= request["total_ms"]


def test_a_stream_without_a_token_has_no_first_one(core: ScriptedCore, engine: FakeEngine, model: str) -> None:
    core.load(model)
    engine.mode = "slow"
    with send(core, model=model, stream=True) as connection:
        engine.let_go()
        connection.recv(100)
    assert engine.client_left.wait(20)
    assert last_request(core, model)["first_token_ms"] is None


def test_refused_and_failed_requests_are_remembered(core: ScriptedCore, engine: FakeEngine, model: str) -> None:
    core.load(model)
    engine.mode = "400"
    core.http.post(CHAT, json={"model": model, "messages": [{"role": "user", "content": "hello"}]})
    assert last_request(core, model)["status"] == 400
    other = core.add()
    core.set_status(other, "incompatible")
    core.http.post(CHAT, json={"model": other, "messages": [{"role": "user", "content": "hello"}]})
    request = last_request(core, other)
    assert (request["status"], request["first_token_ms"]) == (409, None)
    assert "incompatible" in request["error"]
