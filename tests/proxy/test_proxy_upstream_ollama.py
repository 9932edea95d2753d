"""Requests in Ollama's own words, and its answers in OpenAI's."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from json_shapes import objects_with
from recorded_answers import recorded_answers, recorded_fields

from quarterdeck.errors import AppError
from quarterdeck.proxy.dialects.base import Asked, Fields
from quarterdeck.proxy.dialects.ollama import OllamaDialect
from quarterdeck.proxy.upstreams.base import Question
from quarterdeck.proxy.upstreams.ollama import OllamaUpstream
from quarterdeck.schemas.backends import BackendKind
from quarterdeck.schemas.requests import Operation

ollama = OllamaUpstream()
USER = [{"role": "user", "content": "hi"}]


def asked(operation: Operation = Operation.CHAT, *, stream: bool = False, **fields: Any) -> Asked:
    return Asked(operation, {"model": "m", **fields}, stream)


def ask(operation: Operation = Operation.CHAT, **fields: Any) -> Question:
    return ollama.ask(asked(operation, **fields), BackendKind.OLLAMA, "served")


def test_every_parameter_is_carried() -> None:
    question = ask(
        messages=USER, temperature=0.1, top_p=0.9, seed=1, stop="x", max_tokens=5, max_completion_tokens=6,
        frequency_penalty=0.3, presence_penalty=0.4, top_k=7, min_p=0.1, num_ctx=2048, keep_alive=60,
        repetition_penalty=1.1, ollama_options={"num_gpu": 2, "truncate": False}, logprobs=True, top_logprobs=2,
        response_format={"type": "json_object"}, reasoning_effort="minimal", user="me", n=1,
    )  # fmt: skip
    assert question.path == "/api/chat"
    assert question.dropped == []
    assert question.fields == {
        "model": "served", "messages": USER, "stream": False, "format": "json", "think": "low", "truncate": False,
        "keep_alive": 60, "logprobs": True, "top_logprobs": 2,
        "options": {
            "temperature": 0.1, "top_p": 0.9, "seed": 1, "stop": ["x"], "num_predict": 6, "frequency_penalty": 0.3,
            "presence_penalty": 0.4, "top_k": 7, "min_p": 0.1, "num_ctx": 2048, "repeat_penalty": 1.1, "num_gpu": 2,
        },
    }  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "dropped"),
    [
        ({"n": 2}, ["n"]),
        ({"logit_bias": {"1": 5}}, ["logit_bias"]),
        ({"tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": "required"}, ["tool_choice"]),
        ({"tools": [{"type": "web_search"}]}, ["tools.web_search"]),
        ({"parallel_tool_calls": False}, ["parallel_tool_calls"]),
        ({"response_format": {"type": "grammar"}}, ["response_format"]),
        ({"reasoning_effort": "cosmic"}, ["reasoning_effort"]),
        ({"chat_template_kwargs": {"enable_thinking": False, "x": 1}}, ["chat_template_kwargs.x"]),
        ({"messages": [{"role": "user", "name": "Bo", "content": "x"}]}, ["messages.name"]),
        (
            {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]},
            ["messages.content.input_audio"],
        ),
        ({"n": 1, "tool_choice": "auto", "logit_bias": {}, "user": "x", "metadata": {}, "temperature": None}, []),
    ],
)
def test_what_ollama_has_no_word_for_is_named(fields: Fields, dropped: list[str]) -> None:
    assert ask(**{"messages": USER, **fields}).dropped == dropped


def test_tool_choice_none_takes_the_tools_away() -> None:
    question = ask(messages=USER, tools=[{"type": "function", "function": {"name": "f"}}], tool_choice="none")
    assert ("tools" in question.fields, question.dropped) == (False, [])


def test_thinking_is_switched_by_each_of_its_names() -> None:
    assert ask(messages=USER, reasoning_effort="none").fields["think"] is False
    assert ask(messages=USER, chat_template_kwargs={"enable_thinking": True}).fields["think"] is True
    assert ask(messages=USER, think=False, reasoning_effort="high").fields["think"] is False


def test_messages_with_parts_calls_and_results() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}
    question = ask(
        messages=[
            {"role": "developer", "content": "Be short."},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "a"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}},
                    {"type": "text", "text": "b"},
                ],
            },
            {"role": "assistant", "content": None, "reasoning_content": "hm", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "5"}]},
        ]
    )
    assert question.fields["messages"] == [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "a\nb", "images": ["AAAA"]},
        {
            "role": "assistant", "content": "", "thinking": "hm",
            "tool_calls": [{"id": "c1", "function": {"index": 0, "name": "f", "arguments": {"x": 1}}}],
        },
        {"role": "tool", "content": "5", "tool_name": "f", "tool_call_id": "c1"},
    ]  # fmt: skip


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": "x"},
        {"messages": [{"role": "user", "content": 5}]},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://a/b.png"}}]}]},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "nonsense"}]}]},
        {"messages": [{"role": "assistant", "tool_calls": [{}]}]},
    ],
)
def test_what_cannot_be_read_is_refused(fields: Fields) -> None:
    with pytest.raises(AppError) as caught:
        ask(**fields)
    assert caught.value.status == 400


def test_a_completion_is_continued_without_a_template() -> None:
    question = ask(Operation.COMPLETION, prompt=["def f("], max_tokens=3, logprobs=0, echo=True)
    assert question.path == "/api/generate"
    assert question.fields["raw"] is True
    assert (question.fields["prompt"], question.fields["logprobs"]) == ("def f(", True)
    assert question.dropped == ["echo"]
    with pytest.raises(AppError):
        ask(Operation.COMPLETION, prompt=["a", "b"])


def test_vectors_are_asked_as_floats_and_packed_here() -> None:
    wanted = asked(Operation.EMBEDDINGS, input=["x"], encoding_format="base64", dimensions=3)
    question = ollama.ask(wanted, BackendKind.OLLAMA, "")
    assert (question.path, question.dropped) == ("/api/embed", [])
    assert question.fields == {"model": "m", "input": ["x"], "dimensions": 3}
    answer = ollama.answer(wanted, recorded_fields("ollama", "embed"))
    packed = base64.b64decode(answer["data"][0]["embedding"])
    vector = recorded_fields("ollama", "embed")["embeddings"][0]
    assert struct.unpack(f"<{len(vector)}f", packed) == pytest.approx(vector)
    assert answer["usage"] == {"prompt_tokens": 1, "total_tokens": 1}
    with pytest.raises(AppError):
        ask(Operation.EMBEDDINGS, input=[1, 2, 3])


@pytest.mark.parametrize("operation", [Operation.RERANK, Operation.SPEECH, Operation.IMAGES])
def test_what_ollama_cannot_do_is_refused(operation: Operation) -> None:
    with pytest.raises(AppError) as caught:
        ask(operation, input="x")
    assert caught.value.status == 501


@pytest.mark.parametrize(
    ("wanted", "needed"),
    [
        (asked(messages=USER, temperature=1), []),
        (asked(messages=USER, num_ctx=9, top_k=None), ["num_ctx"]),
        (asked(messages=USER, tool_choice="none"), ["tool_choice"]),
        (asked(messages=USER, max_completion_tokens=5), ["max_completion_tokens"]),
        (asked(messages=[{"role": "developer", "content": "x"}]), ["messages"]),
        (asked(messages=[{"role": "assistant", "content": None, "tool_calls": []}]), ["messages"]),
        (asked(Operation.COMPLETION, prompt="x"), ["prompt"]),
        (asked(Operation.EMBEDDINGS, input="x"), []),
        (asked(Operation.EMBEDDINGS, input="x", encoding_format="base64"), ["encoding_format"]),
    ],
)
def test_when_its_openai_interface_will_not_do(wanted: Asked, needed: list[str]) -> None:
    assert list(ollama.needed_for(wanted)) == needed


def read(wanted: Asked, *pieces: bytes) -> list[Fields]:
    reader = ollama.reader(wanted)
    chunks = [chunk for piece in pieces for chunk in reader.feed(piece)]
    assert reader.ended
    return chunks


@given(st.integers(1, 400))
def test_the_recorded_stream_reads_the_same_in_pieces_of_any_size(size: int) -> None:
    _, body = recorded_answers("ollama")["chat stream"]
    chunks = read(asked(stream=True), *[body[at : at + size] for at in range(0, len(body), size)])
    *said, last, figures = chunks
    assert said[0]["choices"][0]["delta"] == {"role": "assistant", "content": "Hello"}
    assert "".join(chunk["choices"][0]["delta"]["content"] for chunk in said) == "Hello there, welcome to the"
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert [chunk["choices"][0]["finish_reason"] for chunk in said] == [None] * len(said)
    assert last["choices"][0]["finish_reason"] == "length"
    assert (figures["choices"], figures["usage"]["total_tokens"]) == ([], 17)
    assert figures["timings"]["predicted_ms"] == pytest.approx(184.96208)


def test_the_recorded_stream_equals_what_ollama_s_own_interface_says() -> None:
    ours = read(asked(stream=True), recorded_answers("ollama")["chat stream"][1])
    _, body = recorded_answers("ollama")["v1 chat stream"]
    theirs = [json.loads(line[6:]) for line in body.splitlines() if line.startswith(b"data: {")]

    def kernel(chunk: Fields) -> object:
        choices = [(each["delta"].get("content") or "", each["finish_reason"]) for each in chunk["choices"]]
        return chunk["object"], chunk["model"] and choices, chunk.get("usage")

    assert [kernel(chunk) for chunk in ours] == [kernel(chunk) for chunk in theirs]


def test_a_stream_of_calls_numbers_them_and_ends_with_their_reason() -> None:
    def line(**fields: Any) -> bytes:
        return json.dumps({"model": "m", "done": False, **fields}).encode() + b"\r\n"

    call = {"function": {"index": 0, "name": "f", "arguments": {"x": "ü"}}}
    chunks = read(
        asked(stream=True),
        line(message={"content": "", "thinking": "hm"}),
        line(message={"content": "", "tool_calls": [call]}),
        b"no chunk\n\n",
        line(message={"content": "", "tool_calls": [{"id": "own", **call}]}),
        line(message={"content": ""}, done=True, done_reason="stop"),
    )
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks[:-1]]
    assert deltas[0]["reasoning_content"] == "hm"
    first, second = deltas[1]["tool_calls"][0], deltas[2]["tool_calls"][0]
    assert (first["index"], second["index"], second["id"]) == (0, 1, "own")
    assert first["id"].startswith("call_")
    assert json.loads(first["function"]["arguments"]) == {"x": "ü"}
    assert chunks[-2]["choices"][0]["finish_reason"] == "tool_calls"


def test_a_stream_that_breaks_off_has_not_ended_and_an_error_in_it_is_raised() -> None:
    reader = ollama.reader(asked(stream=True))
    list(reader.feed(b'{"model":"m","message":{"content":"x"},"done":false}\n'))
    assert not reader.ended
    with pytest.raises(AppError, match="runner has died") as caught:
        list(reader.feed(b'{"error":"model runner has died"}\n'))
    assert (caught.value.code, caught.value.status) == ("upstream_error", 502)


def test_a_line_without_an_end_is_not_read_for_ever() -> None:
    reader = ollama.reader(asked(stream=True))
    with pytest.raises(AppError) as caught:
        for _ in range(20):
            list(reader.feed(b"x" * 1024 * 1024))
    assert caught.value.status == 502


def test_the_recorded_answer_to_a_prompt_in_both_forms() -> None:
    body = recorded_fields("ollama", "generate")
    chat = ollama.answer(asked(), body)
    assert chat["object"] == "chat.completion"
    choice = chat["choices"][0]
    assert choice["message"] == {"role": "assistant", "content": "Hello there, welcome to the world of"}
    assert (choice["finish_reason"], chat["usage"]["prompt_tokens"]) == ("length", 11)
    text = ollama.answer(asked(Operation.COMPLETION), body)
    assert (text["object"], text["choices"][0]["text"]) == ("text_completion", "Hello there, welcome to the world of")


def test_ollama_s_own_answer_comes_back_unchanged_through_the_hub() -> None:
    request = OllamaDialect().read("/api/generate", {"model": "smollm2", "prompt": "x", "stream": False})
    body = recorded_fields("ollama", "generate")
    returned = OllamaDialect().answer(request, ollama.answer(request, body))
    assert {**returned, "created_at": body["created_at"]} == body
    unloaded = recorded_fields("ollama", "unload")
    assert OllamaDialect().answer(request, ollama.answer(request, unloaded))["done_reason"] == "unload"


@given(objects_with(("message", "response", "content", "thinking", "tool_calls", "function", "name", "arguments",
                     "done", "done_reason", "eval_count", "eval_duration", "logprobs", "embeddings", "embedding",
                     "error", "total_duration", "context", "top_logprobs", "token")),
       st.sampled_from([Operation.CHAT, Operation.COMPLETION, Operation.EMBEDDINGS]))  # fmt: skip
def test_nothing_that_ollama_says_breaks_the_reading(body: Fields, operation: Operation) -> None:
    wanted = asked(operation, stream=True, encoding_format="base64")
    for work in (
        ollama.answer,
        lambda wanted, body: list(ollama.reader(wanted).feed(json.dumps(body).encode() + b"\n")),
    ):
        try:
            json.dumps(work(wanted, body))
        except AppError as error:
            assert error.status >= 400
