"""The system role folded and roles repaired, for templates that refuse a conversation otherwise."""

from __future__ import annotations

import copy
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mitigating import GEMMA_2, chat, mended, model, picture, said
from real_engines import VLLM, needs

from quarterdeck.proxy.mitigations import learn
from quarterdeck.proxy.mitigations.contents import parts_of
from quarterdeck.proxy.mitigations.roles import alternate, fold_system
from quarterdeck.proxy.mitigations.traits import by_name, by_template

_ROLES = st.sampled_from(["system", "user", "assistant", "tool"])
_CONTENTS = st.one_of(
    st.text(min_size=1, max_size=8),
    st.lists(st.builds(lambda text: {"type": "text", "text": text}, st.text(min_size=1, max_size=8)), max_size=3),
    st.none(),
)
_MESSAGES = st.lists(st.builds(lambda role, content: {"role": role, "content": content}, _ROLES, _CONTENTS), max_size=9)
_CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": "sky"}'}}


def texts(messages: list[dict[str, Any]]) -> str:
    """Everything that is said, in order, without what was put between."""
    words = "".join(part.get("text", "") for message in messages for part in parts_of(message))
    return words.replace("\n", "").replace("Result of the tool:", "")


def takes_turns(messages: list[dict[str, Any]]) -> bool:
    """What Gemma's template asks for."""
    return all((message["role"] == "user") == (index % 2 == 0) for index, message in enumerate(messages))


@given(_MESSAGES, st.booleans())
def test_folding_keeps_every_text_and_the_order(messages: list[dict[str, Any]], keep_first: bool) -> None:
    before = copy.deepcopy(messages)
    folded = fold_system(messages, keep_first=keep_first)
    assert texts(folded) == texts(messages)
    assert all(each["role"] != "system" for each in folded[1 if keep_first else 0 :])
    assert messages == before
    assert fold_system(folded, keep_first=keep_first) == folded


@given(_MESSAGES)
def test_a_repaired_conversation_takes_turns_and_keeps_every_text(messages: list[dict[str, Any]]) -> None:
    repaired = alternate(fold_system(messages))
    assert takes_turns(repaired)
    assert texts(repaired) == texts(messages)
    assert alternate(repaired) == repaired


@given(_MESSAGES)
def test_a_system_message_may_stand_in_front_of_the_turns(messages: list[dict[str, Any]]) -> None:
    repaired = alternate(messages)
    rest = repaired[1:] if repaired and repaired[0]["role"] == "system" else repaired
    assert takes_turns(rest)
    assert texts(repaired) == texts(messages)


@given(_MESSAGES)
def test_tool_messages_stay_between_turns_where_the_template_knows_them(messages: list[dict[str, Any]]) -> None:
    repaired = alternate(fold_system(messages), tools=True)
    assert takes_turns([each for each in repaired if each["role"] in ("user", "assistant")])
    kept = [each for each in repaired if each["role"] == "tool"]
    assert kept == [each for each in messages if each["role"] == "tool"]


def test_calls_and_results_are_told_in_words() -> None:
    repaired = alternate([
        {"role": "user", "content": "What is up?"},
        {"role": "assistant", "content": None, "tool_calls": [_CALL]},
        {"role": "tool", "tool_call_id": "c1", "content": "clouds"},
    ])  # fmt: skip
    assert [each["role"] for each in repaired] == ["user", "assistant", "user"]
    assert repaired[1]["content"] == 'Call of look: {"at": "sky"}'
    assert repaired[2]["content"] == "Result of look:\nclouds"
    assert "tool_calls" not in repaired[1]


async def test_gemma_2_gets_system_prompts_from_open_webui() -> None:
    asked = chat(("system", "Answer from the sources."), ("user", "Why?"), ("assistant", "So."), ("user", "And?"))
    before = copy.deepcopy(asked)
    result = await mended(asked, model("google/gemma-2-9b-it", url="http://127.0.0.1:9"))
    assert said(result) == [("user", "Answer from the sources.\n\nWhy?"), ("assistant", "So."), ("user", "And?")]
    assert result.applied == ["fold-system"]
    assert result.changed
    assert asked == before


@pytest.mark.parametrize(
    ("fields", "fold", "turns"),
    [
        ({"name": "google/gemma-2-2b-it"}, True, True),
        ({"name": "Gemma2 Mine", "architecture": "gemma2"}, True, True),
        ({"name": "x", "hf_path": "google/gemma-7b-it"}, True, True),
        ({"name": "google/gemma-3-4b-it"}, False, True),
        ({"name": "mistralai/Mistral-7B-Instruct-v0.2"}, True, True),
        ({"name": "Qwen/Qwen3-4B"}, False, False),
        ({"name": "gemma2:2b", "backend": "ollama"}, False, False),
        ({"name": "google/gemma-3-27b"}, False, True),
    ],
)
def test_well_known_families_are_known_by_name(fields: dict[str, Any], fold: bool, turns: bool) -> None:
    traits = by_name(model(**fields))
    assert (traits.no_system, traits.turns) == (fold, turns)


