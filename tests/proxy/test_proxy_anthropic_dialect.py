"""Anthropic's messages into the hub's words and back: nothing is lost on the way, or it is named."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hub import ARGUMENTS, NAMES, USAGE, WORDS, Said, events, sayings
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.errors import AppError
from quarterdeck.proxy.dialects.anthropic import AnthropicDialect, anthropic_error, count_tokens
from quarterdeck.proxy.dialects.base import Asked, Fields

PATH = "/v1/messages"
DIALECT = AnthropicDialect()
TOOL = {"name": "f", "input_schema": {"type": "object"}}


def read(**fields: Any) -> Asked:
    return DIALECT.read(
        PATH, {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}], **fields}
    )


def gathered(told: list[Fields]) -> Fields:
    """The message that the events of a stream add up to; they must come in the order of the protocol."""
    assert told[0]["type"] == "message_start"
    assert [event["type"] for event in told[-2:]] == ["message_delta", "message_stop"]
    message, inputs = told[0]["message"], ""
    is_open = False
    for event in told[1:-2]:
        blocks = message["content"]
        match event["type"]:
            case "content_block_start":
                assert not is_open
                assert event["index"] == len(blocks)
                is_open, inputs = True, ""
                blocks.append(event["content_block"])
            case "content_block_delta":
                assert is_open
                assert event["index"] == len(blocks) - 1
                delta = event["delta"]
                if delta["type"] == "input_json_delta":
                    inputs += delta["partial_json"]
                else:
                    key = delta["type"].removesuffix("_delta")
                    blocks[-1][key] += delta[key]
            case "content_block_stop":
                assert is_open
                is_open = False
                if inputs:
                    blocks[-1]["input"] = json.loads(inputs)
            case other:
                pytest.fail(f"the event {other} has no place here")
    assert not is_open
    return {**message, **told[-2]["delta"], "usage": told[-2]["usage"]}


@given(sayings())
def test_an_answer_comes_back_in_the_next_request_as_it_was(said: Said) -> None:
    answer = DIALECT.answer(read(), said.whole())
    asked = read(messages=[{"role": "assistant", "content": answer["content"]}])
    assert asked.fields["messages"] == [said.message()]
    assert asked.dropped == []


@given(sayings(), st.integers(1, 9))
def test_a_stream_adds_up_to_the_whole_answer(said: Said, size: int) -> None:
    writer = DIALECT.writer(read(stream=True))
    told = b"".join([*map(writer.write, said.chunks(size)), writer.end()])
    whole = DIALECT.answer(read(), said.whole())
    streamed = gathered(events(told))
    assert {**streamed, "id": ""} == {**whole, "id": ""}
    assert (
        streamed["stop_reason"] == {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}[said.finish]
    )


BLOCKS = st.one_of(
    WORDS.map(lambda text: {"type": "text", "text": text}),
    WORDS.map(lambda data: {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}),
    WORDS.map(lambda url: {"type": "image", "source": {"type": "url", "url": url}}),
)


def as_block(part: Fields) -> Fields:
    """A part of the hub in Anthropic's words."""
    if part["type"] == "text":
        return part
    url = part["image_url"]["url"]
    if url.startswith("data:image/png;base64,"):
        data = url.removeprefix("data:image/png;base64,")
        return {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}
    return {"type": "image", "source": {"type": "url", "url": url}}


@given(st.lists(BLOCKS, min_size=1, max_size=4))
def test_what_a_person_shows_is_carried_whole(blocks: list[Fields]) -> None:
    content = read(messages=[{"role": "user", "content": blocks}]).fields["messages"][0]["content"]
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    assert [as_block(part) for part in parts] == blocks


@given(
    st.floats(0, 2), st.floats(0, 1), st.integers(1, 99), st.lists(WORDS, min_size=1, max_size=3), st.integers(1, 999)
)
def test_sampling_parameters_are_carried(
    temperature: float, top_p: float, top_k: int, stop: list[str], limit: int
) -> None:
    asked = read(temperature=temperature, top_p=top_p, top_k=top_k, stop_sequences=stop, max_tokens=limit)
    expected = {"temperature": temperature, "top_p": top_p, "top_k": top_k, "stop": stop, "max_tokens": limit}
    assert {key: asked.fields[key] for key in expected} == expected
    assert asked.dropped == []


