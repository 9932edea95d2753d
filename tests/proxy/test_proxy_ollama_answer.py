"""Answers in the words of Ollama's clients, as the real `ollama` package reads them."""

from __future__ import annotations

import base64
import itertools
import json
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import ollama
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from json_shapes import objects_with

from quarterdeck.errors import AppError
from quarterdeck.proxy.dialects.base import Asked
from quarterdeck.proxy.dialects.ollama import OllamaDialect
from quarterdeck.proxy.upstreams.ollama import OllamaUpstream

CHUNK = {"id": "x", "object": "chat.completion.chunk", "model": "backend-name"}
DURATIONS = ("total_duration", "load_duration", "prompt_eval_duration", "eval_duration")


def asked(path: str = "/api/chat", **fields: Any) -> Asked:
    return OllamaDialect().read(path, {"model": "m", **fields})


def delta(finish: str | None = None, **said: Any) -> dict[str, Any]:
    return {**CHUNK, "choices": [{"index": 0, "delta": said, "finish_reason": finish}]}


def usage(prompt: int = 3, answer: int = 4, **more: Any) -> dict[str, Any]:
    return {**CHUNK, "choices": [], "usage": {"prompt_tokens": prompt, "completion_tokens": answer}, **more}


def written(request: Asked, *chunks: dict[str, Any]) -> list[dict[str, Any]]:
    writer = OllamaDialect().writer(request)
    text = b"".join(writer.write(chunk) for chunk in chunks) + writer.end()
    assert text.endswith(b"\n")
    return [json.loads(line) for line in text.splitlines()]


def test_a_stream_of_words_with_thoughts() -> None:
    lines = written(
        asked(),
        delta(role="assistant", content=None), delta(reasoning_content="hm"), delta(content="Hel"),
        delta(content="lo"), delta("length"), usage(),
    )  # fmt: skip
    assert [line["message"] for line in lines] == [
        {"role": "assistant", "content": "", "thinking": "hm"},
        {"role": "assistant", "content": "Hel"},
        {"role": "assistant", "content": "lo"},
        {"role": "assistant", "content": ""},
    ]
    assert [line["done"] for line in lines] == [False, False, False, True]
    assert {line["model"] for line in lines} == {"m"}
    last = lines[-1]
    assert (last["done_reason"], last["prompt_eval_count"], last["eval_count"]) == ("length", 3, 4)
    assert last["total_duration"] > 0
    assert sum(last[name] for name in DURATIONS[1:]) <= last["total_duration"]


def test_calls_come_in_pieces_and_go_whole_with_an_object() -> None:
    def piece(index: int, arguments: str, **head: Any) -> dict[str, Any]:
        name = {"name": head.pop("name")} if "name" in head else {}
        return {"index": index, **head, "function": {**name, "arguments": arguments}}

    lines = written(
        asked(),
        delta(tool_calls=[piece(0, "", id="a", name="f")]),
        delta(tool_calls=[piece(0, '{"x"')]),
        delta(tool_calls=[piece(1, "", id="b", name="g")]),
        delta(tool_calls=[piece(0, ": 1}")]),
        delta("tool_calls"),
        usage(),
    )
    made, last = lines
    assert made["message"]["tool_calls"] == [
        {"id": "a", "function": {"index": 0, "name": "f", "arguments": {"x": 1}}},
        {"id": "b", "function": {"index": 1, "name": "g", "arguments": {}}},
    ]
    assert (made["done"], last["done"], last["done_reason"]) == (False, True, "stop")


