"""What goes through the proxy comes out as it was: bytes, order, status; and what happens when it cannot."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fake_backend import Act
from fake_engine import EVENTS, PLAIN, REFUSAL, FakeEngine
from scripted_core import ScriptedCore, wait_for

CHAT = "/v1/chat/completions"
MESSAGES = [{"role": "user", "content": "Say hello."}]


def chat(model: str, **fields: Any) -> dict[str, Any]:
    return {"model": model, "messages": MESSAGES, **fields}


def events(text: str) -> list[Any]:
    """The data of a stream, decoded; comments left out."""
    data = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    return [each if each == "[DONE]" else json.loads(each) for each in data]


@pytest.mark.parametrize("path", list(PLAIN))
def test_a_plain_answer_is_passed_on_byte_for_byte(core: ScriptedCore, model: str, path: str) -> None:
    answer = core.http.post(path, json=chat(model, prompt="One, two,", input="hello"))
    assert answer.status_code == 200
    assert answer.content == PLAIN[path]
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert answer.headers["content-length"] == str(len(PLAIN[path]))
    assert answer.headers["x-quarterdeck-route"] == "exact"
    assert answer.headers["x-request-id"]
    assert not {"server", "keep-alive", "access-control-allow-origin"} & set(answer.headers)


def test_the_request_reaches_the_engine_byte_for_byte(core: ScriptedCore, engine: FakeEngine, model: str) -> None:
    body = f'{{ "model":"{model}",\n\t"messages":[],  "odd": 1e3, "ü": "\\u00fc" }}'.encode()
    core.http.post(CHAT, content=body, headers={"content-type": "application/json; charset=UTF-8"})
    [received] = engine.received
    assert received.body == body
    headers = {name.lower(): value for name, value in received.headers.items()}
    assert headers["content-type"] == "application/json; charset=UTF-8"
    assert headers["content-length"] == str(len(body))
    assert not {"authorization", "accept-encoding", "cookie"} & set(headers)


def test_a_large_body_reaches_the_engine_whole(core: ScriptedCore, engine: FakeEngine, model: str) -> None:
    picture = "x" * 3_000_000
    answer = core.http.post(CHAT, json=chat(model, picture=picture))
    assert answer.status_code == 200
    assert json.loads(engine.received[0].body)["picture"] == picture


def test_a_stream_is_passed_on_byte_for_byte(core: ScriptedCore, model: str) -> None:
    core.load(model).raise_for_status()
    with core.http.stream("POST", CHAT, json=chat(model, stream=True)) as answer:
        body = b"".join(answer.iter_raw())
    assert body == b"".join(EVENTS)
    assert answer.headers["content-type"] == "text/event-stream"
    assert "content-length" not in answer.headers


def test_every_event_is_there_before_the_next_is_sent(core: ScriptedCore, engine: FakeEngine, model: str) -> None:
    core.load(model)
    engine.mode = "slow"
    # The answer begins with its first event, so that until then another model can still answer.
    engine.let_go()
    with core.http.stream("POST", CHAT, json=chat(model, stream=True)) as answer:
        arriving = answer.iter_raw()
        for event in EVENTS:
            got = b""
            while len(got) < len(event):
                got += next(arriving)
            assert got == event
            engine.let_go()
        assert list(arriving) == []


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("mode", ["400", "503"])
def test_a_refusal_of_the_engine_is_passed_on(
    core: ScriptedCore, engine: FakeEngine, model: str, mode: str, stream: bool
) -> None:
    core.load(model)
    engine.mode = mode
    answer = core.http.post(CHAT, json=chat(model, stream=stream))
    assert (answer.status_code, answer.content) == (int(mode), REFUSAL)
    assert answer.headers["content-length"] == str(len(REFUSAL))


def test_a_model_that_is_not_loaded_is_loaded(core: ScriptedCore, model: str) -> None:
    assert core.http.post(CHAT, json=chat(model)).status_code == 200
    assert core.model(model)["loaded"]
    assert core.model(model)["status"] == "compatible"


def test_another_model_takes_the_place_of_the_loaded_one(core: ScriptedCore, model: str) -> None:
    other = core.add()
    for name in (model, other, model):
        assert core.http.post(CHAT, json=chat(name)).status_code == 200
    assert core.model(model)["loaded"]
    assert not core.model(other)["loaded"]


@pytest.mark.parametrize("name", ["acme/tiny-7b", "a/b/c:q4 (test)", "ünïcode 模型"])
def test_names_with_slashes_and_more(core: ScriptedCore, name: str) -> None:
    core.add(name)
    assert core.http.post(CHAT, json=chat(name)).status_code == 200
    assert core.http.get(f"/v1/models/{name}").json()["id"] == name


def test_a_stream_that_waits_for_its_model_is_kept_open(core: ScriptedCore, model: str) -> None:
    core.backend.plan[model] = Act.WAIT
    with core.http.stream("POST", CHAT, json=chat(model, stream=True)) as answer:
        assert answer.status_code == 200
        arriving = answer.iter_raw()
        first = next(arriving)
        assert first.startswith(b": ")
        core.backend.let_go(model)
        rest = first + b"".join(arriving)
    comments, _, stream = rest.partition(b"data: ")
    assert set(comments.decode().split("\n\n")) == {": the model is loading", ""}
    assert b"data: " + stream == b"".join(EVENTS)
    assert answer.headers["x-quarterdeck-route"] == "exact"


def test_a_load_that_fails_ends_an_open_stream_with_an_error(core: ScriptedCore, model: str) -> None:
    core.backend.plan[model] = Act.WAIT_AND_CRASH
    with core.http.stream("POST", CHAT, json=chat(model, stream=True)) as answer:
        arriving = answer.iter_raw()
        first = next(arriving)
        core.backend.let_go(model)
        text = (first + b"".join(arriving)).decode()
    [error, done] = events(text)
    assert done == "[DONE]"
    assert error["error"]["type"] == "invalid_request_error"
    assert error["error"]["compatibility_status"] == "incompatible"
    assert "SIGSEGV" in error["error"]["message"]


def test_a_refusal_after_the_stream_was_opened_ends_it(core: ScriptedCore, engine: FakeEngine, model: str) -> None:
    core.backend.plan[model] = Act.WAIT
    engine.mode = "400"
    with core.http.stream("POST", CHAT, json=chat(model, stream=True)) as answer:
        arriving = answer.iter_raw()
        first = next(arriving)
        core.backend.let_go(model)
        [error, done] = events((first + b"".join(arriving)).decode())
    assert "Unsupported param: echo" in error["error"]["message"]
    assert done == "[DONE]"


@pytest.mark.parametrize("stream", [False, True])
def test_a_load_that_fails_at_once_is_an_openai_error(core: ScriptedCore, model: str, stream: bool) -> None:
    core.backend.plan[model] = Act.CRASH
    answer = core.http.post(CHAT, json=chat(model, stream=stream))
    if answer.status_code == 200:
        [error, _] = events(answer.text)
    else:
        assert answer.status_code == 424
        error = answer.json()
    assert "SIGSEGV" in error["error"]["message"]


def test_an_incompatible_model_is_refused_with_its_notes(core: ScriptedCore, engine: FakeEngine, model: str) -> None:
    core.set_status(model, "incompatible", "crashed the driver in May")
    answer = core.http.post(CHAT, json=chat(model))
    assert answer.status_code == 409
    error = answer.json()["error"]
    assert error["code"] == "incompatible"
    assert error["compatibility_notes"] == "crashed the driver in May"
    assert "crashed the driver in May" in error["message"]
    assert engine.received == []
    assert core.attempts(model) == []


def test_the_force_header_loads_an_incompatible_model(core: ScriptedCore, model: str) -> None:
    core.set_status(model, "incompatible")
    answer = core.http.post(CHAT, json=chat(model), headers={"x-quarterdeck-force": "true"})
    assert answer.status_code == 200
    assert core.model(model)["status"] == "degraded"
    assert core.attempts(model)[0]["forced"]


@pytest.mark.parametrize("path", list(PLAIN))
def test_an_unknown_model_is_not_found(core: ScriptedCore, path: str) -> None:
    answer = core.http.post(path, json=chat("nobody", prompt="One,", input="hello"))
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (404, "model_not_found", "model")
    assert "nobody" in error["message"]
    assert core.http.get("/v1/models/nobody").json()["error"]["code"] == "model_not_found"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "invalid_json"),
        (b"{", "invalid_json"),
        (b"\xff\xfe", "invalid_json"),
        (b"[" * 100_000, "invalid_json"),
        (b"[]", "invalid_request"),
        (b'"text"', "invalid_request"),
        (b"{}", "model_required"),
        (b'{"model": ""}', "model_required"),
        (b'{"model": 7}', "model_required"),
        (b'{"model": null}', "model_required"),
    ],
)
def test_a_bad_body_is_refused(core: ScriptedCore, body: bytes, code: str) -> None:
    answer = core.http.post(CHAT, content=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_a_body_that_is_too_large_is_refused(core: ScriptedCore, model: str) -> None:
    core.http.patch("/api/settings", json={"body_limit": 1}).raise_for_status()
    answer = core.http.post(CHAT, json=chat(model, picture="x" * 1024 * 1024))
    core.http.patch("/api/settings", json={"body_limit": 64}).raise_for_status()
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")


def test_an_engine_that_is_gone_is_a_bad_gateway(core: ScriptedCore, engine: FakeEngine, model: str) -> None:
    core.load(model)
    engine.mode = "dies_at_once"
    answer = core.http.post(CHAT, json=chat(model))
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "engine_lost")
    assert answer.json()["error"]["type"] == "server_error"


def test_an_engine_that_refuses_connections_is_a_bad_gateway(core: ScriptedCore, model: str) -> None:
    core.load(model)
    core.backend.instances[model].base_url = "http://127.0.0.1:9"
    answer = core.http.post(CHAT, json=chat(model))
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "backend_unreachable")


@pytest.mark.parametrize("mode", ["dies", "dies_in_event", "fades"])
def test_an_engine_lost_in_a_stream_is_told_in_the_stream(
    core: ScriptedCore, engine: FakeEngine, model: str, mode: str
) -> None:
    core.load(model)
    engine.mode = mode
    answer = core.http.post(CHAT, json=chat(model, stream=True))
    assert answer.content.startswith(EVENTS[0] + EVENTS[1])
    *_, told, done = answer.text.strip().split("\n\n")
    assert json.loads(told.removeprefix("data: "))["error"]["code"] == "engine_lost"
    assert done == "data: [DONE]"


def test_a_plain_answer_that_breaks_off_is_not_passed_for_whole(
    core: ScriptedCore, engine: FakeEngine, model: str
) -> None:
    core.load(model)
    engine.mode = "dies"
    answer = core.http.post(CHAT, json=chat(model))
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "engine_lost")
    request = wait_for(lambda: [each for each in core.http.get("/api/requests").json() if each["model"] == model])[0]
    assert request["status"] == 502
    assert "stopped answering" in request["error"]


def test_the_model_list_tells_what_clients_need(core: ScriptedCore, model: str) -> None:
    core.load(model)
    listed = core.http.get("/v1/models").json()
    assert listed["object"] == "list"
    item = next(each for each in listed["data"] if each["id"] == model)
    assert item == core.http.get(f"/v1/models/{model}").json()
    assert (item["object"], item["owned_by"], item["backend"]) == ("model", "quarterdeck", "embedded")
    assert (item["compatibility_status"], item["loaded"], item["context_length"]) == ("compatible", True, 2048)
    assert item["capabilities"] == ["chat"]
    assert isinstance(item["created"], int)