def test_a_template_says_itself_what_it_refuses() -> None:
    assert by_template(GEMMA_2).no_system
    assert by_template(GEMMA_2).turns
    first = by_template("{{ raise_exception('System message must be at the beginning.') }}")
    assert (first.no_system, first.system_first, first.turns) == (False, True, False)
    plain = by_template("{% for message in messages %}{{ message.role }}{% endfor %}")
    assert not plain.no_system
    assert not plain.turns


@pytest.mark.parametrize("file", ["chat_template.jinja", "tokenizer_config.json", "chat_template.json"])
async def test_the_template_of_a_folder_is_read(tmp_path: Path, file: str) -> None:
    text = GEMMA_2 if file.endswith("jinja") else json.dumps({"chat_template": GEMMA_2})
    (tmp_path / file).write_text(text)
    result = await mended(chat(("system", "S"), ("user", "U")), model("of-mine", path=str(tmp_path)))
    assert said(result) == [("user", "S\n\nU")]


async def test_the_template_of_the_load_config_counts(tmp_path: Path) -> None:
    (tmp_path / "own.jinja").write_text(GEMMA_2)
    config = json.dumps({"chat_template": str(tmp_path / "own.jinja")})
    result = await mended(chat(("system", "S"), ("user", "U")), model("x", path=str(tmp_path), load_config=config))
    assert said(result) == [("user", "S\n\nU")]
    changed = await mended(chat(("system", "S"), ("user", "U")), model("x", path=str(tmp_path)))
    assert not changed.changed


async def test_a_policy_switches_both_ways() -> None:
    asked = chat(("system", "S"), ("user", "U"), ("user", "V"))
    off = await mended(asked, model("gemma-2-9b-it", policy={"fold_system": False, "alternate_roles": False}))
    assert not off.changed
    assert off.asked is asked
    on = await mended(asked, model("other", policy={"fold_system": True, "alternate_roles": True}))
    assert said(on) == [("user", "S\n\nU\n\nV")]


async def test_what_a_backend_refuses_is_learned() -> None:
    view = model("my-tune", url="http://127.0.0.1:9")
    asked = chat(("system", "S"), ("user", "U"))
    assert not (await mended(asked, view)).changed
    assert learn(view, "System role not supported")
    assert not learn(view, "System role not supported"), "the same refusal twice is no reason to try again"
    assert said(await mended(asked, view)) == [("user", "S\n\nU")]
    assert not learn(view, "Something else is wrong")


async def test_a_late_system_message_joins_the_user_where_the_template_wants_it_first() -> None:
    view = model("qwen-next", url="http://127.0.0.1:9")
    learn(view, "System message must be at the beginning.")
    result = await mended(
        chat(("system", "S"), ("user", "U"), ("assistant", "A"), ("system", "T"), ("user", "V")), view
    )
    assert said(result) == [("system", "S"), ("user", "U"), ("assistant", "A"), ("user", "T\n\nV")]


async def test_the_developer_role_is_not_lost() -> None:
    asked = chat(("developer", "Be brief."), ("user", "U"))
    assert said(await mended(asked, model("qwen")))[0] == ("system", "Be brief.")
    assert not (await mended(asked, model("gpt-oss-20b"))).changed
    assert not (await mended(asked, model("x", "openai-compatible", url="https://api.openai.com"))).changed


async def test_pictures_stay_with_the_folded_message() -> None:
    shown = [{"type": "text", "text": "See"}, picture("data:image/png;base64,AA==")]
    result = await mended(chat(("system", "S"), ("user", shown)), model("gemma-2-9b-it"))
    assert said(result) == [("user", [{"type": "text", "text": "S"}, *shown])]


@pytest.mark.engine
@needs(VLLM, "Gemma's template as vLLM runs it")
def test_gemmas_real_template_takes_what_was_mended() -> None:
    messages = [
        {"role": "system", "content": "S"}, {"role": "system", "content": "T"}, {"role": "assistant", "content": "A"},
        {"role": "user", "content": "U"}, {"role": "user", "content": "V"}, {"role": "tool", "content": "W"},
    ]  # fmt: skip
    refused = _render(messages)
    assert refused == "System role not supported"
    assert "must alternate" in _render(fold_system(messages))
    rendered = _render(alternate(fold_system(messages)))
    positions = [rendered.find(word) for word in ("S\n\nT", "A<", "U\n\nV", "W<")]
    assert -1 not in positions
    assert positions == sorted(positions)


def _render(messages: list[dict[str, Any]]) -> str:
    """The prompt, or the words with which the template refuses; by the Jinja of the real vLLM."""
    script = (
        "import json, sys, jinja2\n"
        "from jinja2.sandbox import ImmutableSandboxedEnvironment\n"
        "def refuse(words): raise jinja2.TemplateError(words)\n"
        "given = json.load(sys.stdin)\n"
        "world = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)\n"
        "world.globals['raise_exception'] = refuse\n"
        "try: print(world.from_string(given['template']).render(messages=given['messages'], bos_token='<bos>'))\n"
        "except jinja2.TemplateError as error: print(error)\n"
    )
    given = json.dumps({"template": GEMMA_2, "messages": messages})
    done = subprocess.run(
        [str(VLLM.parent / "python"), "-c", script], input=given, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()