def test_calls_that_share_a_number_by_mistake_stay_apart() -> None:
    lines = written(
        asked(),
        delta(tool_calls=[{"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}]),
        delta(tool_calls=[{"index": 0, "id": "b", "function": {"name": "g", "arguments": '{"y": 2}'}}]),
        delta("tool_calls"),
    )
    assert [call["function"]["name"] for call in lines[0]["message"]["tool_calls"]] == ["f", "g"]


def test_arguments_that_are_no_object_are_not_lost() -> None:
    call = {"index": 0, "id": "a", "function": {"name": "f", "arguments": '"gab"'}}
    lines = written(asked(), delta(tool_calls=[call]), delta("stop"))
    assert lines[0]["message"]["tool_calls"][0]["function"]["arguments"] == {"arguments": "gab"}


def test_llama_cpp_s_timings_become_durations() -> None:
    timings = {"prompt_n": 5, "prompt_ms": 1.5, "predicted_n": 7, "predicted_ms": 2.25}
    last = written(asked(), delta(content="x"), delta("stop"), {**CHUNK, "choices": [], "timings": timings})[-1]
    assert (last["prompt_eval_duration"], last["eval_duration"]) == (1_500_000, 2_250_000)
    assert (last["prompt_eval_count"], last["eval_count"]) == (5, 7)


@pytest.mark.parametrize("raw", [False, True])
def test_a_prompt_is_answered_with_a_response(raw: bool) -> None:
    request = asked("/api/generate", prompt="x", raw=raw)
    words = {"choices": [{"index": 0, "text": "Hi", "finish_reason": None}]} if raw else delta(content="Hi")
    first, last = written(request, words, delta("stop"), usage(context=[1, 2]))
    assert (first["response"], first["done"], "message" in first) == ("Hi", False, False)
    assert (last["response"], last["done_reason"], last["context"]) == ("", "stop", [1, 2])


def test_a_whole_answer() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"x": [1]}'}}
    message = {"role": "assistant", "content": None, "reasoning_content": "hm", "tool_calls": [call]}
    logprobs = {"content": [{"token": "a", "logprob": -1, "bytes": [97], "top_logprobs": []}]}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls", "logprobs": logprobs}
    answer = OllamaDialect().answer(asked(stream=False), {**usage(1, 2), "choices": [choice]})
    assert answer["message"] == {
        "role": "assistant", "content": "", "thinking": "hm",
        "tool_calls": [{"id": "c", "function": {"index": 0, "name": "f", "arguments": {"x": [1]}}}],
    }  # fmt: skip
    assert (answer["done"], answer["done_reason"], answer["eval_count"]) == (True, "stop", 2)
    assert answer["logprobs"] == [{"token": "a", "logprob": -1, "bytes": [97]}]


def test_vectors_in_both_forms() -> None:
    packed = base64.b64encode(struct.pack("<2f", 0.5, -1)).decode()
    data = [{"index": 1, "embedding": packed}, {"index": 0, "embedding": [1.0, 2.0]}]
    hub = {"object": "list", "data": data, "usage": {"prompt_tokens": 4}}
    new = OllamaDialect().answer(asked("/api/embed", input=["a", "b"]), hub)
    assert (new["embeddings"], new["prompt_eval_count"], new["model"]) == ([[1.0, 2.0], [0.5, -1.0]], 4, "m")
    assert OllamaDialect().answer(asked("/api/embeddings", prompt="a"), hub) == {"embedding": [1.0, 2.0]}


def test_log_probabilities_of_a_completion() -> None:
    old = {"tokens": ["a", "b"], "token_logprobs": [-1, None], "top_logprobs": [{"a": -1, "c": -2}]}
    chunk = {"choices": [{"index": 0, "text": "ab", "logprobs": old, "finish_reason": None}]}
    lines = written(asked("/api/generate", prompt="x", raw=True), chunk)
    assert lines[0]["logprobs"] == [
        {"token": "a", "logprob": -1, "top_logprobs": [{"token": "a", "logprob": -1}, {"token": "c", "logprob": -2}]},
        {"token": "b", "logprob": None},
    ]


def test_an_error_is_a_text() -> None:
    error = AppError("unknown_model", "There is no model “x”.", "See the list.", status=404)
    assert OllamaDialect().error(error)["error"] == "There is no model “x”. See the list."


NAMES = (
    "choices", "delta", "message", "tool_calls", "function", "name", "arguments", "index", "id", "finish_reason",
    "usage", "timings", "content", "text", "logprobs", "prompt_tokens", "predicted_ms", "total_ms", "load_ms",
    "prompt_ms", "top_logprobs", "tokens", "token_logprobs", "data", "embedding", "reasoning_content", "predicted_n",
)  # fmt: skip


@given(st.lists(objects_with(NAMES), max_size=3), st.sampled_from(["/api/chat", "/api/generate", "/api/embed"]))
def test_nothing_that_a_backend_says_breaks_the_writing(chunks: list[dict[str, Any]], path: str) -> None:
    request = asked(path, input="x")
    for chunk in chunks:
        json.dumps(OllamaDialect().answer(request, chunk))
    written(request, *chunks)


@given(st.text(max_size=60), st.data())
def test_words_are_whole_however_they_are_cut(text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=4)))
    parts = [text[start:end] for start, end in itertools.pairwise([0, *cuts, len(text)])]
    request = asked()
    writer = OllamaDialect().writer(request)
    stream = b"".join(writer.write(delta(content=part)) for part in parts) + writer.write(delta("stop")) + writer.end()
    reader = OllamaUpstream().reader(request)
    size = data.draw(st.integers(1, 50))
    pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
    chunks = [chunk for piece in pieces for chunk in reader.feed(piece)]
    assert reader.ended
    said = [choice["delta"].get("content", "") for chunk in chunks for choice in chunk["choices"]]
    assert "".join(said) == text


