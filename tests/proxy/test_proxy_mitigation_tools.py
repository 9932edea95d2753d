"""Tools for models that have none, and calls of tools in answers that are not as they should be."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from gguf_writer import gguf_bytes
from hypothesis import given
from hypothesis import strategies as st
from mitigating import chat, mended, mended_now, model, said

from quarterdeck.errors import AppError
from quarterdeck.proxy.dialects.base import Fields
from quarterdeck.proxy.mitigations import learn
from quarterdeck.proxy.mitigations.found_calls import calls_in, may_become_a_call
from quarterdeck.proxy.mitigations.repair import AnswerRepair, ChunkRepair

_TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
_CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
_NO_TOOLS = model("gemma2:2b", "ollama", capabilities=["chat"])
_OFFERED = frozenset({"look", "find"})


def answer(message: Fields, ended: str | None = "stop") -> Fields:
    return {"id": "x", "choices": [{"index": 0, "message": {"role": "assistant", **message}, "finish_reason": ended}]}


def chunk(delta: Fields, ended: str | None = None) -> Fields:
    return {"id": "x", "choices": [{"index": 0, "delta": delta, "finish_reason": ended}]}


# -- tools in requests


async def test_tools_are_left_out_where_the_model_has_none() -> None:
    asked = chat(("user", "Hi"), tools=[_TOOL], tool_choice="auto", parallel_tool_calls=True)
    before = copy.deepcopy(asked)
    result = await mended(asked, _NO_TOOLS)
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & result.asked.fields.keys()
    assert result.asked.dropped == ["tools", "tool_choice", "parallel_tool_calls"]
    assert result.applied == ["strip-tools"]
    assert result.repair is None
    assert "gemma2:2b" in result.warnings[0]
    assert asked == before


async def test_tools_are_left_out_where_llama_cpp_would_lose_them(tmp_path: Path) -> None:
    says = "{% for message in messages %}{{ message.content }}{% endfor %}"
    asked = chat(("user", "Hi"), tools=[_TOOL])
    files = {"none": {}, "same": {"tokenizer.chat_template": f"{says}{{{{ tools }}}}"},
             "own": {"tokenizer.chat_template.tool_use": f"{says}{{{{ tools }}}}"}}  # fmt: skip
    for name, facts in files.items():
        file = tmp_path / f"{name}.gguf"
        file.write_bytes(gguf_bytes({"tokenizer.chat_template": says, **facts}))
        result = await mended(asked, model(name, "embedded", path=str(file)))
        assert result.applied == (["strip-tools"] if name == "none" else [])
        kept = await mended(asked, model(name, "embedded", path=str(file), policy={"tools": "keep"}))
        assert kept.asked is asked
    insisting = chat(("user", "Hi"), tools=[_TOOL], tool_choice="required")
    with pytest.raises(AppError, match="cannot use tools"):
        await mended(insisting, model("none", "embedded", path=str(tmp_path / "none.gguf")))
    # vLLM has options for tools, and holds the model to them without its template.
    (tmp_path / "chat_template.jinja").write_text(says)
    config = json.dumps({"tool_call_parser": "hermes"})
    assert (await mended(asked, model("x", "vllm", path=str(tmp_path), load_config=config))).asked is asked


async def test_earlier_calls_are_told_in_words_when_tools_are_left_out() -> None:
    call = {"role": "assistant", "content": None, "tool_calls": [_CALL]}
    result = await mended(
        chat(("user", "Hi"), call, {"role": "tool", "tool_call_id": "c1", "content": "clouds"}, tools=[_TOOL]),
        _NO_TOOLS,
    )
    assert said(result) == [
        ("user", "Hi"), ("assistant", "Call of look: {}"), ("user", "Result of look:\nclouds"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("choice", "policy"),
    [("required", {}), ({"type": "function", "function": {"name": "look"}}, {}), ("auto", {"tools": "refuse"})],
)
async def test_a_request_that_insists_is_refused(choice: Any, policy: Fields) -> None:
    view = model("gemma2:2b", "ollama", capabilities=["chat"], policy=policy)
    with pytest.raises(AppError) as caught:
        await mended(chat(("user", "Hi"), tools=[_TOOL], tool_choice=choice), view)
    assert (caught.value.code, caught.value.status) == ("capability_mismatch", 409)


async def test_tools_stay_where_the_model_has_them_or_nobody_knows() -> None:
    asked = chat(("user", "Hi"), tools=[_TOOL])
    for view in (
        model("llama3.2", "ollama", capabilities=["chat", "tools"]),
        model("remote", "openai-compatible"),
        model("gemma2:2b", "ollama", capabilities=["chat"], policy={"tools": "keep"}),
    ):
        result = await mended(asked, view)
        assert result.asked is asked
        assert result.repair is not None


async def test_a_vllm_without_its_options_is_remembered_but_not_asked_twice() -> None:
    view = model("attached", "vllm", url="http://127.0.0.1:9")
    asked = chat(("user", "Hi"), tools=[_TOOL])
    assert not (await mended(asked, view)).changed
    refused = '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'
    assert not learn(view, refused)
    assert (await mended(asked, view)).applied == ["strip-tools"]


async def test_an_ollama_that_refuses_tools_may_be_asked_again_without() -> None:
    view = model("new", "ollama")
    assert learn(view, "registry.ollama.ai/library/new:latest does not support tools")
    assert (await mended(chat(("user", "Hi"), tools=[_TOOL]), view)).applied == ["strip-tools"]


async def test_answers_are_left_alone_without_tools_or_where_that_is_switched_off() -> None:
    assert (await mended(chat(("user", "Hi"), stream=True), model())).repair_chunk is None
    tooled = chat(("user", "Hi"), tools=[_TOOL], stream=True)
    assert (await mended(tooled, model("x", "litellm"))).repair_chunk is not None
    assert (await mended(tooled, model("x", "litellm"), normalise_tools=False)).repair_chunk is None
    assert (await mended(tooled, model("x", "litellm", policy={"normalise_tools": False}))).repair is None
    assert (await mended(chat(("user", "Hi"), tools=[_TOOL], tool_choice="none"), model("x", "litellm"))).repair is None


async def test_a_repair_is_named_when_it_happens() -> None:
    result = await mended(chat(("user", "Hi"), tools=[_TOOL], stream=True), model("x", "litellm"))
    assert result.repair is not None
    assert result.repair_chunk is not None
    result.repair(answer({"content": "Hello"}))
    result.repair_chunk(chunk({"content": '{"name": "Ada"'}))
    result.repair_chunk(chunk({}, "stop"))
    assert result.applied == []
    result.repair_chunk(chunk({"tool_calls": [{"function": {"name": "look"}}]}))
    assert result.applied == ["repair-tools"]


# -- whole answers


def test_a_good_answer_is_the_very_same() -> None:
    repair = AnswerRepair(_OFFERED)
    for good in (
        answer({"content": "Hello"}), answer({"content": None, "tool_calls": [_CALL]}, "tool_calls"),
        answer({"content": '{"name": "Ada", "age": 36}'}), {"error": {"message": "no"}}, {"choices": []},
    ):  # fmt: skip
        assert repair(good) is good


def test_calls_get_what_they_lack() -> None:
    repaired = AnswerRepair(_OFFERED)(
        answer({"content": "", "tool_calls": [{"function": {"name": "look", "arguments": {"at": "sky"}}}]})
    )
    choice = repaired["choices"][0]
    call = choice["message"]["tool_calls"][0]
    assert call["id"].startswith("call_")
    assert call["type"] == "function"
    assert json.loads(call["function"]["arguments"]) == {"at": "sky"}
    assert choice["finish_reason"] == "tool_calls"


def test_the_older_form_becomes_the_newer() -> None:
    repaired = AnswerRepair(_OFFERED)(
        answer({"content": None, "function_call": {"name": "look", "arguments": "{'at': True}"}}, "function_call")
    )
    message = repaired["choices"][0]["message"]
    assert "function_call" not in message
    assert message["tool_calls"][0]["function"] == {"name": "look", "arguments": '{"at": true}'}
    assert repaired["choices"][0]["finish_reason"] == "tool_calls"


def test_a_named_call_ends_as_it_does_at_openai_and_a_cut_one_stays_cut() -> None:
    named = answer({"content": "", "tool_calls": [_CALL]})
    assert AnswerRepair(_OFFERED, named=True)(named) is named
    cut = answer({"content": "", "tool_calls": [_CALL]}, "length")
    assert AnswerRepair(_OFFERED)(cut) is cut


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "look", "arguments": {"at": "sky"}}',
        '\n{"name": "look", "parameters": {"at": "sky"}}\n',
        '[{"name": "look", "arguments": {"at": "sky"}}]',
        '{"type": "function", "function": {"name": "look", "arguments": "{\\"at\\": \\"sky\\"}"}}',
        '{"tool_calls": [{"name": "look", "arguments": {"at": "sky"}}]}',
        '```json\n{"name": "look", "arguments": {"at": "sky"}}\n```',
        '<tool_call>\n{"name": "look", "arguments": {"at": "sky"}}\n</tool_call>',
        '<function=look>{"at": "sky"}</function>',
        '<name>look</name>\n<arguments>{"at": "sky"}</arguments>',
        '[TOOL_CALLS] [{"name": "look", "arguments": {"at": "sky"}}]',
        '<|python_tag|>{"name": "look", "parameters": {"at": "sky"}}',
    ],
)
def test_a_text_that_is_exactly_a_call_is_one(text: str) -> None:
    repaired = AnswerRepair(_OFFERED)(answer({"content": text}))
    message = repaired["choices"][0]["message"]
    function = message["tool_calls"][0]["function"]
    assert (function["name"], json.loads(function["arguments"])) == ("look", {"at": "sky"})
    assert message["content"] is None
    assert repaired["choices"][0]["finish_reason"] == "tool_calls"
    assert calls_in(text, frozenset()) is None, "nothing was offered"


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "Ada", "arguments": {}}',
        '{"name": "look"}',
        '{"name": "look", "arguments": {}, "age": 3}',
        '{"name": "look", "arguments": "sky"}',
        'I call {"name": "look", "arguments": {}}',
        '{"name": "look", "arguments": {}} now',
        '<tool_call>{"name": "look", "arguments": {}}</tool_call> and so on',
        '<tool_call>{"name": "look"}</tool_call>',
        "<function=look>sky</function>",
        "[]", "{}", "", "null", "[[[[",
        '{"name": "look", "name": 3, "arguments": {}}',
    ],
)  # fmt: skip
def test_any_other_text_stays_text(text: str) -> None:
    plain = answer({"content": text})
    assert AnswerRepair(_OFFERED)(plain) is plain


_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_FUNCTIONS = st.fixed_dictionaries({"name": st.sampled_from(["look", "find"]) | st.none(), "arguments": _ANYTHING})
_CALLS = st.fixed_dictionaries(
    {}, optional={"id": st.text(max_size=3) | st.none(), "type": st.just("function"),
                  "function": _FUNCTIONS | _ANYTHING, "index": st.integers(0, 3) | st.none()},
)  # fmt: skip
_SAID = st.fixed_dictionaries(
    {}, optional={"content": st.text(max_size=20) | st.none() | st.just('{"name":"look","arguments":{}}'),
                  "tool_calls": st.lists(_CALLS | _ANYTHING, max_size=3) | st.none(),
                  "function_call": _FUNCTIONS | st.none()},
)  # fmt: skip
_ENDS = st.sampled_from([None, "stop", "length", "tool_calls", "function_call"])


@given(_SAID, _ENDS)
def test_repairing_twice_is_repairing_once(message: Fields, ended: str | None) -> None:
    repair = AnswerRepair(_OFFERED)
    given_one = answer(message, ended)
    before = copy.deepcopy(given_one)
    repaired = repair(given_one)
    assert given_one == before
    assert repair(repaired) == repaired
    for call in repaired["choices"][0]["message"].get("tool_calls") or ():
        if isinstance(call, dict):
            assert isinstance(call["id"], str)
            assert call["id"]
            assert isinstance(call["function"]["arguments"], str)


# -- streams


def deltas(chunks: list[Fields], repair: ChunkRepair) -> list[Fields]:
    return [repair(each)["choices"][0] for each in chunks]


def test_a_good_stream_is_the_very_same() -> None:
    repair = ChunkRepair(_OFFERED)
    stream = [
        chunk({"role": "assistant", "content": ""}),
        chunk({"content": "Let me look."}),
        chunk({"tool_calls": [{**_CALL, "index": 0, "function": {"name": "look", "arguments": ""}}]}),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"at":'}}]}),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": '"sky"}'}}]}),
        chunk({}, "tool_calls"),
        {"id": "x", "choices": [], "usage": {"total_tokens": 3}},
    ]
    for each in stream:
        assert repair(each) is each


def test_whole_calls_without_index_are_told_apart() -> None:
    one = {"id": "a", "function": {"name": "look", "arguments": {"at": "sky"}}}
    two = {"id": "b", "index": 0, "function": {"name": "find", "arguments": {"what": "sun"}}}
    three = {"function": {"name": "look", "arguments": {}}}
    choices = deltas(
        [chunk({"tool_calls": [one]}), chunk({"tool_calls": [two]}), chunk({"tool_calls": [three]}), chunk({}, "stop")],
        ChunkRepair(_OFFERED),
    )
    calls = [each["delta"]["tool_calls"][0] for each in choices[:3]]
    assert [call["index"] for call in calls] == [0, 1, 2]
    assert [call["type"] for call in calls] == ["function"] * 3
    assert len({call["id"] for call in calls}) == 3
    assert [json.loads(call["function"]["arguments"]) for call in calls] == [{"at": "sky"}, {"what": "sun"}, {}]
    assert choices[-1]["finish_reason"] == "tool_calls"


def test_pieces_without_index_belong_to_the_call_before() -> None:
    choices = deltas(
        [
            chunk({"tool_calls": [{"function": {"name": "look", "arguments": ""}}]}),
            chunk({"tool_calls": [{"function": {"arguments": '{"at"'}}]}),
            chunk({"tool_calls": [{"function": {"arguments": ": 1}"}}]}, "tool_calls"),
        ],
        ChunkRepair(_OFFERED),
    )
    pieces = [each["delta"]["tool_calls"][0] for each in choices]
    assert [piece["index"] for piece in pieces] == [0, 0, 0]
    assert "".join(piece["function"]["arguments"] for piece in pieces) == '{"at": 1}'


def test_the_older_form_streams_as_the_newer() -> None:
    choices = deltas(
        [
            chunk({"function_call": {"name": "look", "arguments": ""}}),
            chunk({"function_call": {"arguments": "{}"}}),
            chunk({}, "function_call"),
        ],
        ChunkRepair(_OFFERED),
    )
    assert choices[0]["delta"]["tool_calls"][0]["function"]["name"] == "look"
    assert choices[1]["delta"]["tool_calls"][0] == {"index": 0, "function": {"arguments": "{}"}}
    assert choices[2]["finish_reason"] == "tool_calls"


_TEXTS = st.sampled_from([
    '{"name": "look", "arguments": {"at": "sky"}}', "Hello there", '{"name": "Ada"}', "```json\n{}\n```",
    '<tool_call>{"name": "find", "arguments": {}}</tool_call>', "{", "<b>bold</b>", "  ", '[{"a": 1}]',
])  # fmt: skip


@given(_TEXTS | st.text(max_size=30), st.data())
def test_a_streamed_text_comes_whole_or_as_the_calls_that_it_is(text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=4)))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    stream = [chunk({"role": "assistant", "content": ""}), *(chunk({"content": each}) for each in pieces)]
    choices = deltas([*stream, chunk({}, "stop")], ChunkRepair(_OFFERED))
    written = "".join(each["delta"].get("content") or "" for each in choices)
    calls = [call for each in choices for call in each["delta"].get("tool_calls") or ()]
    expected = calls_in(text, _OFFERED)
    if expected is None:
        assert (written, calls) == (text, [])
        assert choices[-1]["finish_reason"] == "stop"
    else:
        assert (written, [call["function"] for call in calls]) == ("", expected)
        assert choices[-1]["finish_reason"] == "tool_calls"


@given(st.lists(_SAID, max_size=4), _ENDS)
def test_repairing_a_stream_twice_is_repairing_it_once(said_deltas: list[Fields], ended: str | None) -> None:
    first, second = ChunkRepair(_OFFERED), ChunkRepair(_OFFERED)
    stream = [chunk(each) for each in said_deltas] + [chunk({}, ended)]
    once = [first(each) for each in stream]
    assert [second(each) for each in once] == once
    indexes = [
        call["index"]
        for each in once
        for call in each["choices"][0]["delta"].get("tool_calls") or ()
        if isinstance(call, dict)
    ]
    assert all(isinstance(index, int) for index in indexes)


@given(st.text(max_size=40))
def test_what_is_a_call_could_have_become_one_at_every_beginning(text: str) -> None:
    whole = '{"name": "look", "arguments": ' + json.dumps({"at": text}) + "}"
    assert calls_in(whole, _OFFERED)
    fenced = f"```json\n{whole}\n```"
    for each in (whole, fenced):
        assert all(may_become_a_call(each[:end]) for end in range(len(each) + 1))


def test_an_ordinary_answer_is_not_held_back() -> None:
    for text in ("Hello", "{'a'", '{"answer"', "[1", "<p>", "`x`", "# Title", "```python", "```\nls"):
        assert not may_become_a_call(text), text


@given(st.lists(st.sampled_from(["look", "find"]), max_size=3))
def test_the_offer_of_a_request_reaches_the_repair(names: list[str]) -> None:
    tools = [{"type": "function", "function": {"name": name}} for name in names]
    result = mended_now(chat(("user", "Hi"), tools=tools), model("x", "litellm"))
    assert (result.repair is not None) == bool(names)
