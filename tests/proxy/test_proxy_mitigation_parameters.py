"""Saved parameters, names of the token limit, one context for all clients, emulated streams."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mitigating import chat, mended, mended_now, model, said

from quarterdeck.errors import AppError
from quarterdeck.proxy.dialects.base import Asked, Fields
from quarterdeck.proxy.mitigations import check_policy, describe
from quarterdeck.schemas.requests import ClientPolicy, Operation
from quarterdeck.settings import Settings

_OPENAI = {"name": "o3-mini", "backend": "openai-compatible", "url": "https://api.openai.com"}


async def test_nothing_is_done_where_nothing_applies() -> None:
    asked = chat(("system", "S"), ("user", "U"), temperature=0.5, max_tokens=9, stream=True)
    result = await mended(asked, model())
    assert result.asked is asked
    assert (result.changed, result.applied, result.warnings, result.whole) == (False, [], [], False)
    assert (result.repair, result.repair_chunk) == (None, None)


# -- saved parameters


async def test_saved_parameters_fill_what_is_left_out_and_some_win() -> None:
    policy = {"defaults": {"temperature": 0.1, "top_p": 0.9, "max_tokens": 50}, "override": ["top_p"]}
    asked = chat(("user", "U"), temperature=1.0, top_p=0.5)
    before = copy.deepcopy(asked)
    result = await mended(asked, model(policy=policy))
    fields = result.asked.fields
    assert (fields["temperature"], fields["top_p"], fields["max_tokens"]) == (1.0, 0.9, 50)
    assert result.applied == ["override:top_p", "default:max_tokens"]
    assert asked == before


_VALUES = st.dictionaries(st.sampled_from(["temperature", "top_p", "top_k", "seed", "stop"]), st.integers(0, 9))


@given(_VALUES, _VALUES, st.sets(st.sampled_from(["temperature", "top_p", "top_k"])))
def test_every_parameter_is_the_clients_or_the_saved_one(asks: Fields, saved: Fields, wins: set[str]) -> None:
    policy = {"defaults": saved, "override": sorted(wins & saved.keys())}
    fields = mended_now(chat(("user", "U"), **asks), model(policy=policy)).asked.fields
    for name in ("temperature", "top_p", "top_k", "seed", "stop"):
        first, second = (saved, asks) if name in wins else (asks, saved)
        assert fields.get(name) == first.get(name, second.get(name))


async def test_a_saved_token_limit_does_not_join_one_under_its_other_name() -> None:
    fill = model(policy={"defaults": {"max_tokens": 50}})
    fields = (await mended(chat(("user", "U"), max_completion_tokens=9), fill)).asked.fields
    assert (fields.get("max_tokens"), "max_completion_tokens" in fields) == (9, False)
    win = model(policy={"defaults": {"max_tokens": 50}, "override": ["max_tokens"]})
    fields = (await mended(chat(("user", "U"), max_completion_tokens=9), win)).asked.fields
    assert (fields.get("max_tokens"), "max_completion_tokens" in fields) == (50, False)


async def test_saved_parameters_go_where_they_mean_something() -> None:
    view = model(policy={"defaults": {"temperature": 0.1, "voice": "nova", "response_format": "wav", "dimensions": 8}})
    speech = Asked(Operation.SPEECH, {"model": "m", "input": "Hi"}, False)
    assert (await mended(speech, view)).asked.fields == {
        "model": "m", "input": "Hi", "voice": "nova", "response_format": "wav",
    }  # fmt: skip
    embeddings = Asked(Operation.EMBEDDINGS, {"model": "m", "input": "Hi"}, False)
    assert (await mended(embeddings, view)).asked.fields == {"model": "m", "input": "Hi", "dimensions": 8}
    fields = (await mended(chat(("user", "U")), view)).asked.fields
    assert fields["temperature"] == 0.1
    assert "voice" not in fields
    assert "response_format" not in fields


@pytest.mark.parametrize(
    "policy",
    [
        {"defaults": {"messages": []}}, {"defaults": {"model": "other"}}, {"override": ["top_p"]},
        {"override": ["system_prompt"]},
    ],
)  # fmt: skip
async def test_a_policy_that_cannot_be_followed_is_an_error(policy: dict[str, Any]) -> None:
    with pytest.raises(AppError, match="saved") as caught:
        check_policy(ClientPolicy(**policy))
    assert caught.value.code == "bad_policy"
    with pytest.raises(AppError):
        await mended(chat(("user", "U")), model(policy=policy))


async def test_the_saved_system_prompt_is_for_chats_without_one() -> None:
    view = model(policy={"system_prompt": "Be kind."})
    assert said(await mended(chat(("user", "U")), view)) == [("system", "Be kind."), ("user", "U")]
    assert not (await mended(chat(("system", "S"), ("user", "U")), view)).changed
    wins = model(policy={"system_prompt": "Be kind.", "override": ["system_prompt"]})
    assert said(await mended(chat(("system", "S"), ("user", "U")), wins)) == [("system", "Be kind."), ("user", "U")]
    folded = model("gemma-2-2b-it", policy={"system_prompt": "Be kind."})
    assert said(await mended(chat(("user", "U")), folded)) == [("user", "Be kind.\n\nU")]


# -- names


@pytest.mark.parametrize(
    ("view", "asks", "expected"),
    [
        ({}, {"max_completion_tokens": 5}, {"max_tokens": 5}),
        ({}, {"max_completion_tokens": 5, "max_tokens": 7}, {"max_tokens": 5}),
        ({}, {"max_tokens": 7}, {"max_tokens": 7}),
        (_OPENAI, {"max_tokens": 7}, {"max_completion_tokens": 7}),
        (_OPENAI, {"max_tokens": 7, "max_completion_tokens": 5}, {"max_completion_tokens": 5}),
        (_OPENAI | {"name": "gpt-4o"}, {"max_tokens": 7}, {"max_tokens": 7}),
        (_OPENAI | {"name": "gpt-4o"}, {"max_completion_tokens": 7}, {"max_completion_tokens": 7}),
        (_OPENAI | {"name": "x", "url": "https://notopenai.com"}, {"max_completion_tokens": 7}, {"max_tokens": 7}),
        ({"policy": {"token_limit_name": False}}, {"max_completion_tokens": 5}, {"max_completion_tokens": 5}),
    ],
)
async def test_the_token_limit_has_the_name_that_the_server_knows(view: Any, asks: Fields, expected: Fields) -> None:
    fields = (await mended(chat(("user", "U"), **asks), model(**view))).asked.fields
    assert {name: value for name, value in fields.items() if name.startswith("max_")} == expected


async def test_a_bias_in_words_becomes_an_object() -> None:
    fields = (await mended(chat(("user", "U"), logit_bias="50256:-100, 11:250"), model())).asked.fields
    assert fields["logit_bias"] == {"50256": -100.0, "11": 100.0}
    with pytest.raises(AppError, match="logit_bias"):
        await mended(chat(("user", "U"), logit_bias="cat:dog"), model())


# -- the context of Ollama


@pytest.mark.parametrize(
    ("config", "policy", "wished", "expected", "warned"),
    [
        ({}, {}, None, None, False),
        ({}, {}, 32768, None, True),
        ({"num_ctx": 8192}, {}, 2048, None, True),
        ({"num_ctx": 8192}, {}, 8192, None, False),
        ({"num_ctx": 8192}, {"num_ctx": 4096}, 2048, 4096, True),
        ({"num_ctx": 8192}, {"num_ctx": 4096}, None, 4096, False),
        ({}, {"num_ctx": 4096}, 4096, 4096, False),
        ({}, {"guard_context": False}, 2048, 2048, False),
    ],
)
async def test_all_clients_of_a_model_get_one_context(
    config: Fields, policy: Fields, wished: int | None, expected: int | None, warned: bool
) -> None:
    asked = chat(("user", "U"), **({} if wished is None else {"num_ctx": wished}))
    view = model("llama3.2", "ollama", load_config=json.dumps(config), policy=policy)
    result = await mended(asked, view)
    assert result.asked.fields.get("num_ctx") == expected
    assert bool(result.warnings) == warned
    assert (result.applied == ["num-ctx"]) == warned


async def test_embeddings_are_guarded_too() -> None:
    asked = Asked(Operation.EMBEDDINGS, {"model": "m", "input": "Hi", "num_ctx": 512}, False)
    assert "num_ctx" not in (await mended(asked, model("nomic", "ollama"))).asked.fields


async def test_a_prompt_that_would_be_cut_is_told_of() -> None:
    view = model("llama3.2", "ollama", load_config='{"num_ctx": 512}')
    result = await mended(chat(("user", "word " * 1000)), view)
    assert "512" in result.warnings[0]
    assert not result.changed
    assert not (await mended(chat(("user", "word " * 200)), view)).warnings


# -- streams, and what people are told


async def test_a_server_that_streams_badly_is_asked_for_a_whole_answer() -> None:
    view = model("moa-qwen", "openai-compatible", url="http://optillm:8000")
    result = await mended(chat(("user", "U"), stream=True), view)
    assert result.whole
    assert result.applied == ["emulate-streaming"]
    assert not (await mended(chat(("user", "U")), view)).whole
    assert (await mended(chat(("user", "U"), stream=True), model(policy={"emulate_streaming": True}))).whole
    off = view.model_copy(update={"client_policy": ClientPolicy(emulate_streaming=False)})
    assert not (await mended(chat(("user", "U"), stream=True), off)).whole


async def test_people_see_what_is_on_for_a_model() -> None:
    settings = Settings()
    plain = {each.title: each.on for each in await describe(model("qwen"), settings)}
    gemma = {each.title: each.on for each in await describe(model("gemma-2-2b-it"), settings)}
    assert (plain["Fold the system role"], gemma["Fold the system role"]) == (False, True)
    ollama = model("x", "ollama", policy={"defaults": {"top_k": 3}, "guard_context": False, "tools": "keep"})
    shown = {each.title: each for each in await describe(ollama, settings)}
    assert not shown["One context for all"].on
    assert not shown["Tools"].on
    assert "top_k" in shown["Saved parameters"].sentence