@given(st.dictionaries(NAMES, st.tuples(WORDS, ARGUMENTS), min_size=1, max_size=3))
def test_tools_are_carried(tools: dict[str, tuple[str, Fields]]) -> None:
    given_tools = [
        {"name": name, "description": text, "input_schema": schema} for name, (text, schema) in tools.items()
    ]
    asked = read(tools=given_tools)
    assert asked.fields["tools"] == [
        {"type": "function", "function": {"name": name, "description": text, "parameters": schema}}
        for name, (text, schema) in tools.items()
    ]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"type": "auto"}, {"tool_choice": "auto"}),
        ({"type": "any"}, {"tool_choice": "required"}),
        ({"type": "none"}, {"tool_choice": "none"}),
        ({"type": "tool", "name": "f"}, {"tool_choice": {"type": "function", "function": {"name": "f"}}}),
        ({"type": "auto", "disable_parallel_tool_use": True}, {"tool_choice": "auto", "parallel_tool_calls": False}),
    ],
)
def test_the_choice_of_tools_is_carried(choice: Fields, expected: Fields) -> None:
    fields = read(tools=[TOOL], tool_choice=choice).fields
    assert {key: fields.get(key) for key in ("tool_choice", "parallel_tool_calls") if key in fields} == expected


@pytest.mark.parametrize(
    ("given_fields", "expected"),
    [
        ({"thinking": {"type": "enabled"}}, True),
        ({"thinking": {"type": "disabled"}}, False),
        ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "xhigh"}}, "high"),
        ({"thinking": {"type": "adaptive"}}, None),
        ({}, None),
    ],
)
def test_thinking_is_carried(given_fields: Fields, expected: Any) -> None:
    assert read(**given_fields).fields.get("think") == expected


def test_what_has_no_word_in_the_hub_is_named() -> None:
    asked = read(
        container="c", service_tier="auto", mcp_servers=[], metadata={"user_id": "u", "team": "t"}, seed=7,
        cache_control={"type": "ephemeral"}, output_config={"effort": "low"}, thinking=None,
        tools=[TOOL, {"type": "bash_20250124", "name": "bash"}],
        messages=[
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": [{"type": "redacted_thinking", "data": "x"}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "is_error": True}]},
        ],
    )  # fmt: skip
    assert asked.dropped == [
        "messages.redacted_thinking", "tool_result.is_error", "container", "service_tier", "mcp_servers",
        "metadata.team", "tools.bash_20250124", "output_config.effort",
    ]  # fmt: skip
    assert (asked.fields["user"], asked.fields["seed"]) == ("u", 7)
    assert asked.fields["messages"][-1] == {"role": "tool", "tool_call_id": "1", "content": ""}


def test_documents_and_search_results_are_shown_as_text_or_files() -> None:
    blocks = [
        {"type": "document", "title": "T", "source": {"type": "text", "media_type": "text/plain", "data": "D"}},
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "cGRm"}},
        {"type": "search_result", "title": "S", "source": "here", "content": [{"type": "text", "text": "found"}]},
    ]
    assert read(messages=[{"role": "user", "content": blocks}]).fields["messages"][0]["content"] == [
        {"type": "text", "text": "T"},
        {"type": "text", "text": "D"},
        {"type": "file", "file": {"filename": "file", "file_data": "data:application/pdf;base64,cGRm"}},
        {"type": "text", "text": "S (here)\nfound"},
    ]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": None}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "file", "file_id": "f"}}]}]},
         "messages[0].content[0].source"),
        ({"messages": [{"role": "user", "content": [{"type": "hologram"}]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "assistant", "content": [{"type": "tool_use", "name": "f"}]}]},
         "messages[0].content[0].id"),
        ({"stream": 1}, "stream"),
        ({"stop_sequences": "x"}, "stop_sequences"),
        ({"tools": [{"name": "f"}]}, "tools[0].input_schema"),
        ({"tools": [TOOL], "tool_choice": "auto"}, "tool_choice"),
        ({"tools": [{"type": "web_search_1", "name": "w"}], "tool_choice": {"type": "tool", "name": "w"}},
         "tool_choice"),
        ({"output_config": {"format": {"type": "xml"}}}, "output_config.format"),
        ({"system": 5}, "system"),
    ],
)  # fmt: skip
def test_a_wrong_shape_is_refused_with_the_name_of_the_field(fields: Fields, param: str) -> None:
    with pytest.raises(AppError) as refused:
        read(**fields)
    assert refused.value.status == 400
    assert refused.value.details["param"] == param


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["type", "role", "content", "text", "source", "name", "id", "input", "tool_use_id", "format",
                         "data", "url", "media_type", "schema", "effort", "input_schema"]), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip
