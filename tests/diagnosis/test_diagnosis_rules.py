"""The rule files keep to their schema, and violations of it are found."""

from __future__ import annotations

import copy
import re
from collections import Counter
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.diagnosis import rules
from quarterdeck.diagnosis.matching.index import Probe, lowered
from quarterdeck.diagnosis.matching.literals import shape
from quarterdeck.diagnosis.rules import RuleError, parse_rules, rule_files, shipped_texts

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


@pytest.mark.parametrize("name", shipped_texts())
def test_the_shipped_rules_are_valid(name: str) -> None:
    parse_rules(name, shipped_texts()[name])


def test_each_id_is_used_once() -> None:
    counted = Counter(rule.id for file in rule_files() for rule in file.rules)
    assert [id for id, count in counted.items() if count > 1] == []


def test_each_shipped_rule_has_a_remedy_for_what_a_log_shows() -> None:
    assert [rule.id for file in rule_files() for rule in file.rules if rule.lines and not rule.remedies] == []


def test_a_file_that_cannot_be_used_does_not_take_the_others_along(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(rules, "shipped_texts", lambda: {"bad.yaml": "rules: [", "good.yaml": changed()})
    found = rules.rule_files.__wrapped__()
    assert [rule.id for file in found for rule in file.rules] == ["melted"]
    assert "bad.yaml" in caplog.text


def test_the_last_resort_always_holds() -> None:
    last = [rule for file in rule_files() for rule in file.rules if rule.rank == 0]
    assert [rule.id for rule in last] == ["no_cause_found"]
    assert not (last[0].lines or last[0].needs or last[0].unless or last[0].signals or last[0].exit_codes)


def test_every_other_rule_has_a_condition() -> None:
    for rule in (rule for file in rule_files() for rule in file.rules if rule.rank):
        assert rule.lines or rule.signals or rule.exit_codes or rule.gpu_states or rule.oom_killed, rule.id


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
        {"remedies": [{"title": "Wait for {planet}"}]},
        {"remedies": [{"title": "Wait", "patch": {"n_ctx": "{part:round3}"}}]},
        {"remedies": [{"title": "Wait", "patch": {"n_ctx": "{part:floor0}"}}]},
    ],
)
def test_violations_are_found(fields: dict[str, Any]) -> None:
    with pytest.raises(RuleError, match=r"bad\.yaml"):
        parse_rules("bad.yaml", changed(**fields))


@pytest.mark.parametrize("text", ["", "rules: [", "[]", "family: x"])
def test_files_that_are_no_rule_files(text: str) -> None:
    with pytest.raises(RuleError):
        parse_rules("bad.yaml", text)


@pytest.mark.parametrize("pattern", [r"\d+ \w+", r"(?:too long|no)", r"(?:melted)?", r"x{2,3}\s+y"])
def test_a_pattern_without_a_fixed_word_is_named(pattern: str) -> None:
    with pytest.raises(RuleError, match="has no fixed word") as raised:
        parse_rules("bad.yaml", changed(lines=[pattern], sentence="It melted."))
    assert repr(pattern) in str(raised.value)


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("Melted", {"melted"}),
        ("(?:core|hull) melted", {"core melted", "hull melted"}),
        (r"\d+ tokens? .{1,9}exceeds the limit", {"exceeds the limit"}),
        ("(?:melted|exploded|burnt)", {"melted", "exploded", "burnt"}),
        ("melt(?:ed|ing)? down", {"melt down", "melted down", "melting down"}),
        ("[Mm]elted", {"melted"}),
        (r"(?i:HULL)\s+melted", {"melted"}),
        ("(?:melted)+", {"melted"}),
        ("(?!not )melted(?= now)", {"melted"}),
        (r"\d+", set()),
    ],
)
def test_the_fixed_words_of_a_pattern(pattern: str, words: set[str]) -> None:
    assert shape(pattern).words == words


WORDS = ["core", "hull", "melted", "warp drive", "1024"]
PATTERNS = st.recursive(
    st.sampled_from([*WORDS, r"\d+", r"\s", ".", "[ab]", "[^x]", "^", r"\b"]),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=4).map("".join),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: f"(?:{'|'.join(parts)})"),
        inner.map(lambda part: f"(?:{part})?"),
        inner.map(lambda part: f"(?:{part})+"),
        inner.map(lambda part: f"(?:{part}){{0,2}}"),
        inner.map(lambda part: f"(?:{part}){{2,3}}?"),
    ),
    max_leaves=8,
)


@given(pattern=PATTERNS, data=st.data())
def test_every_match_holds_a_word_of_each_set(pattern: str, data: st.DataObject) -> None:
    text = data.draw(st.from_regex(re.compile(pattern, re.IGNORECASE | re.ASCII)))
    known = shape(pattern)
    for words in (known.words, *known.also) if known.words else known.also:
        assert any(word in text.lower() for word in words)


@given(pattern=PATTERNS.filter(lambda text: "^" not in text), data=st.data())
def test_in_a_long_line_the_same_is_found_as_by_a_plain_search(pattern: str, data: st.DataObject) -> None:
    around = st.text(alphabet="ab1 x-", min_size=120, max_size=150)
    middle = data.draw(st.from_regex(re.compile(pattern, re.IGNORECASE | re.ASCII)))
    line = f"{data.draw(around)}{middle}{data.draw(around)}".replace("İ", "I")
    plain = re.compile(pattern, re.IGNORECASE).search(line)
    found = Probe(pattern).search(line, lowered(line))
    assert (found and found.span()) == (plain and plain.span())
