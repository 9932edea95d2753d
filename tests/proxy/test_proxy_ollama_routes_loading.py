"""Requests of Ollama's clients without a question, which load or unload a model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from ollama._types import ChatResponse, EmbedResponse, GenerateResponse
from scheduler_world import World, model

from quarterdeck.proxy.dialects.base import Asked
from quarterdeck.proxy.dialects.ollama import OllamaDialect
from quarterdeck.proxy.dialects.openai import OpenAIDialect
from quarterdeck.proxy.ollama_loading import load_or_unload, only_loads, unloads
from quarterdeck.schemas.models import Status


def asked(path: str, **fields: Any) -> Asked:
    return OllamaDialect().read(path, {"model": "a", **fields})


@pytest.fixture
def world() -> Iterator[World]:
    made = World([model("a"), model("pinned", pinned=True), model("bad", status=Status.INCOMPATIBLE)])
    yield made
    assert made.wrong == []
    made.close()


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/api/generate", {}),
        ("/api/generate", {"prompt": "", "stream": True}),
        ("/api/generate", {"system": "You are …", "keep_alive": -1}),
        ("/api/generate", {"prompt": "", "raw": True}),
        ("/api/chat", {}),
        ("/api/chat", {"messages": [], "keep_alive": 0}),
        ("/api/embed", {}),
        ("/api/embed", {"input": []}),
        ("/api/embeddings", {"prompt": ""}),
    ],
)
def test_requests_without_a_question(path: str, fields: dict[str, Any]) -> None:
    assert only_loads(asked(path, **fields))


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/api/generate", {"prompt": "hi", "keep_alive": 0}),
        ("/api/generate", {"prompt": "hi", "raw": True}),
        ("/api/generate", {"images": ["iVBORw0KGgo="]}),
        ("/api/chat", {"messages": [{"role": "system", "content": "You are …"}]}),
        ("/api/chat", {"messages": [{"role": "user", "content": ""}]}),
        ("/api/embed", {"input": "hi"}),
        ("/api/embeddings", {"prompt": "hi"}),
    ],
)
def test_requests_with_one(path: str, fields: dict[str, Any]) -> None:
    assert not only_loads(asked(path, **fields))


def test_other_clients_never_only_load() -> None:
    empty = {"model": "a", "messages": [{"role": "user", "content": ""}]}
    assert not only_loads(OpenAIDialect().read("/v1/chat/completions", empty))


@pytest.mark.parametrize("keep_alive", [0, 0.0, "0", "0s", "0m", "0h0m0s", "-0s", ".0s", 0.5])
def test_no_time_at_all(keep_alive: object) -> None:
    assert unloads(keep_alive)


@pytest.mark.parametrize(
    "keep_alive", [None, -1, 300, "5m", "10s", "-1", "1h0m", "", "s", False, float("inf"), float("nan"), [0]]
)
def test_some_time(keep_alive: object) -> None:
    assert not unloads(keep_alive)


def test_a_model_is_loaded_and_unloaded(world: World) -> None:
    answer = world.run(load_or_unload(world.scheduler, asked("/api/generate"), "a"))
    assert world.said == ["load a"]
    assert GenerateResponse(**answer).done_reason == "load"
    assert (answer["model"], answer["response"], answer["done"]) == ("a", "", True)
    answer = world.run(load_or_unload(world.scheduler, asked("/api/chat", messages=[], keep_alive=0), "a"))
    assert world.said == ["load a", "unload a"]
    assert ChatResponse(**answer).done_reason == "unload"
    assert answer["message"] == {"role": "assistant", "content": ""}


def test_a_model_that_is_not_there_is_unloaded_already(world: World) -> None:
    answer = world.run(load_or_unload(world.scheduler, asked("/api/generate", keep_alive="0s"), "a"))
    assert answer["done_reason"] == "unload"
    assert world.said == []


def test_a_model_that_others_use_stays(world: World) -> None:
    world.run(world.scheduler.load("a"))
    request = world.begin(world.use("a", 5.0))
    world.run(load_or_unload(world.scheduler, asked("/api/generate", keep_alive=0), "a"))
    assert world.said == ["load a"]
    world.run(request)


def test_a_pinned_model_stays(world: World) -> None:
    world.run(world.scheduler.load("pinned"))
    world.run(load_or_unload(world.scheduler, asked("/api/generate", keep_alive=0), "pinned"))
    assert world.said == ["load pinned"]


def test_a_model_that_may_not_be_loaded_is_refused(world: World) -> None:
    assert world.refused(load_or_unload(world.scheduler, asked("/api/chat"), "bad")).code == "incompatible"
    world.run(load_or_unload(world.scheduler, asked("/api/chat"), "bad", force=True))
    assert world.said == ["load bad"]


def test_embeddings_of_nothing_are_none(world: World) -> None:
    answer = world.run(load_or_unload(world.scheduler, asked("/api/embed", input=[]), "a"))
    assert EmbedResponse(**answer).embeddings == []
    assert world.run(load_or_unload(world.scheduler, asked("/api/embeddings"), "a")) == {"embedding": []}
