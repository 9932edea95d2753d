"""Requests of Ollama's clients in OpenAI's words, and back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from json_shapes import objects_with

from quarterdeck.errors import AppError
from quarterdeck.proxy.dialects.base import Asked
from quarterdeck.proxy.dialects.ollama import OllamaDialect
from quarterdeck.proxy.upstreams.ollama import OllamaUpstream
from quarterdeck.schemas.backends import BackendKind
from quarterdeck.schemas.requests import Operation

PNG = "iVBORw0KGgoAAAANSUhEUg=="


def read(path: str, **fields: Any) -> Asked:
    return OllamaDialect().read(path, {"model": "m", **fields})


def back(asked: Asked) -> tuple[str, dict[str, Any], list[str]]:
    question = OllamaUpstream().ask(asked, BackendKind.OLLAMA, asked.model)
    return question.path, question.fields, question.dropped


def test_options_and_root_fields_become_openai_s_words() -> None:
    asked = read(
        "/api/chat",
        messages=[{"role": "user", "content": "hi"}],
        options={
            "temperature": 0, "top_p": 0.5, "seed": 7, "stop": ["a", "b"], "frequency_penalty": 0.1,
            "presence_penalty": 0.2, "num_predict": 9, "top_k": 3, "num_ctx": 4096, "num_gpu": 1, "mirostat": None,
        },
        keep_alive="5m", think="high", format="json", logprobs=True, top_logprobs=2, stream=False,
    )  # fmt: skip
    assert asked.operation is Operation.CHAT
    assert asked.stream is False
    assert asked.fields == {
        "model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": False,
        "temperature": 0, "top_p": 0.5, "seed": 7, "stop": ["a", "b"], "frequency_penalty": 0.1,
        "presence_penalty": 0.2, "max_tokens": 9, "top_k": 3, "num_ctx": 4096, "ollama_options": {"num_gpu": 1},
        "keep_alive": "5m", "think": "high", "response_format": {"type": "json_object"}, "logprobs": True,
        "top_logprobs": 2,
    }  # fmt: skip
    assert asked.dropped == []


def test_a_stream_is_the_default_and_asks_for_usage() -> None:
    asked = read("/api/chat", messages=[])
    assert asked.stream
    assert asked.fields["stream_options"] == {"include_usage": True}
    assert read("/api/embed", input="x").stream is False


def test_a_schema_becomes_a_response_format() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    wanted = read("/api/chat", messages=[], format=schema).fields["response_format"]
    assert wanted["type"] == "json_schema"
    assert wanted["json_schema"]["schema"] == schema


@pytest.mark.parametrize(
    ("start", "kind"), [("/9j/", "jpeg"), ("iVBORw0KGgo", "png"), ("R0lGOD", "gif"), ("UklGR", "webp"), ("AAAA", "png")]
)
def test_pictures_become_data_urls_of_their_type(start: str, kind: str) -> None:
    asked = read("/api/chat", messages=[{"role": "user", "content": "what?", "images": [start + "xyz="]}])
    assert asked.fields["messages"][0]["content"] == [
        {"type": "text", "text": "what?"},
        {"type": "image_url", "image_url": {"url": f"data:image/{kind};base64,{start}xyz="}},
    ]


def test_calls_get_ids_and_results_find_their_calls() -> None:
    call = {"function": {"name": "weather", "arguments": {"city": "Bonn"}}}
    other = {"function": {"name": "time", "arguments": {}}}
    asked = read(
        "/api/chat",
        messages=[
            {"role": "assistant", "content": "", "thinking": "hm", "tool_calls": [call, other]},
            {"role": "tool", "tool_name": "time", "content": "9"},
            {"role": "tool", "content": "rain"},
            {"role": "assistant", "tool_calls": [{"id": "mine", **call}]},
            {"role": "tool", "tool_call_id": "mine", "content": "sun"},
        ],
        tools=[{"type": "function", "function": {"name": "weather"}}],
    )
    first, time, rain, _again, sun = asked.fields["messages"]
    assert first["reasoning_content"] == "hm"
    made = {each["function"]["name"]: each for each in first["tool_calls"]}
    assert json.loads(made["weather"]["function"]["arguments"]) == {"city": "Bonn"}
    assert (time["tool_call_id"], time["name"]) == (made["time"]["id"], "time")
    assert rain["tool_call_id"] == made["weather"]["id"]
    assert sun["tool_call_id"] == "mine"
    assert made["time"]["id"] != made["weather"]["id"]
    # Mistral's templates take ids of nine letters and digits only.
    assert all(len(each["id"]) == 9 and each["id"].isalnum() for each in made.values())


def test_a_prompt_is_a_chat_of_one_turn_so_that_any_backend_uses_its_template() -> None:
    asked = read("/api/generate", prompt="Why?", system="Be short.", images=[PNG])
    assert asked.operation is Operation.CHAT
    assert [each["role"] for each in asked.fields["messages"]] == ["system", "user"]
    path, fields, dropped = back(asked)
    assert (path, dropped) == ("/api/generate", [])
    assert (fields["prompt"], fields["system"], fields["images"]) == ("Why?", "Be short.", [PNG])


@pytest.mark.parametrize("words", [{"template": "{{ .Prompt }}"}, {"context": [1, 2, 3]}])
def test_a_template_and_a_context_reach_ollama_and_are_named_elsewhere(words: dict[str, Any]) -> None:
    path, fields, dropped = back(read("/api/generate", prompt="Why?", **words))
    assert (path, dropped) == ("/api/generate", [])
    assert words.items() <= fields.items()


def test_a_raw_prompt_is_a_completion() -> None:
    asked = read("/api/generate", prompt="def f(", raw=True, logprobs=True, top_logprobs=3)
    assert (asked.operation, asked.fields["logprobs"]) == (Operation.COMPLETION, 3)
    path, fields, _ = back(asked)
    assert (path, fields["raw"], fields["logprobs"], fields["top_logprobs"]) == ("/api/generate", True, True, 3)


def test_a_suffix_is_a_completion_within_the_template() -> None:
    asked = read("/api/generate", prompt="def f(", suffix="return 1", system="x")
    assert (asked.operation, asked.fields["suffix"]) == (Operation.COMPLETION, "return 1")
    _, fields, _ = back(asked)
    assert "raw" not in fields
    assert (fields["suffix"], fields["system"]) == ("return 1", "x")


def test_vectors_of_both_paths() -> None:
    new = read("/api/embed", input=["a", "b"], dimensions=64, truncate=False, options={"temperature": 1, "num_ctx": 9})
    assert (new.operation, new.fields["input"], new.fields["dimensions"]) == (Operation.EMBEDDINGS, ["a", "b"], 64)
    path, fields, dropped = back(new)
    assert (path, fields["truncate"], fields["dimensions"], dropped) == ("/api/embed", False, 64, [])
    assert fields["options"] == {"temperature": 1, "num_ctx": 9}
    assert read("/api/embeddings", prompt="a").fields["input"] == "a"


def test_no_limit_is_said_by_leaving_it_out_but_kept_for_ollama() -> None:
    asked = read("/api/chat", messages=[], options={"num_predict": -1})
    assert "max_tokens" not in asked.fields
    assert back(asked)[1]["options"] == {"num_predict": -1}


def test_what_nobody_knows_is_named() -> None:
    assert read("/api/chat", messages=[], colour="red").dropped == ["colour"]


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/api/chat", {"model": ""}),
        ("/api/chat", {"model": None}),
        ("/api/chat", {"messages": "hi"}),
        ("/api/chat", {"messages": [{"role": "user", "content": ["x"]}]}),
        ("/api/chat", {"messages": [{"content": "x"}]}),
        ("/api/chat", {"messages": [{"role": "assistant", "tool_calls": [{"id": 1}]}]}),
        ("/api/chat", {"messages": [], "format": "xml"}),
        ("/api/chat", {"messages": [], "think": "a lot"}),
        ("/api/chat", {"messages": [], "options": [1]}),
        ("/api/chat", {"messages": [], "options": {"stop": 3}}),
        ("/api/generate", {"prompt": 5}),
        ("/api/generate", {"prompt": "x", "images": [1]}),
        ("/api/embed", {"input": [1, 2]}),
    ],
)
def test_what_is_no_request_is_refused(path: str, fields: dict[str, Any]) -> None:
    with pytest.raises(AppError) as caught:
        OllamaDialect().read(path, {"model": "m", **fields})
    assert caught.value.status == 400


FIELDS = (
    "model", "messages", "role", "content", "tool_calls", "function", "name", "arguments", "images", "thinking",
    "tools", "options", "stop", "num_predict", "format", "think", "prompt", "suffix", "system", "input", "raw",
    "context", "id",
)  # fmt: skip


@given(objects_with(FIELDS), st.sampled_from(OllamaDialect.paths))
def test_nothing_that_a_client_sends_breaks_the_reading(fields: dict[str, Any], path: str) -> None:
    try:
        asked = OllamaDialect().read(path, {"model": "m"} | fields)
        OllamaUpstream().ask(asked, BackendKind.OLLAMA, "m")
    except AppError as error:
        assert error.status == 400


words = st.text(max_size=20)
json_objects = st.dictionaries(words, st.integers() | words | st.booleans(), max_size=3)
calls = st.builds(
    lambda name, arguments, key: {"id": key, "function": {"name": name, "arguments": arguments}},
    st.text(min_size=1, max_size=9), json_objects, st.uuids().map(str),
)  # fmt: skip
messages = st.lists(
    st.builds(lambda role, text: {"role": role, "content": text}, st.sampled_from(["system", "user"]), words)
    | st.builds(lambda text: {"role": "user", "content": text, "images": [PNG]}, words)
    | st.builds(
        lambda text, thinking, made: {"role": "assistant", "content": text, "thinking": thinking, "tool_calls": made},
        words, st.text(min_size=1, max_size=9), st.lists(calls, min_size=1, max_size=3),
    ),
    max_size=5,
)  # fmt: skip
options = st.fixed_dictionaries(
    {},
    optional={
        "temperature": st.floats(0, 2), "top_p": st.floats(0, 1), "seed": st.integers(), "top_k": st.integers(),
        "min_p": st.floats(0, 1), "typical_p": st.floats(0, 1), "repeat_penalty": st.floats(0, 2),
        "repeat_last_n": st.integers(), "presence_penalty": st.floats(-2, 2), "frequency_penalty": st.floats(-2, 2),
        "mirostat": st.integers(0, 2), "mirostat_tau": st.floats(0, 9), "mirostat_eta": st.floats(0, 1),
        "num_ctx": st.integers(1), "num_keep": st.integers(0), "num_predict": st.integers(-2, 99),
        "num_gpu": st.integers(0), "penalize_newline": st.booleans(), "numa": st.booleans(),
        "stop": st.lists(words, min_size=1, max_size=3),
    },
)  # fmt: skip
root = st.fixed_dictionaries(
    {"stream": st.booleans()},
    optional={
        "options": options, "format": st.just("json") | json_objects.filter(bool), "keep_alive": words | st.integers(),
        "think": st.booleans() | st.sampled_from(["low", "medium", "high"]), "truncate": st.just(False),
        "logprobs": st.just(True), "shift": st.booleans(),
        "tools": st.lists(st.just({"type": "function", "function": {"name": "f"}}), min_size=1, max_size=2),
    },
)  # fmt: skip


@given(root, messages)
def test_a_chat_comes_back_as_it_was(fields: dict[str, Any], spoken: list[dict[str, Any]]) -> None:
    request = {"model": "m", "messages": spoken, **fields}
    path, returned, dropped = back(OllamaDialect().read("/api/chat", request))
    assert (path, dropped) == ("/api/chat", [])
    for message in returned["messages"]:
        for call in message.get("tool_calls", ()):
            del call["function"]["index"]
    assert _without_nothing(returned) == _without_nothing(request)


def _without_nothing(request: dict[str, Any]) -> dict[str, Any]:
    """A request without options says the same as one with none of them."""
    return {name: value for name, value in request.items() if name != "options" or value}


@given(
    root,
    st.fixed_dictionaries(
        {"prompt": words},
        optional={
            "system": st.text(min_size=1, max_size=9), "images": st.just([PNG]),
            "context": st.lists(st.integers(0), min_size=1, max_size=4), "template": st.text(min_size=1, max_size=9),
        },
    ),
)  # fmt: skip
def test_a_prompt_comes_back_as_it_was(fields: dict[str, Any], prompt: dict[str, Any]) -> None:
    request = {"model": "m", **{name: value for name, value in fields.items() if name != "tools"}, **prompt}
    if not (prompt["prompt"] or "images" in prompt):
        return
    path, returned, dropped = back(OllamaDialect().read("/api/generate", request))
    assert (path, dropped) == ("/api/generate", [])
    assert _without_nothing(returned) == _without_nothing(request)
