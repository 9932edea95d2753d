"""Requests and answers of OpenAI's dialect: what goes through as it is, and what is refused by name."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.errors import AppError
from quarterdeck.proxy.dialects.openai import OPENAI_PATHS, OpenAIDialect, openai_error, retry_after
from quarterdeck.schemas.requests import Operation

CHAT = "/v1/chat/completions"
DIALECT = OpenAIDialect()

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def chat(**fields: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": "hello"}], **fields}


def events(data: bytes) -> list[Any]:
    """The values of a stream of events; the closing word as a text."""
    lines = [line.removeprefix("data: ") for line in data.decode().split("\n\n") if line]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


def test_a_request_is_handed_on_as_the_very_same_object() -> None:
    fields = chat(temperature=0.5, unknown_to_us=[1])
    asked = DIALECT.read(CHAT, fields)
    assert asked.fields is fields
    assert (asked.operation, asked.stream, asked.model, asked.dropped) == (Operation.CHAT, False, "m", [])


@pytest.mark.parametrize("path", OPENAI_PATHS)
def test_every_path_is_read_and_only_texts_are_streamed_as_events(path: str) -> None:
    asked = DIALECT.read(path, chat(stream=True))
    assert asked.stream == (asked.operation in (Operation.CHAT, Operation.COMPLETION))


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        (chat(stream="yes"), "stream"),
        ({"model": "m"}, "messages"),
        (chat(messages="hello"), "messages"),
        (chat(messages=None), "messages"),
        (chat(messages=["hello"]), "messages[0]"),
        (chat(messages=[{"content": "hello"}]), "messages[0].role"),
        (chat(messages=[{"role": "user", "content": 3}]), "messages[0].content"),
        (chat(messages=[{"role": "user", "content": ["x"]}]), "messages[0].content[0]"),
        (chat(messages=[{"role": "user", "content": [{"type": "text"}]}]), "messages[0].content[0].text"),
        (chat(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]),
         "messages[0].content[0].image_url"),
        (chat(messages=[{"role": "assistant", "tool_calls": [{"id": "1"}]}]), "messages[0].tool_calls[0].function"),
        (chat(tools={}), "tools"),
        (chat(tools=[{"type": "function"}]), "tools[0].function"),
    ],
)  # fmt: skip
def test_a_wrong_shape_is_refused_with_the_name_of_the_field(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(AppError) as refused:
        DIALECT.read(CHAT, fields)
    assert refused.value.status == 400
    assert openai_error(refused.value)["error"]["param"] == param


@pytest.mark.parametrize("model", [None, "", 3, ["m"]])
def test_a_request_needs_a_model(model: Any) -> None:
    with pytest.raises(AppError) as refused:
        DIALECT.read("/v1/embeddings", {"model": model, "input": "x"})
    assert refused.value.code == "model_required"


@given(st.sampled_from(sorted(OPENAI_PATHS)), st.dictionaries(
    st.sampled_from(["model", "messages", "stream", "tools", "stream_options", "input"]), JSON))  # fmt: skip
def test_no_request_breaks_the_reading(path: str, fields: dict[str, Any]) -> None:
    try:
        asked = DIALECT.read(path, fields)
    except AppError as error:
        assert error.status == 400
        json.dumps(DIALECT.error(error))
    else:
        assert asked.model == fields["model"]


CHUNK = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


def delta(finish: str | None = None, **fields: Any) -> dict[str, Any]:
    return {**CHUNK, "choices": [{"index": 0, "delta": fields, "finish_reason": finish}]}


@pytest.mark.parametrize("asked_for", [True, False])
@pytest.mark.parametrize("with_the_last", [True, False])
def test_usage_is_told_in_a_chunk_of_its_own_and_only_where_wanted(asked_for: bool, with_the_last: bool) -> None:
    fields = chat(stream=True, stream_options={"include_usage": asked_for})
    writer = DIALECT.writer(DIALECT.read(CHAT, fields))
    chunks = [delta(content="Hi"), delta("stop")]
    if with_the_last:
        chunks[-1]["usage"] = USAGE
    else:
        chunks.append({**CHUNK, "choices": [], "usage": USAGE})
    told = events(b"".join([*map(writer.write, chunks), writer.end()]))
    assert told[:2] == [delta(content="Hi"), delta("stop")]
    assert told[2:] == ([{**CHUNK, "choices": [], "usage": USAGE}] if asked_for else []) + ["[DONE]"]


@given(st.lists(st.dictionaries(st.text(min_size=1, max_size=4).filter(lambda key: key != "usage"), JSON)))
def test_chunks_are_written_whole_each_as_one_event(chunks: list[dict[str, Any]]) -> None:
    writer = DIALECT.writer(DIALECT.read(CHAT, chat(stream=True)))
    assert events(b"".join([*map(writer.write, chunks), writer.end()])) == [*chunks, "[DONE]"]


def test_an_error_in_a_stream_is_an_event_and_the_end() -> None:
    writer = DIALECT.writer(DIALECT.read(CHAT, chat(stream=True)))
    error = AppError("engine_lost", "The engine stopped.", "Try again.", status=502, details={"retry_after": 1.2})
    told = events(writer.error(error))
    assert told[0]["error"]["message"] == "The engine stopped. Try again."
    assert told[0]["error"]["type"] == "server_error"
    assert told[1:] == ["[DONE]"]
    assert retry_after(error) == {"Retry-After": "2"}


@pytest.mark.parametrize(
    ("code", "status", "name"),
    [("unknown_model", 404, "model_not_found"), ("unauthorized", 401, "invalid_api_key"),
     ("rate_limited", 429, "rate_limit_exceeded"), ("busy", 503, "busy")],
)  # fmt: skip
def test_codes_have_the_names_that_clients_know(code: str, status: int, name: str) -> None:
    assert openai_error(AppError(code, "No.", status=status))["error"]["code"] == name
