"""Requests that only ask whether a model is there."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ollama_front import model
from openai.types import Completion
from openai.types.chat import ChatCompletion

from quarterdeck.errors import AppError
from quarterdeck.proxy.dialects.base import Asked
from quarterdeck.proxy.probes import is_probe, probe_answer
from quarterdeck.schemas.models import Status
from quarterdeck.schemas.requests import Operation


def chat(text: Any = "hi", **fields: Any) -> Asked:
    messages = [{"role": "user", "content": text}]
    return Asked(Operation.CHAT, {"model": "tiny", "messages": messages, "max_tokens": 1, **fields}, stream=False)


def completion(prompt: Any = "test", **fields: Any) -> Asked:
    return Asked(Operation.COMPLETION, {"model": "tiny", "prompt": prompt, "max_tokens": 1, **fields}, stream=False)


@pytest.mark.parametrize(
    "asked",
    [
        chat(), chat("Ping!"), chat(""), chat(" Hello.\n"), chat("Hey how's it going?"), chat("What's 1 + 1?"),
        chat([{"type": "text", "text": "hi"}]), chat(max_tokens=None, max_completion_tokens=1),
        chat("test from litellm"), completion(), completion("hi", stream=True), chat(tools=[], temperature=0),
    ],
)  # fmt: skip
def test_health_checks_are_known(asked: Asked) -> None:
    assert is_probe(asked)


@pytest.mark.parametrize(
    "asked",
    [
        chat(max_tokens=2), chat(max_tokens=None), chat("Is 7 prime?"), chat("2+2="), chat("hi " * 1000),
        chat(tools=[{"type": "function"}]), chat(response_format={"type": "json_object"}), chat(logprobs=True),
        chat(messages=[{"role": "system", "content": "You are …"}, {"role": "user", "content": "hi"}]),
        chat([{"type": "image_url", "image_url": {"url": "data:"}}]),
        chat(None), chat(messages=[]), chat(messages="hi"), chat(messages=[7]),
        completion(["hi", "hi"]), completion([1, 2]), completion("Once upon"),
        Asked(Operation.EMBEDDINGS, {"model": "m", "input": "hi", "max_tokens": 1}, stream=False),
        Asked(Operation.SPEECH, {"model": "m", "input": "hi"}, stream=False),
    ],
)  # fmt: skip
def test_questions_are_not_taken_for_probes(asked: Asked) -> None:
    assert not is_probe(asked)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(list(Operation)), st.fixed_dictionaries({}, optional={
    "max_tokens": json_values, "messages": json_values, "prompt": json_values, "tools": json_values,
    "max_completion_tokens": st.just(1),
}))  # fmt: skip
def test_nothing_that_is_sent_is_a_defect(operation: Operation, fields: dict[str, Any]) -> None:
    assert is_probe(Asked(operation, {"model": "m", **fields}, stream=False)) in (True, False)


def test_the_answer_is_whole() -> None:
    view = model("tiny")
    answer = ChatCompletion.model_validate(probe_answer(chat(), view), strict=True)
    assert (answer.model, answer.choices[0].message.role) == ("tiny", "assistant")
    assert answer.choices[0].message.content
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert Completion.model_validate(probe_answer(completion(), view), strict=True).choices[0].text
    assert probe_answer(chat(), view)["id"] != probe_answer(chat(), view)["id"]


def test_a_model_that_would_refuse_is_not_said_to_be_there() -> None:
    with pytest.raises(AppError) as refused:
        probe_answer(chat(), model("tiny", status=Status.INCOMPATIBLE, notes="crashed"))
    assert (refused.value.status, refused.value.code) == (409, "incompatible")
    with pytest.raises(AppError) as resting:
        probe_answer(chat(), model("tiny", cooldown_until=datetime.now(UTC) + timedelta(seconds=20)))
    assert resting.value.status == 503
    assert 0 < int(str(resting.value.details["retry_after"])) <= 20
