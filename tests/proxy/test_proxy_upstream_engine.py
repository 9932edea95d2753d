"""Questions to real engines, and their answers: Ollama in its own words, llama.cpp in OpenAI's."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import ollama
import pytest
from real_engines import OLLAMA, needs
from real_ollama import real_ollama

from quarterdeck.backends.process import free_port
from quarterdeck.errors import AppError
from quarterdeck.proxy.dialects.base import Asked, Fields
from quarterdeck.proxy.dialects.ollama import OllamaDialect
from quarterdeck.proxy.upstreams.base import Upstream
from quarterdeck.proxy.upstreams.errors import upstream_error
from quarterdeck.proxy.upstreams.ollama import OllamaUpstream
from quarterdeck.proxy.upstreams.openai import OpenAIUpstream
from quarterdeck.schemas.backends import BackendKind
from quarterdeck.schemas.requests import Operation

pytestmark = pytest.mark.engine

USER = [{"role": "user", "content": "Say hello."}]
STEADY: Fields = {"temperature": 0, "seed": 1, "max_tokens": 6}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}


class Engine:
    """One engine at `url`, asked the way of `upstream`."""

    def __init__(self, url: str, upstream: Upstream, kind: BackendKind, model: str) -> None:
        self.url, self.model = url, model
        self._upstream, self._kind = upstream, kind
        # llama.cpp closes the connection after a stream without a word.
        one_each = httpx.Limits(max_keepalive_connections=0)
        self.http = httpx.Client(base_url=url, trust_env=False, timeout=60, limits=one_each)

    def answer(self, operation: Operation = Operation.CHAT, *, model: str = "", **fields: Any) -> Fields:
        asked = Asked(operation, {"model": "mine", **fields}, stream=False)
        return self.answer_to(asked, model)

    def answer_to(self, asked: Asked, model: str = "") -> Fields:
        question = self._upstream.ask(asked, self._kind, model or self.model)
        assert question.dropped == []
        answer = self.http.post(question.path, json=question.fields)
        if answer.status_code != 200:
            raise upstream_error(answer.status_code, answer.content, self._kind)
        return self._upstream.answer(asked, answer.json())

    def stream(self, asked: Asked) -> list[Fields]:
        question = self._upstream.ask(asked, self._kind, self.model)
        reader = self._upstream.reader(asked)
        with self.http.stream("POST", question.path, json=question.fields) as answer:
            chunks = [chunk for data in answer.iter_raw() for chunk in reader.feed(data)]
        assert reader.ended
        return chunks


def streamed(**fields: Any) -> Asked:
    options = {"stream": True, "stream_options": {"include_usage": True}}
    return Asked(Operation.CHAT, {"model": "mine", "messages": USER, **options, **fields}, stream=True)


def words(chunks: list[Fields]) -> str:
    return "".join(each["delta"].get("content") or "" for chunk in chunks for each in chunk["choices"])


@pytest.fixture(scope="module")
def ollama_url(starter_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with real_ollama(tmp_path_factory.mktemp("ollama"), starter_file) as url:
        yield url


@pytest.fixture
def native(ollama_url: str) -> Iterator[Engine]:
    engine = Engine(ollama_url, OllamaUpstream(), BackendKind.OLLAMA, "smollm2")
    with engine.http:
        yield engine


@pytest.fixture(scope="module")
def llama_url(starter_file: Path) -> Iterator[str]:
    port = free_port()
    command = [
        sys.executable, "-m", "quarterdeck.backends.embedded_worker", "--model", str(starter_file), "--port", str(port),
        "--alias", "starter", "--parent", str(os.getpid()), "--config", json.dumps({"n_ctx": 512, "warmup": False}),
    ]  # fmt: skip
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as engine:
        assert engine.stdout is not None
        assert any(line.startswith(b"serving ") for line in engine.stdout)
        yield f"http://127.0.0.1:{port}"
        engine.kill()


@pytest.fixture
def llama(llama_url: str) -> Iterator[Engine]:
    engine = Engine(llama_url, OpenAIUpstream(), BackendKind.EMBEDDED, "starter")
    with engine.http:
        yield engine


needs_ollama = needs(OLLAMA, "conversion to and from the real Ollama")


@needs_ollama
def test_ollama_heeds_the_parameters_and_a_stream_says_the_same(native: Engine) -> None:
    whole = native.answer(messages=USER, **STEADY, top_k=5, num_ctx=512, keep_alive="1m")
    [choice] = whole["choices"]
    assert (choice["finish_reason"], whole["usage"]["completion_tokens"], whole["model"]) == ("length", 6, "mine")
    chunks = native.stream(streamed(**STEADY))
    assert words(chunks) == choice["message"]["content"] != ""
    assert chunks[-1]["usage"]["prompt_tokens"] == whole["usage"]["prompt_tokens"]
    assert chunks[-1]["timings"]["predicted_ms"] > 0
    second = choice["message"]["content"].split()[1]
    stopped = native.answer(messages=USER, **STEADY, stop=second)["choices"][0]
    assert second not in stopped["message"]["content"]
    assert stopped["finish_reason"] == "stop"


@needs_ollama
def test_ollama_answers_in_the_schema_that_was_asked_for(native: Engine) -> None:
    schema = {"type": "object", "properties": {"colour": {"enum": ["blue", "red"]}}, "required": ["colour"]}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    answer = native.answer(messages=USER, response_format=form, temperature=0, max_tokens=60)
    assert json.loads(answer["choices"][0]["message"]["content"])["colour"] in ("blue", "red")
    loose = native.answer(messages=USER, response_format={"type": "json_object"}, temperature=0, max_tokens=8)
    assert loose["choices"][0]["message"]["content"].lstrip().startswith("{")


@needs_ollama
def test_a_completion_has_no_template_around_it(native: Engine) -> None:
    raw = native.answer(Operation.COMPLETION, prompt="Say hello.", **STEADY)
    chat = native.answer(messages=USER, **STEADY)
    assert raw["object"] == "text_completion"
    assert raw["usage"]["prompt_tokens"] < chat["usage"]["prompt_tokens"]


@needs_ollama
def test_ollama_takes_calls_and_results_where_the_model_can(native: Engine) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"x": {"y": [1]}}'}}
    messages = [
        *USER,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "5"},
    ]
    answer = native.answer(model="tooled", messages=messages, tools=[TOOL], **STEADY)
    assert answer["choices"][0]["finish_reason"] in ("length", "stop", "tool_calls")
    with pytest.raises(AppError, match="does not support tools") as caught:
        native.answer(messages=USER, tools=[TOOL])
    assert caught.value.status == 400


@needs_ollama
def test_a_model_that_cannot_think_may_be_asked_not_to(native: Engine) -> None:
    assert native.answer(messages=USER, **STEADY, reasoning_effort="none")["choices"]
    with pytest.raises(AppError, match="does not support thinking"):
        native.answer(messages=USER, **STEADY, think=True)


@needs_ollama
def test_vectors_of_ollama_as_floats_and_packed(native: Engine) -> None:
    floats = native.answer(Operation.EMBEDDINGS, input=["a", "b"])
    assert [each["index"] for each in floats["data"]] == [0, 1]
    packed = native.answer(Operation.EMBEDDINGS, input="a", encoding_format="base64")
    size = len(floats["data"][0]["embedding"])
    assert len(base64.b64decode(packed["data"][0]["embedding"])) == 4 * size


@needs_ollama
def test_ollama_s_clients_get_the_same_through_the_hub_as_from_ollama(native: Engine) -> None:
    dialect = OllamaDialect()
    options = {"temperature": 0, "seed": 1, "num_predict": 6}
    real = ollama.Client(host=native.url, trust_env=False)
    for path, said in (("/api/generate", {"prompt": "Say hello."}), ("/api/chat", {"messages": USER})):
        request = {"model": "smollm2", "options": options, "stream": False, **said}
        asked = dialect.read(path, request)
        ours = dialect.answer(asked, native.answer_to(asked))
        theirs = native.http.post(path, json=request).json()
        changing = ("created_at", "total_duration", "load_duration", "prompt_eval_duration", "eval_duration")
        assert set(ours) == set(theirs)
        assert {name: ours[name] for name in ours if name not in changing} == {
            name: theirs[name] for name in theirs if name not in changing
        }
    assert real.generate("smollm2", "Say hello.", options=options).response
    real._client.close()


@needs_ollama
def test_a_context_goes_on_with_the_conversation(native: Engine) -> None:
    dialect = OllamaDialect()
    first = dialect.read("/api/generate", {"model": "m", "prompt": "My name is Bo.", "stream": False})
    first.fields["max_tokens"] = 4
    context = dialect.answer(first, native.answer_to(first))["context"]
    again = dialect.read("/api/generate", {"model": "m", "prompt": "And?", "context": context, "stream": False})
    again.fields["max_tokens"] = 4
    answer = dialect.answer(again, native.answer_to(again))
    assert answer["context"][: len(context)] == context


def test_llama_cpp_heeds_the_parameters_and_a_stream_says_the_same(llama: Engine) -> None:
    sampling = {"top_k": 1, "min_p": 0.1, "repeat_penalty": 1.1, "repeat_last_n": 8, "num_keep": 2, "think": False}
    whole = llama.answer(messages=USER, **STEADY, **sampling)
    [choice] = whole["choices"]
    assert (choice["finish_reason"], whole["usage"]["completion_tokens"]) == ("length", 6)
    chunks = llama.stream(streamed(**STEADY, **sampling))
    assert words(chunks) == choice["message"]["content"] != ""


def test_llama_cpp_answers_ollama_s_clients(llama: Engine) -> None:
    dialect = OllamaDialect()
    options = {"temperature": 0, "seed": 1, "num_predict": 6}
    asked = dialect.read("/api/chat", {"model": "mine", "messages": USER, "options": options, "logprobs": True})
    chunks = llama.stream(asked)
    writer = dialect.writer(asked)
    lines = [json.loads(line) for line in b"".join([*map(writer.write, chunks), writer.end()]).splitlines()]
    assert "".join(line["message"]["content"] for line in lines) == words(chunks)
    assert (lines[-1]["done_reason"], lines[-1]["eval_count"]) == ("length", 6)
    assert lines[-1]["eval_duration"] > 0
    assert lines[0]["logprobs"][0]["logprob"] <= 0
    prompt = dialect.read(
        "/api/generate", {"model": "mine", "prompt": "Say hello.", "options": options, "stream": False}
    )
    assert dialect.answer(prompt, llama.answer_to(prompt))["response"] == words(chunks)


def test_llama_cpp_answers_in_the_schema_that_an_ollama_client_asked_for(llama: Engine) -> None:
    schema = {"type": "object", "properties": {"colour": {"enum": ["blue", "red"]}}, "required": ["colour"]}
    asked = OllamaDialect().read("/api/chat", {"model": "mine", "messages": USER, "format": schema, "stream": False})
    answer = OllamaDialect().answer(asked, llama.answer_to(asked))
    assert json.loads(answer["message"]["content"])["colour"] in ("blue", "red")


def test_a_prompt_that_is_too_long_for_llama_cpp_is_told_in_its_words(llama: Engine) -> None:
    with pytest.raises(AppError, match="exceeds the available context size") as caught:
        llama.answer(messages=[{"role": "user", "content": "word " * 2000}])
    assert (caught.value.status, caught.value.details["upstream_type"]) == (400, "exceed_context_size_error")