KEYS = ["model", "messages", "stream", "tools", "tool_choice", "system", "thinking", "output_config", "metadata",
        "stop_sequences", "strange"]  # fmt: skip


@given(st.dictionaries(st.sampled_from(KEYS), JSON), st.lists(JSON, max_size=3))
def test_no_request_breaks_the_reading(fields: Fields, content: list[Any]) -> None:
    for request in (fields, {"model": "m", "messages": [{"role": "user", "content": content}]} | fields):
        try:
            asked = DIALECT.read(PATH, request)
        except AppError as error:
            assert error.status == 400
            json.dumps(DIALECT.error(error))
        else:
            json.dumps(asked.fields)


@given(JSON, JSON)
def test_no_answer_breaks_the_writing(inner: Any, usage: Any) -> None:
    """Engines say strange things at times; what cannot be read is passed over."""
    for choices in (inner, [{"delta": inner, "message": inner}], [{"delta": {"tool_calls": [{"function": inner}]}}]):
        strange = {"choices": choices, "usage": usage}
        assert DIALECT.answer(read(), strange)["type"] == "message"
        writer = DIALECT.writer(read(stream=True))
        gathered(events(writer.write(strange) + writer.end()))


def test_calls_that_share_an_index_are_told_apart() -> None:
    """Some engines number no calls, or give all of them the number 0."""
    writer = DIALECT.writer(read(stream=True))
    calls = [{"index": 0, "id": key, "function": {"name": key, "arguments": "{}"}} for key in ("one", "two")]
    told = b"".join(writer.write({"choices": [{"delta": {"tool_calls": [call]}}]}) for call in calls)
    assert [block["name"] for block in gathered(events(told + writer.end()))["content"]] == ["one", "two"]


def test_mixed_pieces_of_two_calls_are_an_error_and_not_a_wrong_call() -> None:
    writer = DIALECT.writer(read(stream=True))
    for index in (0, 1):
        call = {"index": index, "id": str(index), "function": {"name": "f", "arguments": "{"}}
        writer.write({"choices": [{"delta": {"tool_calls": [call]}}]})
    with pytest.raises(AppError) as raised:
        writer.write({"choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"arguments": "}"}}]}}]})
    assert raised.value.status == 502


def test_arguments_that_are_no_object_are_handed_over_as_text() -> None:
    content = DIALECT.answer(read(), Said(calls=[("1", "f", "not json")]).whole())["content"]
    assert content[0]["input"] == {"arguments": "not json"}


def test_the_stop_sequence_is_named_where_the_engine_names_it() -> None:
    answer = Said(text="a").whole()
    answer["choices"][0]["stop_reason"] = "END"
    told = DIALECT.answer(read(stop_sequences=["END"]), answer)
    assert (told["stop_reason"], told["stop_sequence"]) == ("stop_sequence", "END")
    assert DIALECT.answer(read(), answer)["stop_reason"] == "end_turn"


def test_usage_counts_what_was_cached_apart() -> None:
    usage = DIALECT.answer(read(), Said(text="a").whole())["usage"]
    assert usage["input_tokens"] + usage["cache_read_input_tokens"] == USAGE["prompt_tokens"]


@given(WORDS, WORDS)
def test_a_longer_request_never_counts_fewer_tokens(text: str, more: str) -> None:
    def tokens(content: str) -> int:
        counted = count_tokens({"model": "m", "messages": [{"role": "user", "content": content}]})["input_tokens"]
        assert counted > 0
        return int(counted)

    assert tokens(text) <= tokens(text + more)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, "invalid_request_error"), (409, "invalid_request_error"), (401, "authentication_error"),
     (404, "not_found_error"), (413, "request_too_large"), (429, "rate_limit_error"), (502, "api_error"),
     (503, "overloaded_error"), (504, "timeout_error")],
)  # fmt: skip
def test_errors_have_the_types_that_clients_know(status: int, kind: str) -> None:
    error = anthropic_error(AppError("x", "No.", status=status, details={"type": "other"}))
    assert error["error"]["type"] == kind
