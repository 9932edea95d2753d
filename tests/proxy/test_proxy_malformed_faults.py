"""Malformed requests that once did harm, or would have: each with what comes of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from malformed import Sent
from malformed_room import MODELS, MalformedRoom, malformed_room

CHAT = "/v1/chat/completions"
HALF = "\ud83d"
"""The first half of a character, as it is left where a text was cut between the two."""


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MalformedRoom]:
    with malformed_room(tmp_path_factory.mktemp("room")) as made:
        yield made


def chat(model: str = "plain", content: Any = "Hi", **fields: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": content}], **fields}


def error_of(body: bytes) -> tuple[str, str]:
    error = json.loads(body)["error"]
    return error["code"], error["message"]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "9" * 5000])
@pytest.mark.parametrize("path", [CHAT, "/v1/messages", "/v1/messages/count_tokens", "/v1/responses", "/api/chat"])
def test_numbers_that_are_none_reach_no_backend(room: MalformedRoom, path: str, number: str) -> None:
    before = room.engine.count
    answer = room.post(path, f'{{"model": "gate", "messages": [], "input": "", "temperature": {number}}}'.encode())
    assert answer.status == 400
    assert b"JSON" in answer.body
    assert room.engine.count == before


@pytest.mark.parametrize("codec", ["utf-16", "utf-32", "utf-16-le", "latin-1"])
def test_only_utf_8_is_read(room: MalformedRoom, codec: str) -> None:
    answer = room.post(CHAT, json.dumps(chat(content="é"), ensure_ascii=False).encode(codec))
    assert (answer.status, error_of(answer.body)[0]) == (400, "invalid_json")


@pytest.mark.parametrize("model", MODELS)
def test_a_byte_order_mark_is_no_matter(room: MalformedRoom, model: str) -> None:
    """The engine would complain of it."""
    assert room.post(CHAT, b"\xef\xbb\xbf" + json.dumps(chat(model)).encode()).status == 200


@pytest.mark.parametrize("kind", [[], {}, 5, ["text"]])
def test_a_part_of_a_message_has_a_type_that_is_a_text(room: MalformedRoom, kind: Any) -> None:
    answer = room.post(CHAT, chat(content=[{"type": kind, "text": "Hi"}]))
    assert error_of(answer.body) == ("invalid_request", "The field “messages[0].content[0].type” must be a text.")


@pytest.mark.parametrize("coded", ["¿", "AAAA\ud800", "!!!", "A", "\0"])
def test_a_picture_that_is_no_base64_goes_on_as_it_is(room: MalformedRoom, coded: str) -> None:
    part = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{coded}"}}
    assert room.post(CHAT, chat("gate", [part])).status == 200


def test_half_a_character_comes_back_as_it_was(room: MalformedRoom) -> None:
    for path in ("/api/show", "/api/chat", CHAT, "/v1/messages", "/v1/responses"):
        answer = room.post(path, {**chat(f"no{HALF}"), "input": "a", "max_tokens": 1})
        assert answer.status == 404, answer.body
        assert b"no\\ud83d" in answer.body
    assert room.post(CHAT, chat(content=HALF)).status == 200


def test_half_a_character_in_the_name_of_a_field_is_told_of(room: MalformedRoom) -> None:
    answer = room.post("/api/chat", {**chat("gate"), "stream": False, f"a{HALF}": 1, "options": {"b\r\nx: y": 1}})
    assert answer.status == 200
    assert dict(answer.headers)[b"x-quarterdeck-dropped"] == b"a?, options.b%0D%0Ax: y"


def test_very_many_names_do_not_fill_headers_and_records(room: MalformedRoom) -> None:
    names = [f"{number}-{'é' * 300}" for number in range(5000)]
    answer = room.post("/api/chat", {**chat("gate"), "stream": False, **dict.fromkeys(names, 1)})
    assert answer.status == 200
    assert len(dict(answer.headers)[b"x-quarterdeck-dropped"]) < 10_000
    newest = room.core.http.get("/api/requests", params={"limit": 1}).json()[0]
    assert len(newest["dropped"]) == 100
    assert max(map(len, newest["dropped"])) == 200


@pytest.mark.parametrize("path", [CHAT, "/api/chat", "/v1/messages", "/v1/responses"])
def test_the_name_of_a_model_has_an_end(room: MalformedRoom, path: str) -> None:
    answer = room.post(path, {**chat("x" * 2000), "input": "a", "max_tokens": 1})
    assert answer.status == 400
    assert b"too long" in answer.body


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/responses", "/api/chat", CHAT, "/v1/messages/count_tokens"])
def test_nesting_has_an_end(room: MalformedRoom, path: str) -> None:
    """As deep as the JSON can just be read, it cannot be written again."""
    statuses = set()
    for depth in (50, 500, *range(880, 1000, 5)):
        deep = "[" * depth + "]" * depth
        hidden = '{"model": "gate", "max_tokens": 1, "messages": [{"role": "user", "content": "a"}], "input": "a",'
        tool = (
            f'"tools": [{{"type": "function", "name": "f", "function": {{"name": "f", "parameters": {{"a": {deep}}}}},'
        )
        whole = f'{hidden} {tool} "input_schema": {{"a": {deep}}}, "parameters": {{"a": {deep}}}}}]}}'
        statuses.add(room.post(path, whole.encode()).status)
    assert statuses <= {200, 400}


@pytest.mark.parametrize("other", ["Model", "MODEL", "mOdel"])
@pytest.mark.parametrize("path", ["/api/chat", "/api/generate", "/api/embed", CHAT, "/v1/embeddings"])
def test_a_model_has_one_name(room: MalformedRoom, path: str, other: str) -> None:
    """Ollama reads “Model” as “model”: a key that is for one model could ask another."""
    before = room.engine.count
    answer = room.post(path, {**chat("llama"), "input": "a", "prompt": "a", other: "another"})
    assert answer.status == 400
    assert b"twice" in answer.body
    assert room.engine.count == before


def test_a_look_for_a_blob_with_a_body_is_answered(room: MalformedRoom) -> None:
    target = b"/api/blobs/sha256:" + b"0" * 64
    answer = room.call(Sent("HEAD", target, [(b"content-type", b"application/json")], [b"{}"]))
    assert answer.status == 200


def test_where_a_model_lies_is_not_told(room: MalformedRoom) -> None:
    shown = json.loads(room.post("/api/show", {"model": "plain"}).body)
    assert "FROM file-1.gguf" in shown["modelfile"].splitlines()
