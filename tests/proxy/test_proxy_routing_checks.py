"""What is said about rules that are wrong or doubtful."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from routing_room import RoutingRoom, share

from quarterdeck.errors import AppError
from quarterdeck.proxy.routing.checking import errors_of, warnings_of
from quarterdeck.schemas.requests import FallbackRule, PatternRule, RoutingRules


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[RoutingRoom]:
    made = RoutingRoom(tmp_path)
    await made.open()
    await made.find("llama3.1:8b", "qwen2.5-coder:7b", "phi4:latest")
    yield made
    await made.close()


@pytest.mark.parametrize(
    ("rules", "where", "words"),
    [
        ({"patterns": [{"pattern": "^Qwen/(", "model": "a"}]}, "patterns[0]", "no regular expression"),
        ({"patterns": [{"pattern": "", "model": "a"}]}, "patterns[0]", "1 to 500"),
        ({"patterns": [{"pattern": "a" * 501, "model": "a"}]}, "patterns[0]", "1 to 500"),
        ({"patterns": [{"pattern": "(a+)+b", "model": "a"}]}, "patterns[0]", "for ever"),
        ({"patterns": [{"pattern": "(?:x|[a-z]*)*", "model": "a"}]}, "patterns[0]", "for ever"),
        ({"patterns": [{"pattern": ".*", "model": ""}]}, "patterns[0]", "empty"),
        ({"capabilities": [{"name": " ", "models": ["a"]}]}, "capabilities[0]", "empty"),
        ({"capabilities": [{"name": "x", "models": ["a\n"]}]}, "capabilities[0].models[0]", "spaces"),
        ({"capabilities": [{"name": "x", "models": ["a\x00b"]}]}, "capabilities[0].models[0]", "invisible"),
        ({"capabilities": [{"name": "Code", "models": ["a", "code"]}]}, "capabilities[0]", "itself"),
        ({"capabilities": [{"name": "x", "models": ["a", "A:latest"]}]}, "capabilities[0].models", "twice"),
        ({"balance": [{"name": "x", "models": [share("a", 1e9)]}]}, "balance[0].models[0]", "weight"),
        ({"balance": [{"name": "x", "models": [share("a", 1e999)]}]}, "balance[0].models[0]", "weight"),
        (
            {"capabilities": [{"name": "x", "models": ["a"]}], "balance": [{"name": "X", "models": [share("a")]}]},
            "balance[0]",
            "another rule",
        ),
        ({"fallbacks": [{"model": "a"}, {"model": "A"}]}, "fallbacks[1]", "another rule"),
        ({"fallbacks": [{"model": "a", "content": ["b", "A"]}]}, "fallbacks[0].content", "itself"),
        ({"patterns": [{"pattern": "x", "model": "a"}] * 1001}, "patterns", "more than 1000"),
    ],
)
async def test_errors_are_refused(room: RoutingRoom, rules: dict[str, Any], where: str, words: str) -> None:
    with pytest.raises(AppError) as caught:
        await room.rule(**rules)
    problems: Any = caught.value.details["problems"]
    [problem] = [each for each in problems if each["where"] == where]
    assert words in problem["sentence"]
    assert problem["severity"] == "error"


@pytest.mark.parametrize(
    ("rules", "where", "words"),
    [
        ({"capabilities": [{"name": "x", "models": ["phi4", "ghost"]}]}, "capabilities[0].models[1]", "no model named"),
        ({"capabilities": [{"name": "phi4", "models": ["llama3.1:8b"]}]}, "capabilities[0]", "never used"),
        ({"patterns": [{"pattern": ".*70b", "model": "vllm"}]}, "patterns[0]", "backend and no model"),
        ({"patterns": [{"pattern": "x", "model": "phi4"}] * 2}, "patterns[1]", "comes earlier"),
        ({"balance": [{"name": "x", "models": [share("phi4", 0.7), share("llama3.1:8b", 0.4)]}]}, "balance[0]", "1.1"),
        ({"fallbacks": [{"model": "ghost", "error": ["phi4"]}]}, "fallbacks[0].model", "no model named"),
        (
            {
                "fallbacks": [
                    {"model": "phi4", "error": ["llama3.1:8b"]},
                    {"model": "llama3.1:8b", "error": ["qwen2.5-coder:7b"]},
                    {"model": "qwen2.5-coder:7b", "error": ["phi4"]},
                ]
            },
            "fallbacks[0].error",
            "phi4 → llama3.1:8b → qwen2.5-coder:7b → phi4",
        ),
    ],
)
async def test_doubts_are_shown_and_kept(room: RoutingRoom, rules: dict[str, Any], where: str, words: str) -> None:
    await room.rule(**rules)
    [problem] = room.router.state().problems
    assert (problem.where, problem.severity) == (where, "warning")
    assert words in problem.sentence


async def test_a_name_that_is_nearly_right_is_corrected(room: RoutingRoom) -> None:
    await room.rule(capabilities=[{"name": "code", "models": ["qwen2.5-codr:7b"]}])
    [problem] = room.router.state().problems
    assert problem.hint == "Is “qwen2.5-coder:7b” meant?"


async def test_models_that_cannot_answer(room: RoutingRoom) -> None:
    await room.rule(capabilities=[{"name": "code", "models": ["qwen2.5-coder:7b", "phi4"]}])
    assert room.router.state().problems == []
    await room.decide("qwen2.5-coder:7b", compatibility_status="incompatible")
    await room.decide("phi4:latest", deprecated=True)
    assert [each.where for each in room.router.state().problems] == [
        "capabilities[0].models[0]", "capabilities[0].models[1]",
    ]  # fmt: skip


async def test_the_model_for_unknown_names(room: RoutingRoom) -> None:
    room.set(default_model="phi4")
    state = room.router.state()
    assert (state.default_model, state.problems) == ("phi4", [])
    room.set(default_model="ghost")
    [problem] = room.router.state().problems
    assert problem.where == "default_model"


async def test_rules_may_name_each_other(room: RoutingRoom) -> None:
    await room.rule(
        capabilities=[{"name": "code", "models": ["phi4"]}],
        balance=[{"name": "pool", "models": [share("phi4", 2), share("llama3.1:8b", 1)]}],
        patterns=[{"pattern": "gpt-.*", "model": "pool"}],
        fallbacks=[{"model": "*", "error": ["code"]}, {"model": "pool", "error": ["code"]}],
    )
    assert room.router.state().problems == []


NAMES = st.sampled_from(["a", "b", "c", "d", "e"])


@given(st.dictionaries(NAMES, st.lists(NAMES, max_size=4, unique=True), max_size=5))
def test_a_circle_is_told_exactly_where_there_is_one(leads: dict[str, list[str]]) -> None:
    """Against the plain definition: somebody is reached from itself in one or more steps."""
    leads = {name: [each for each in others if each != name] for name, others in leads.items()}
    rules = RoutingRules(fallbacks=[FallbackRule(model=name, error=others) for name, others in leads.items()])
    assert errors_of(rules) == []
    reached = {name: set(others) for name, others in leads.items()}
    for _ in leads:
        reached = {
            name: others | {far for each in others for far in reached.get(each, ())} for name, others in reached.items()
        }
    circles = [each for each in warnings_of(rules, lambda _: None, []) if "circle" in each.sentence]
    assert bool(circles) == any(name in others for name, others in reached.items())
    for each in circles:
        path = each.sentence.split(": ")[1].rstrip(".").split(" → ")
        assert path[0] == path[-1]
        assert all(following in leads[name] for name, following in pairwise(path))


@given(st.text(max_size=60))
def test_any_pattern_is_used_or_refused(pattern: str) -> None:
    errors_of(RoutingRules(patterns=[PatternRule(pattern=pattern, model="a")]))
