"""The rule files keep to their schema, and violations of it are found."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml

from quarterdeck.diagnosis.rules import RuleError, parse_rules, rule_files

GOOD: dict[str, Any] = {
    "family": "test",
    "rules": [
        {
            "id": "melted",
            "class": "other",
            "kind": "hardware",
            "lines": ["(?P<part>core|hull) melted"],
            "title": "Something melted",
            "sentence": "The {part} melted.",
            "hint": "Cool it down first.",
        }
    ],
}


def changed(**fields: Any) -> str:
    document = copy.deepcopy(GOOD)
    document["rules"][0].update(fields)
    return yaml.safe_dump(document)


def test_the_shipped_rules_are_valid() -> None:
    assert {file.family for file in rule_files()} >= {"common", "llamacpp"}


def test_the_last_resort_always_holds() -> None:
    last = [rule for file in rule_files() for rule in file.rules if rule.rank == 0]
    assert [rule.id for rule in last] == ["no_cause_found"]
    assert not (last[0].lines or last[0].needs or last[0].unless or last[0].signals or last[0].exit_codes)


def test_every_other_rule_has_a_condition() -> None:
    for rule in (rule for file in rule_files() for rule in file.rules if rule.rank):
        assert rule.lines or rule.signals or rule.exit_codes or rule.oom_killed, rule.id


def test_a_good_rule_is_read() -> None:
    assert parse_rules("good.yaml", changed()).rules[0].id == "melted"


@pytest.mark.parametrize(
    "fields",
    [
        {"class": "gremlins"},
        {"kind": "magic"},
        {"lines": ["(unclosed"]},
        {"lines": ["(?P<part>a)bc", "no group here"]},
        {"lines": ["a"]},
        {"sentence": "No full stop"},
        {"hint": ""},
        {"title": ""},
        {"sentence": "The {planet} melted."},
        {"rank": 101},
        {"id": "Not An Id"},
        {"colour": "red"},
    ],
)
def test_violations_are_found(fields: dict[str, Any]) -> None:
    with pytest.raises(RuleError, match=r"bad\.yaml"):
        parse_rules("bad.yaml", changed(**fields))


@pytest.mark.parametrize("text", ["", "rules: [", "[]", "family: x"])
def test_files_that_are_no_rule_files(text: str) -> None:
    with pytest.raises(RuleError):
        parse_rules("bad.yaml", text)
