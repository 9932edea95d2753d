"""Clients as they are, in every dialect, on every engine: each gets an answer or is told why not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from _pytest.mark import ParameterSet
from client_cells import (
    EMBEDDINGS,
    FEATURES,
    FORCED,
    IMAGE,
    OPENAI,
    PLAIN,
    SCHEMA,
    STREAM,
    TOOL_STREAM,
    TOOLS,
    Question,
    RealClient,
    RefusalError,
    ending,
    judge,
)
from client_room import LLAMA_CPP, MODELS, ON_OLLAMA, ON_VLLM, WITHOUT_TOOLS, ClientRoom, client_room, row
from leaving import DIALECTS, LONG, Work, leave
from real_clients import CLIENTS
from real_clients.anthropic_sdk import AnthropicClient
from real_clients.llm_command import LlmChat
from real_clients.ollama_sdk import OllamaClient
from real_clients.openai_sdk import OpenAIChat, OpenAIResponses
from real_engines import LITELLM, OLLAMA, VLLM, VLLM_MODEL, missing, needs
from serve_process import wait_for

WHAT = "clients as they are, on real engines"
pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(300), needs(OLLAMA, WHAT)]

OF_DIALECTS: list[type[RealClient]] = [OpenAIChat, OpenAIResponses, OllamaClient, AnthropicClient]
OTHERS = [kind for kind in CLIENTS if kind not in OF_DIALECTS]
NAMES = {OPENAI: "openai"}
CALLING = (TOOLS, TOOL_STREAM, FORCED)
ENGINES = [
    LLAMA_CPP,
    ON_OLLAMA,
    pytest.param(ON_VLLM, marks=[needs(VLLM, f"{WHAT}: vLLM"), needs(VLLM_MODEL, f"{WHAT}: vLLM")]),
]


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory, starter_file: Path) -> Iterator[ClientRoom]:
    with client_room(tmp_path_factory.mktemp("clients"), starter_file, vllm=missing(VLLM) is None) as made:
        yield made


@pytest.fixture(scope="module", params=ENGINES)
def backend(request: pytest.FixtureRequest) -> str:
    """One after the other, since only one of them has the memory."""
    return str(request.param)


def marked(kind: type[RealClient]) -> ParameterSet:
    marks = [needs(LITELLM, "the litellm package as a client")] if kind.name == "litellm" else []
    return pytest.param(kind, id=f"{kind.name}-{kind.dialect}", marks=marks)


def name(kind: type[RealClient]) -> str:
    return kind.dialect


@pytest.mark.parametrize("kind", [marked(kind) for kind in CLIENTS])
def test_every_client_is_answered_or_told_why_not(room: ClientRoom, backend: str, kind: type[RealClient]) -> None:
    features = [feature for feature in FEATURES if feature not in CALLING]
    found = row(room, kind, backend, features)
    refused = {IMAGE, EMBEDDINGS} if backend == ON_VLLM else {IMAGE}
    assert found == {feature: "refused" if feature in refused else "ok" for feature in found}


@pytest.mark.parametrize("kind", OF_DIALECTS, ids=name)
def test_tools_are_called_in_every_dialect(room: ClientRoom, backend: str, kind: type[RealClient]) -> None:
    assert set(row(room, kind, backend, CALLING).values()) == {"ok (call)"}


# On one engine only: what these clients send is what those above send, and a small model takes its time.
@pytest.mark.parametrize("backend", [LLAMA_CPP], indirect=True, scope="module")
@pytest.mark.parametrize("kind", [marked(kind) for kind in OTHERS])
def test_tools_are_called_by_every_client(room: ClientRoom, backend: str, kind: type[RealClient]) -> None:
    # `llm` runs the tool itself, and its model says something after that.
    assert set(row(room, kind, backend, CALLING).values()) == {"ok (text)" if kind.name == "llm" else "ok (call)"}


@pytest.mark.parametrize("backend", [LLAMA_CPP, ON_OLLAMA], indirect=True, scope="module")
def test_a_model_without_tools_answers_in_words_and_refuses_to_be_forced(room: ClientRoom, backend: str) -> None:
    model = WITHOUT_TOOLS[backend]
    for kind in OF_DIALECTS:
        client = room.client(kind)
        for feature in (TOOLS, TOOL_STREAM):
            question = Question(model, feature, "What colour is the sky?", limit=4)
            assert judge(kind, question, client.ask(question)) == "ok (text)"
        if FORCED not in kind.cannot:
            with pytest.raises(RefusalError, match="cannot use tools") as caught:
                client.ask(Question(model, FORCED))
            assert (caught.value.status, caught.value.code) == (409, "capability_mismatch")


@pytest.mark.parametrize("kind", OF_DIALECTS, ids=name)
def test_parameters_arrive_and_a_stream_says_the_same(room: ClientRoom, backend: str, kind: type[RealClient]) -> None:
    client, model = room.client(kind), MODELS[backend]
    question = Question(model, words="Tell a long story.", limit=8)
    plain = client.ask(question)
    again = client.ask(question)
    streamed = client.ask(Question(model, STREAM, "Tell a long story.", limit=8))
    assert plain.text == again.text == streamed.text != ""
    assert plain.usage == again.usage == streamed.usage
    assert plain.usage is not None
    assert plain.usage[1] == 8
    assert [ending(said.finish) for said in (plain, streamed)] == ["length", "length"]
    if kind is OpenAIResponses:  # it has no word for a stop
        return
    word = plain.text.split()[3]
    stopped = client.ask(Question(model, words="Tell a long story.", limit=8, stop=word))
    assert stopped.text.strip() == plain.text[: plain.text.index(word)].strip()
    assert ending(stopped.finish) == "stop"


@pytest.mark.parametrize("kind", [OpenAIChat, OllamaClient], ids=name)
def test_a_seed_gives_the_same_words_again(room: ClientRoom, backend: str, kind: type[RealClient]) -> None:
    client = room.client(kind)

    def said(seed: int) -> str:
        question = Question(MODELS[backend], words="Tell a story.", temperature=1.5, limit=8, seed=seed)
        return client.ask(question).text

    first = [said(seed) for seed in (1, 2, 3)]
    assert said(1) == first[0]
    assert len(set(first)) > 1


def test_clients_of_all_dialects_ask_at_once(room: ClientRoom, backend: str) -> None:
    model = MODELS[backend]
    questions = [
        (kind, Question(model, SCHEMA, colours=(colour,)))
        for kind, colour in zip(OF_DIALECTS, ("blue", "red", "green", "grey"), strict=True)
    ]
    with ThreadPoolExecutor(len(questions)) as people:
        asked = [people.submit(room.client(kind).ask, question) for kind, question in questions]
        for (kind, question), answer in zip(questions, asked, strict=True):
            # Every answer can only be the one to its own question.
            assert judge(kind, question, answer.result()) == "ok"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_engine_rests_when_its_client_has_left(room: ClientRoom, backend: str, dialect: str) -> None:
    serve, model = room.serve, MODELS[backend]
    room.client(OpenAIChat).ask(Question(model, limit=2))
    work = Work(serve.pid)
    work.goes_on(leave(room.url, dialect, model))

    def told() -> dict[str, Any] | None:
        last = serve.http.get("/api/requests").json()[0]
        return last if last["status"] == 499 else None

    request = wait_for(told, "the request is listed as left")
    assert request is not None
    assert (request["dialect"], request["error"]) == (NAMES.get(dialect, dialect), "The client went away.")
    assert request["completion_tokens"] < LONG


@pytest.mark.parametrize("backend", [ON_OLLAMA], indirect=True, scope="module")
def test_clients_ask_two_engines_at_once(room: ClientRoom, backend: str) -> None:
    models = (MODELS[LLAMA_CPP], MODELS[backend])
    with ThreadPoolExecutor() as people:
        asked = [
            (kind, question, people.submit(room.client(kind).ask, question))
            for kind in OF_DIALECTS
            for question in (Question(model, PLAIN, limit=4) for model in models)
        ]
        assert {judge(kind, question, answer.result()) for kind, question, answer in asked} == {"ok"}
    assert room.room.watcher.overlaps == []


@pytest.mark.parametrize("backend", [LLAMA_CPP], indirect=True, scope="module")
def test_llm_as_a_program(room: ClientRoom, backend: str) -> None:
    client = room.client(LlmChat)
    assert isinstance(client, LlmChat)
    words = client.arguments(Question(MODELS[backend]))
    program = Path(sys.executable).with_name("llm")
    ran = subprocess.run(
        [program, *words], env={**os.environ, **client.environment}, capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip()
