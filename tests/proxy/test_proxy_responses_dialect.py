"""OpenAI's responses into the hub's words and back: nothing is lost on the way, or it is named."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hub import NAMES, WORDS, Said, events, sayings
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.errors import AppError
from quarterdeck.proxy.dialects.base import Asked, Fields
from quarterdeck.proxy.dialects.responses import ResponsesDialect

PATH = "/v1/responses"
DIALECT = ResponsesDialect()
TOOL = {"type": "function", "name": "f", "parameters": {"type": "object"}}
FUNCTION = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


def read(**fields: Any) -> Asked:
    return DIALECT.read(PATH, {"model": "m", "input": "hi", **fields})


def without_ids(response: Fields) -> Fields:
    bare = {**response, "id": "", "created_at": 0, "completed_at": bool(response["completed_at"])}
    return {**bare, "output": [{**item, "id": "", "status": ""} for item in response["output"]]}


@given(sayings(), st.sampled_from([None, "auto"]))
def test_an_answer_comes_back_in_the_next_request_as_it_was(said: Said, summary: str | None) -> None:
    answer = DIALECT.answer(read(reasoning={"summary": summary}), said.whole())
    asked = read(input=[{"role": "user", "content": "hi"}, *answer["output"]])
    nothing = not (said.reasoning or said.text or said.calls)
    assert asked.fields["messages"][1:] == ([] if nothing else [said.message()])
    assert asked.dropped == []


@given(sayings(), st.integers(1, 9), st.sampled_from([None, "auto"]))
def test_a_stream_adds_up_to_the_whole_answer(said: Said, size: int, summary: str | None) -> None:
    wish = {"reasoning": {"summary": summary}}
    writer = DIALECT.writer(read(stream=True, **wish))
    told = events(b"".join([*map(writer.write, said.chunks(size)), writer.end()]))
    whole = DIALECT.answer(read(stream=True, **wish), said.whole())
    assert without_ids(told[-1]["response"]) == without_ids(whole)
    assert told[-1]["type"] == f"response.{whole['status']}"
    assert [event["sequence_number"] for event in told] == list(range(len(told)))
    assert len({event["response"]["id"] for event in told if "response" in event}) == 1


@given(sayings(), st.integers(1, 9))
def test_the_pieces_of_each_item_add_up_to_it(said: Said, size: int) -> None:
    writer = DIALECT.writer(read(stream=True))
    told = events(b"".join([*map(writer.write, said.chunks(size)), writer.end()]))
    grown: dict[int, str] = {}
    for event in told:
        kind = event["type"]
        if kind == "response.output_item.added":
            assert event["output_index"] == len(grown)
            grown[event["output_index"]] = ""
        elif kind.endswith(".delta"):
            grown[event["output_index"]] += event["delta"]
        elif kind == "response.output_item.done":
            item = event["item"]
            text = item["arguments"] if item["type"] == "function_call" else item["content"][0]["text"]
            assert grown[event["output_index"]] == text
    assert len(grown) == len(told[-1]["response"]["output"])


PARTS = st.one_of(
    WORDS.map(lambda text: {"type": "input_text", "text": text}),
    WORDS.map(lambda url: {"type": "input_image", "image_url": url}),
    WORDS.map(lambda data: {"type": "input_file", "filename": "a.pdf", "file_data": data}),
)


def as_input(part: Fields) -> Fields:
    """A part of the hub in the words of responses."""
    match part["type"]:
        case "text":
            return {"type": "input_text", "text": part["text"]}
        case "image_url":
            return {"type": "input_image", "image_url": part["image_url"]["url"]}
        case _:
            return {"type": "input_file", **part["file"]}


@given(st.sampled_from(["user", "system", "developer"]), st.lists(PARTS, min_size=1, max_size=4))
def test_what_a_person_shows_is_carried_whole(role: str, parts: list[Fields]) -> None:
    message = read(input=[{"type": "message", "role": role, "content": parts}]).fields["messages"][0]
    content = message["content"]
    shown = [{"type": "text", "text": content}] if isinstance(content, str) else content
    assert [as_input(part) for part in shown] == parts
    assert message["role"] == ("user" if role == "user" else "system")


@given(st.lists(st.tuples(st.sampled_from(["user", "assistant"]), WORDS), max_size=5))
def test_every_message_stays_one(turns: list[tuple[str, str]]) -> None:
    messages = [{"role": role, "content": text} for role, text in turns]
    assert read(input=messages).fields["messages"] == messages


@given(st.floats(0, 2), st.floats(0, 1), st.integers(1, 999), st.booleans(), WORDS)
def test_parameters_are_carried(temperature: float, top_p: float, limit: int, parallel: bool, user: str) -> None:
    asked = read(
        temperature=temperature, top_p=top_p, max_output_tokens=limit, parallel_tool_calls=parallel, user=user,
        top_k=5, store=False, metadata={"a": "b"}, truncation="disabled", top_logprobs=2,
    )  # fmt: skip
    expected = {
        "temperature": temperature, "top_p": top_p, "max_tokens": limit, "parallel_tool_calls": parallel, "user": user,
        "top_k": 5, "logprobs": True, "top_logprobs": 2,
    }  # fmt: skip
    assert {key: asked.fields[key] for key in expected} == expected
    assert asked.dropped == []
    answer = DIALECT.answer(asked, Said(text="a").whole())
    assert (answer["temperature"], answer["metadata"], answer["store"]) == (temperature, {"a": "b"}, False)


@given(st.dictionaries(NAMES, WORDS, min_size=1, max_size=3))
def test_tools_are_carried(tools: dict[str, str]) -> None:
    asked = read(tools=[{**TOOL, "name": name, "description": text, "strict": True} for name, text in tools.items()])
    assert [
        {"type": "function", **tool["function"]} for tool in asked.fields["tools"]
    ] == [{**TOOL, "name": name, "description": text, "strict": True} for name, text in tools.items()]  # fmt: skip


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", "auto"),
        ("required", "required"),
        ({"type": "function", "name": "f"}, {"type": "function", "function": {"name": "f"}}),
        ({"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "f"}]}, "required"),
    ],
)
def test_the_choice_of_tools_is_carried(choice: Any, expected: Any) -> None:
    asked = read(tools=[TOOL, {**TOOL, "name": "g"}], tool_choice=choice)
    assert asked.fields["tool_choice"] == expected
    allowed = [FUNCTION] if isinstance(choice, dict) and "tools" in choice else asked.fields["tools"]
    assert asked.fields["tools"] == allowed


@pytest.mark.parametrize(
    ("effort", "think"), [("none", False), ("minimal", "low"), ("medium", "medium"), ("max", "high")]
)
def test_the_effort_of_reasoning_is_carried(effort: str, think: Any) -> None:
    assert read(reasoning={"effort": effort}).fields["think"] == think


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ({"type": "text"}, None),
        ({"type": "json_object"}, {"type": "json_object"}),
        ({"type": "json_schema", "name": "n", "schema": {}, "strict": True},
         {"type": "json_schema", "json_schema": {"name": "n", "schema": {}, "strict": True}}),
    ],
)  # fmt: skip
def test_the_format_of_the_text_is_carried(form: Fields, expected: Any) -> None:
    assert read(text={"format": form}).fields.get("response_format") == expected


def test_what_has_no_word_in_the_hub_is_named() -> None:
    asked = read(
        input=[{"type": "web_search_call", "id": "w"}, {"type": "reasoning", "summary": [], "encrypted_content": "x"},
               {"role": "user", "content": "hi"}],
        store=True, truncation="auto", include=["reasoning.encrypted_content"], text={"verbosity": "low"},
        reasoning={"mode": "pro"}, max_tool_calls=3, tools=[{"type": "mcp"}, {"type": "custom", "name": "c"}],
    )  # fmt: skip
    assert asked.dropped == [
        "input.web_search_call", "input.reasoning.encrypted_content", "store", "truncation", "max_tool_calls",
        "text.verbosity", "reasoning.mode", "include.reasoning.encrypted_content", "tools.mcp", "tools.custom",
    ]  # fmt: skip
    assert asked.fields == {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": None}, "input"),
        ({"input": [5]}, "input[0]"),
        ({"input": [{"role": "robot", "content": "x"}]}, "input[0].role"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0]"),
        ({"input": [{"type": "function_call", "name": "f"}]}, "input[0].call_id"),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]}, "input[0].content[0]"),
        ({"stream": "yes"}, "stream"),
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tools": [{"type": "web_search"}], "tool_choice": "required"}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": {"type": "web_search"}}, "tool_choice"),
        ({"reasoning": {"effort": "huge"}}, "reasoning.effort"),
        ({"text": {"format": {"type": "xml"}}}, "text.format"),
        ({"include": "x"}, "include"),
    ],
)
def test_a_wrong_shape_is_refused_with_the_name_of_the_field(fields: Fields, param: str) -> None:
    with pytest.raises(AppError) as refused:
        read(**fields)
    assert refused.value.status == 400
    assert refused.value.details["param"] == param


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["type", "role", "content", "text", "name", "id", "call_id", "arguments", "output", "format",
                         "summary", "schema", "effort", "parameters", "mode", "tools"]), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip
KEYS = ["model", "input", "stream", "tools", "tool_choice", "instructions", "reasoning", "text", "include", "store",
        "background", "metadata", "top_logprobs", "strange"]  # fmt: skip


@given(st.dictionaries(st.sampled_from(KEYS), JSON), st.lists(JSON, max_size=3))
def test_no_request_breaks_the_reading(fields: Fields, content: list[Any]) -> None:
    for request in (fields, {"model": "m", "input": [{"role": "user", "content": content}]} | fields):
        try:
            asked = DIALECT.read(PATH, request)
        except AppError as error:
            assert error.status == 400
            json.dumps(DIALECT.error(error))
        else:
            json.dumps([asked.fields, DIALECT.answer(asked, Said(text="a").whole())])


@given(JSON, JSON)
def test_no_answer_breaks_the_writing(inner: Any, usage: Any) -> None:
    """Engines say strange things at times; what cannot be read is passed over."""
    for choices in (inner, [{"delta": inner, "message": inner}], [{"delta": {"tool_calls": [{"function": inner}]}}]):
        strange = {"choices": choices, "usage": usage}
        assert DIALECT.answer(read(), strange)["object"] == "response"
        writer = DIALECT.writer(read(stream=True))
        assert events(writer.write(strange) + writer.end())[-1]["type"] in ("response.completed", "response.incomplete")


def test_thoughts_are_taken_once_where_they_stand_twice() -> None:
    item = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "short"}],
            "content": [{"type": "reasoning_text", "text": "long"}]}  # fmt: skip
    assert read(input=[item]).fields["messages"][0]["reasoning_content"] == "long"


def test_a_refusal_is_a_part_of_its_own() -> None:
    chunk = {"choices": [{"delta": {"refusal": "I cannot."}, "finish_reason": "stop"}]}
    writer = DIALECT.writer(read(stream=True))
    told = events(writer.write(chunk) + writer.end())
    assert "response.refusal.delta" in [event["type"] for event in told]
    assert told[-1]["response"]["output"][0]["content"] == [{"type": "refusal", "refusal": "I cannot."}]


def test_probabilities_of_tokens_stand_with_the_text() -> None:
    logprobs = [{"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []}]
    chunk = {"choices": [{"delta": {"content": "a"}, "logprobs": {"content": logprobs}}]}
    writer = DIALECT.writer(read(stream=True, include=["message.output_text.logprobs"]))
    told = events(writer.write(chunk) + writer.end())
    assert [event["logprobs"] for event in told if event["type"] == "response.output_text.delta"] == [logprobs]
    assert told[-1]["response"]["output"][0]["content"][0]["logprobs"] == logprobs
