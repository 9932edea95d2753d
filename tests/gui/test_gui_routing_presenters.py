"""Routing rules as lines of words, and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.gui.presenters.routing import (
    FORMS,
    Kind,
    Problem,
    further,
    headline,
    lines_of,
    placed,
    rules_of,
    weighted,
    written,
)
from quarterdeck.schemas.requests import (
    BalanceRule,
    CapabilityRule,
    FallbackRule,
    PatternRule,
    RouteReport,
    RoutingRules,
    RuleProblem,
    WeightedModel,
)

NAMES = st.from_regex(r"[a-z][a-z0-9./:_-]{0,11}", fullmatch=True)
MODELS = st.lists(NAMES, min_size=1, max_size=4, unique=True)
WEIGHTS = st.sampled_from([1.0, 3.0, 0.25, 0.001, 1000.0]) | st.integers(1, 10**6).map(float)
RULES = st.builds(
    RoutingRules,
    capabilities=st.lists(st.builds(CapabilityRule, name=NAMES, models=MODELS), max_size=3),
    patterns=st.lists(st.builds(PatternRule, pattern=st.just("gpt-.*|o1"), model=NAMES), max_size=3),
    balance=st.lists(
        st.builds(
            BalanceRule,
            name=NAMES,
            models=MODELS.flatmap(
                lambda names: st.tuples(
                    *(st.builds(WeightedModel, model=st.just(name), weight=WEIGHTS) for name in names)
                )
            ).map(list),
        ),
        max_size=3,
    ),
    fallbacks=st.lists(
        st.builds(FallbackRule, model=st.just("*") | NAMES, error=MODELS, context_window=MODELS), max_size=3
    ),
)  # fmt: skip


@given(RULES)
def test_lines_mean_the_rules_they_were_made_of(rules: RoutingRules) -> None:
    assert rules_of(lines_of(rules)) == (rules, [])


@given(st.lists(st.tuples(NAMES, WEIGHTS), min_size=1, max_size=4, unique_by=lambda each: each[0]))
def test_weights_are_read_as_they_are_written(models: list[tuple[str, float]]) -> None:
    assert weighted(written(models)) == models


@pytest.mark.parametrize("text", ["a × 3, b", "a x 3,b", "a * 3.0 , b × 1"])
def test_weights_may_be_typed_in_several_ways(text: str) -> None:
    assert weighted(text) == [("a", 3.0), ("b", 1.0)]


def test_a_name_that_ends_like_a_weight_stays_a_name() -> None:
    assert weighted("mixtral-8x7b, llama3:8") == [("mixtral-8x7b", 1.0), ("llama3:8", 1.0)]


def test_empty_lines_do_not_count() -> None:
    lines = lines_of(RoutingRules())
    lines[Kind.PATTERNS] = [("", " "), ("gpt.*", "a"), ("", ""), ("o1.*", "b")]
    rules, problems = rules_of(lines)
    assert problems == []
    assert rules is not None
    assert [rule.pattern for rule in rules.patterns] == ["gpt.*", "o1.*"]
    found = placed([RuleProblem(where="patterns[1]", severity="error", sentence="Bad.", hint="Mend.")], lines)
    assert found == [Problem(Kind.PATTERNS, 3, True, "Bad. Mend.")]


def test_what_is_missing_is_named() -> None:
    lines = lines_of(RoutingRules())
    lines[Kind.CAPABILITIES] = [("code", "")]
    lines[Kind.BALANCE] = [("chat", "a × 1.2.3"), ("chat", "a × 0")]
    lines[Kind.FALLBACKS] = [("*", "", "", ""), ("", "a", "", "")]
    rules, problems = rules_of(lines)
    assert rules is None
    assert [(problem.kind, problem.row) for problem in problems] == [
        (Kind.CAPABILITIES, 0), (Kind.BALANCE, 0), (Kind.FALLBACKS, 1), (Kind.FALLBACKS, 1), (Kind.FALLBACKS, 1),
    ]  # fmt: skip
    lines[Kind.CAPABILITIES], lines[Kind.FALLBACKS] = [], []
    lines[Kind.BALANCE] = [("chat", "a × 0")]
    rules, problems = rules_of(lines)
    assert (rules, [(problem.kind, problem.row) for problem in problems]) == (None, [(Kind.BALANCE, 0)])


def test_problems_of_unknown_places_are_still_told() -> None:
    where = ["nothing[3]", "patterns[9]", "somewhere", "patterns"]
    problems = [RuleProblem(where=place, severity="warning", sentence="Odd.") for place in where]
    assert [(found.row, found.words) for found in placed(problems, lines_of(RoutingRules()))] == [(-1, "Odd.")] * 4


def test_where_a_name_leads_is_told_in_words() -> None:
    assert headline(RouteReport(asked="a", rule="alias", model="b", backend="ollama")) == (
        "b at ollama",
        "Rule: Other name",
    )
    assert headline(RouteReport(asked="a", rule="newest", model="b")) == ("b", "Rule: Newest")
    assert headline(RouteReport(asked="a")) == ("Nobody answers", "No rule fits this name.")
    report = RouteReport(asked="a", tried=["b", "c"], fallbacks={"context_window": ["d"], "error": []})
    assert further(report) == [("Tried in this order", "b, c"), ("When the prompt is too long", "d")]
    assert further(RouteReport(asked="a", tried=["b"])) == []


def test_every_kind_has_as_many_columns_as_cells() -> None:
    rules = RoutingRules(
        capabilities=[CapabilityRule(name="a", models=["b"])], patterns=[PatternRule(pattern="a", model="b")],
        balance=[BalanceRule(name="a", models=[WeightedModel(model="b")])], fallbacks=[FallbackRule(model="a")],
    )  # fmt: skip
    for kind, lines in lines_of(rules).items():
        assert [len(cells) for cells in lines] == [len(FORMS[kind].columns)]
