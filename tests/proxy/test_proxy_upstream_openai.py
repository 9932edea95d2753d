"""Backends with an OpenAI interface: what each can read, and what each says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from json_shapes import objects_with
from recorded_answers import recorded_answers, recorded_fields

from quarterdeck.errors import AppError
from quarterdeck.proxy.dialects.base import Asked, Fields
from quarterdeck.proxy.dialects.ollama import OllamaDialect
from quarterdeck.proxy.upstreams.openai import OpenAIUpstream
from quarterdeck.schemas.backends import BackendKind
from quarterdeck.schemas.requests import Operation

openai = OpenAIUpstream()
USER = [{"role": "user", "content": "hi"}]
SAMPLING: Fields = {
    "top_k": 3,
    "min_p": 0.1,
    "typical_p": 0.9,
    "repeat_penalty": 1.1,
    "repeat_last_n": 64,
    "mirostat": 1,
}


def asked(operation: Operation = Operation.CHAT, **fields: Any) -> Asked:
    return Asked(operation, {"model": "m", **fields}, stream=False)


def test_a_plain_request_is_not_touched() -> None:
    wanted = asked(messages=USER, temperature=1, unknown_word=5)
    for kind in (BackendKind.EMBEDDED, BackendKind.VLLM, BackendKind.OPENAI_COMPATIBLE):
        question = openai.ask(wanted, kind, "m")
        assert question.fields is wanted.fields
        assert question.dropped == []
    renamed = openai.ask(wanted, BackendKind.VLLM, "served")
    assert (renamed.fields["model"], wanted.fields["model"]) == ("served", "m")


def test_a_tool_that_must_be_called_is_the_only_one_that_llama_cpp_gets() -> None:
    tools = [{"type": "function", "function": {"name": name}} for name in ("look", "find")]
    choice = {"type": "function", "function": {"name": "find"}}
    wanted = asked(messages=USER, tools=tools, tool_choice=choice)
    question = openai.ask(wanted, BackendKind.EMBEDDED, "m")
    assert (question.fields["tools"], question.fields["tool_choice"]) == ([tools[1]], "required")
    assert question.dropped == []
    assert wanted.fields["tools"] == tools
    assert openai.ask(wanted, BackendKind.VLLM, "m").fields is wanted.fields
    for odd in ({"type": "function", "function": {"name": "other"}}, {"type": "allowed_tools"}):
        lost = openai.ask(asked(messages=USER, tools=tools, tool_choice=odd), BackendKind.LLAMA_SERVER, "m")
        assert lost.dropped == ["tool_choice"]


@pytest.mark.parametrize(
    ("kind", "sent", "dropped"),
    [
        (BackendKind.EMBEDDED, {**SAMPLING, "n_keep": 4}, []),
        (BackendKind.LLAMA_SERVER, {**SAMPLING, "n_keep": 4}, []),
        (
            BackendKind.VLLM,
            {"top_k": 3, "min_p": 0.1, "repetition_penalty": 1.1},
            ["typical_p", "repeat_last_n", "mirostat", "num_keep"],
        ),
        (BackendKind.LITELLM, SAMPLING, ["num_keep"]),
        (BackendKind.OLLAMA, {}, [*SAMPLING, "num_keep"]),
    ],
)
def test_each_backend_gets_its_own_names(kind: BackendKind, sent: Fields, dropped: list[str]) -> None:
    question = openai.ask(asked(messages=USER, **SAMPLING, num_keep=4), kind, "m")
    assert question.fields == {"model": "m", "messages": USER, **sent}
    assert question.dropped == dropped


def test_what_only_ollama_knows_is_named_in_its_words() -> None:
    wanted = asked(
        messages=USER, keep_alive=5, num_ctx=9, ollama_options={"num_gpu": 1, "num_predict": -1, "context": [1]}
    )
    question = openai.ask(wanted, BackendKind.VLLM, "m")
    assert question.fields == {"model": "m", "messages": USER}
    assert question.dropped == ["keep_alive", "num_ctx", "options.num_gpu", "context"]


@pytest.mark.parametrize(
    ("kind", "think", "sent"),
    [
        (BackendKind.VLLM, True, {"chat_template_kwargs": {"enable_thinking": True}}),
        (BackendKind.LLAMA_SERVER, False, {"chat_template_kwargs": {"enable_thinking": False}}),
        (BackendKind.VLLM, "low", {"chat_template_kwargs": {"enable_thinking": True, "reasoning_effort": "low"}}),
        (BackendKind.OPENAI_COMPATIBLE, "low", {"reasoning_effort": "low"}),
        (BackendKind.LITELLM, True, {"reasoning_effort": "medium"}),
        (BackendKind.LITELLM, False, None),
        (BackendKind.OLLAMA, False, {"reasoning_effort": "none"}),
    ],
)
def test_thinking_in_the_words_of_each_backend(kind: BackendKind, think: bool | str, sent: Fields | None) -> None:
    question = openai.ask(asked(messages=USER, think=think), kind, "m")
    assert question.fields == {"model": "m", "messages": USER, **(sent or {})}
    assert question.dropped == ([] if sent else ["think"])


def test_ollama_s_imitation_reads_less_than_it_is_sent_and_that_is_named() -> None:
    wanted = asked(messages=USER, tool_choice="required", n=2, logit_bias={}, user="me", seed=1)
    assert openai.ask(wanted, BackendKind.OLLAMA, "m").dropped == ["tool_choice", "n"]


def test_one_penalty_has_two_names() -> None:
    question = openai.ask(asked(messages=USER, repetition_penalty=1.2), BackendKind.EMBEDDED, "m")
    assert question.fields["repeat_penalty"] == 1.2


@pytest.mark.parametrize(
    ("operation", "path"),
    [
        (Operation.COMPLETION, "/v1/completions"),
        (Operation.EMBEDDINGS, "/v1/embeddings"),
        (Operation.RERANK, "/v1/rerank"),
        (Operation.SPEECH, "/v1/audio/speech"),
        (Operation.IMAGES, "/v1/images/generations"),
    ],
)
def test_each_operation_has_its_path(operation: Operation, path: str) -> None:
    assert openai.ask(asked(operation), BackendKind.VLLM, "m").path == path


def read(body: bytes, size: int = 10_000) -> list[Fields]:
    reader = openai.reader(asked())
    chunks = [chunk for at in range(0, len(body), size) for chunk in reader.feed(body[at : at + size])]
    assert reader.ended
    return chunks


def said(chunks: list[Fields]) -> str:
    return "".join(each["delta"].get("content") or "" for chunk in chunks for each in chunk["choices"])


@pytest.mark.parametrize(
    ("name", "title", "words", "usage"),
    [
        ("llamacpp", "chat stream", "I'm here to help with any text you'd like me", 49),
        ("vllm", "chat stream", "I'm glad you're enjoying the chat. Just a quick", 49),
        ("ollama", "v1 chat stream", "Hello there, welcome to the", 17),
    ],
)
@given(size=st.integers(1, 500))
def test_recorded_streams_read_the_same_in_pieces_of_any_size(
    name: str, title: str, words: str, usage: int, size: int
) -> None:
    chunks = read(recorded_answers(name)[title][1], size)
    assert said(chunks) == words
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks if chunk["choices"]][-1] == "length"
    assert chunks[-1]["usage"]["total_tokens"] == usage


@pytest.mark.parametrize(("name", "title"), [("llamacpp", "chat stream"), ("vllm", "chat stream")])
def test_recorded_streams_reach_ollama_s_clients_whole(name: str, title: str) -> None:
    dialect = OllamaDialect()
    request = dialect.read("/api/chat", {"model": "mine", "messages": USER})
    chunks = read(recorded_answers(name)[title][1])
    writer = dialect.writer(request)
    lines = [json.loads(line) for line in b"".join([*map(writer.write, chunks), writer.end()]).splitlines()]
    assert "".join(line["message"]["content"] for line in lines) == said(chunks)
    last = lines[-1]
    assert (last["done"], last["done_reason"], last["prompt_eval_count"], last["eval_count"]) == (
        True,
        "length",
        37,
        12,
    )
    if name == "llamacpp":
        assert last["eval_duration"] == 2_343_910_000


def test_an_engine_that_dies_in_its_stream_is_told() -> None:
    reader = openai.reader(asked())
    with pytest.raises(AppError, match="EngineCore encountered an issue") as caught:
        list(reader.feed(recorded_answers("vllm")["worker killed"][1]))
    assert caught.value.status == 500


@pytest.mark.parametrize(
    "line",
    [
        b'error: {"message": "slot is gone", "code": 500}\n',
        b'{"error": {"message": "slot is gone"}}\n',
        b'data: {"object": "error", "message": "slot is gone", "code": 503}\n\n',
        b'data: {"error": "slot is gone"}\r\n\r\n',
        b'event: error\ndata: {"error": {"message": "slot is gone"}}\n\n',
    ],
)
def test_errors_in_streams_in_every_form(line: bytes) -> None:
    with pytest.raises(AppError, match="slot is gone"):
        list(openai.reader(asked()).feed(line))


def test_vllm_s_reasoning_and_missing_numbers_of_calls() -> None:
    def event(**delta: Any) -> bytes:
        return b"data: " + json.dumps({"choices": [{"index": 0, "delta": delta}]}).encode() + b"\n\n"

    body = (
        b": a comment\n\n"
        + event(reasoning="hm")
        + event(tool_calls=[{"id": "a", "function": {"name": "f", "arguments": ""}}])
        + event(tool_calls=[{"function": {"arguments": "{}"}}])
        + event(tool_calls=[{"id": "b", "function": {"name": "g", "arguments": "{}"}}])
        + b'data: {"usage": {"total_tokens": 3}}\n\ndata: nonsense\n\ndata: [DONE]\n\n'
    )
    chunks = read(body)
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks[:-1]]
    assert deltas[0] == {"reasoning_content": "hm"}
    assert [delta["tool_calls"][0]["index"] for delta in deltas[1:]] == [0, 0, 1]
    assert chunks[-1]["choices"] == []


def test_an_event_may_be_written_in_several_lines() -> None:
    assert said(read(b'data: {"choices": [{"delta":\ndata: {"content": "x"}}]}\n\ndata: [DONE]\n\n')) == "x"


def test_a_stream_without_its_end_has_broken_off_unless_it_gave_its_reason() -> None:
    reader = openai.reader(asked())
    list(reader.feed(b'data: {"choices": [{"delta": {"content": "x"}, "finish_reason": null}]}\n\n'))
    assert not reader.ended
    list(reader.feed(b'data: {"choices": [{"delta": {}, "finish_reason": "stop"}]}\n\n'))
    assert reader.ended


def test_whole_answers_are_brought_into_one_form() -> None:
    answer = openai.answer(asked(), recorded_fields("vllm", "tools required with hermes"))
    message = answer["choices"][0]["message"]
    assert "reasoning" not in message
    assert "function_call" not in message
    assert message["tool_calls"][0]["function"]["name"] == "get_time"
    thought = openai.answer(asked(), {"choices": [{"message": {"content": "x", "reasoning": "hm"}}]})
    assert thought["choices"][0]["message"]["reasoning_content"] == "hm"
    old = openai.answer(asked(), {"choices": [{"message": {"function_call": {"name": "f", "arguments": "{}"}}}]})
    assert old["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "f"


@pytest.mark.parametrize(
    "body",
    [
        {"embeddings": [[1.0], [2.0]]},
        {"embeddings": [{"embedding": [1.0], "index": 0}, {"embedding": [2.0], "index": 1}]},
        {"object": "list", "data": [{"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": [2.0]}]},
    ],
)
def test_vectors_in_every_form(body: Fields) -> None:
    answer = openai.answer(asked(Operation.EMBEDDINGS), body)
    assert [(each["index"], each["embedding"]) for each in answer["data"]] == [(0, [1.0]), (1, [2.0])]


def test_an_error_under_status_200_is_an_error() -> None:
    with pytest.raises(AppError, match="no slot") as caught:
        openai.answer(asked(), {"error": {"message": "no slot", "code": 503}})
    assert caught.value.status == 503


@given(objects_with(("choices", "delta", "message", "tool_calls", "function", "function_call", "name", "index", "error",
                     "object", "reasoning", "finish_reason", "data", "embedding", "embeddings", "code", "usage")),
       st.sampled_from([Operation.CHAT, Operation.EMBEDDINGS]))  # fmt: skip
def test_nothing_that_a_backend_says_breaks_the_reading(body: Fields, operation: Operation) -> None:
    event = b"data: " + json.dumps(body).encode() + b"\n\n"
    for work in (
        lambda: list(openai.reader(asked(operation)).feed(event)),
        lambda: openai.answer(asked(operation), body),
    ):
        try:
            work()
        except AppError as error:
            assert error.status >= 400


@given(st.binary(max_size=300), st.integers(1, 20))
def test_any_bytes_are_read_without_harm(body: bytes, size: int) -> None:
    reader = openai.reader(asked())
    for at in range(0, len(body), size):
        list(reader.feed(body[at : at + size]))