Answer = Callable[[Asked], list[dict[str, Any]] | AppError]


@asynccontextmanager
async def served(chunks: Answer) -> AsyncIterator[ollama.AsyncClient]:
    """The real client in front of a server that answers every request with what the dialect makes of `chunks`."""
    dialect = OllamaDialect()

    async def answer(request: web.Request) -> web.StreamResponse:
        wanted = dialect.read(request.path, await request.json())
        found = chunks(wanted)
        if isinstance(found, AppError) and not wanted.stream:
            return web.json_response(dialect.error(found), status=found.status)
        if not wanted.stream:
            return web.json_response(dialect.answer(wanted, found[0]))  # type: ignore[index]
        response = web.StreamResponse(headers={"Content-Type": dialect.stream_type})
        await response.prepare(request)
        writer = dialect.writer(wanted)
        if isinstance(found, AppError):
            await response.write(writer.write(delta(content="half")) + writer.error(found))
            return response
        for chunk in found:
            await response.write(writer.write(chunk))
        await response.write(writer.end())
        return response

    application = web.Application()
    application.router.add_post("/{path:.*}", answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    client = ollama.AsyncClient(host=f"http://127.0.0.1:{runner.addresses[0][1]}", trust_env=False)
    try:
        yield client
    finally:
        await client._client.aclose()
        await runner.cleanup()


def weather(city: str) -> str:
    """Tells the weather.

    Args:
      city: a town
    """
    return city


async def test_the_real_client_streams_a_chat_with_tools() -> None:
    def chunks(wanted: Asked) -> list[dict[str, Any]]:
        assert wanted.fields["tools"][0]["function"]["parameters"]["required"] == ["city"]
        piece = {"index": 0, "id": "c1", "function": {"name": "weather", "arguments": '{"city": "Bonn"}'}}
        return [
            delta(reasoning_content="hm"),
            delta(content="I look."),
            delta(tool_calls=[piece]),
            delta("stop"),
            usage(),
        ]

    async with served(chunks) as client:
        stream = await client.chat("m", [{"role": "user", "content": "?"}], tools=[weather], stream=True, think=True)
        parts = [part async for part in stream]
    assert parts[0].message.thinking == "hm"
    assert "".join(part.message.content or "" for part in parts) == "I look."
    [call] = [call for part in parts for call in part.message.tool_calls or ()]
    assert (call.function.name, call.function.arguments) == ("weather", {"city": "Bonn"})
    assert (parts[-1].done, parts[-1].done_reason, parts[-1].eval_count) == (True, "stop", 4)


async def test_the_real_client_reads_whole_answers_and_vectors() -> None:
    def chunks(wanted: Asked) -> list[dict[str, Any]]:
        if "input" in wanted.fields:
            return [{"data": [{"index": 0, "embedding": [0.25, 0.5]}], "usage": {"prompt_tokens": 2}}]
        message = {"role": "assistant", "content": '{"a": 1}'}
        return [{"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage()["usage"]}]

    async with served(chunks) as client:
        chat = await client.chat("m", [{"role": "user", "content": "?", "images": [b"\x89PNG"]}], format="json")
        prompt = await client.generate("m", "?", options={"num_predict": 3, "temperature": 0.5})
        new = await client.embed("m", "x")
        old = await client.embeddings("m", "x")
    assert (chat.message.content, chat.done_reason) == ('{"a": 1}', "stop")
    assert (prompt.response, prompt.prompt_eval_count) == ('{"a": 1}', 3)
    assert ([list(each) for each in new.embeddings], list(old.embedding)) == ([[0.25, 0.5]], [0.25, 0.5])


@pytest.mark.parametrize("stream", [False, True])
async def test_the_real_client_raises_our_errors(stream: bool) -> None:
    error = AppError("engine_lost", "The engine is gone.", "Try again.", status=502)
    async with served(lambda _wanted: error) as client:
        with pytest.raises(ollama.ResponseError, match=r"The engine is gone\. Try again\."):
            answer = await client.chat("m", [{"role": "user", "content": "?"}], stream=stream)  # type: ignore[call-overload]
            async for _ in answer:
                pass
