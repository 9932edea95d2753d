"""JSON objects as people type them: every mistake has a line, a column and a hint."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.errors import ConfigError
from quarterdeck.schemas.jsontext import config_hash, parse_load_config, parse_object, to_text

TEXTS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(TEXTS, VALUES, max_size=5)

MISTAKES: list[tuple[str, int, int, str]] = [
    ('{"a": 1,}', 1, 8, "comma after the last"),
    ('{"a": [1, 2,]}', 1, 12, "comma after the last"),
    ("{'a': 1}", 1, 2, "single quotes"),
    ("{“a”: 1}", 1, 2, "typographic quotes"),
    ("{a: 1}", 1, 2, "double quotes"),
    ('{"a": True}', 1, 7, "True"),
    ('{"a": None}', 1, 7, "None"),
    ('{"a": NaN}', 1, 7, "NaN"),
    ('{"a": -Infinity}', 1, 7, "Infinity"),
    ('{"a": 1e999}', 1, 7, "too large"),
    ('{"a": 01}', 1, 7, "not a number"),
    ('{"a": 8k}', 1, 7, "not a number"),
    ('{"a": high}', 1, 7, "high"),
    ('{\n  // four slots\n  "a": 1}', 2, 3, "comments"),
    ('{"a": 1} # done', 1, 10, "comments"),
    ('{"a": 1\n "b": 2}', 2, 2, "comma is missing"),
    ('{"a" 1}', 1, 6, "colon"),
    ('{"a"=1}', 1, 5, "colon"),
    ('{"a": }', 1, 7, "value is expected"),
    ('{"a":', 1, 6, "ends where a value"),
    ('{"a": 1,\n\n "b": [1,\n  2', 4, 4, "not closed"),
    ('{"a": "x', 1, 7, "not closed"),
    ('{"a": "x\ny"}', 1, 9, "line break"),
    ('{"a": "C:\\models"}', 1, 10, "backslash"),
    ('{"a": "\\ud800"}', 1, 7, "cannot be stored"),
    ('{"a": 1,\n "b": 2,\n "a": 3}', 3, 2, "line 1, column 2"),
    ('{"a": 1} {"b": 2}', 1, 10, "more text"),
    ("[1, 2]", 1, 1, "a list, not an object"),
    ("  12", 1, 3, "a number, not an object"),
    ("null", 1, 1, "null, not an object"),
    ("true", 1, 1, "truth value"),
    ('"x"', 1, 1, "a text, not an object"),
    ('{"a": ' + "[" * 5000, 1, 71, "too deeply"),
    ('{"a": ' + "9" * 5000 + "}", 1, 7, "too long"),
]


@pytest.mark.parametrize(("text", "line", "column", "words"), MISTAKES)
def test_mistakes_are_placed_and_named(text: str, line: int, column: int, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_object(text)
    error = caught.value
    assert error.code == "bad_json"
    assert words in error.sentence
    assert error.hint
    assert (error.line, error.column) == (line, column)
    assert error.as_dict()["line"] == line


@pytest.mark.parametrize("text", ["", "  \n", "{}", "\ufeff{ }"])
def test_nothing_is_the_empty_object(text: str) -> None:
    assert parse_object(text) == {}


def test_whole_object() -> None:
    text = '{"n": -1.5e3, "list": [1, true, false, null, {"ü": "\\u00e4\\n"}], "empty": []}'
    assert parse_object(text) == {"n": -1500.0, "list": [1, True, False, None, {"ü": "ä\n"}], "empty": []}


@given(value=OBJECTS)
def test_reads_what_it_wrote(value: dict[str, Any]) -> None:
    assert parse_object(to_text(value)) == value
    assert parse_load_config(value) == value


@given(text=st.text(alphabet="{}[]\",:\\ \n\t0123456789.eE+-truefalsn/#'xÄ", max_size=60))
def test_agrees_with_the_standard_parser(text: str) -> None:
    try:
        found: object = parse_object(text)
    except ConfigError as error:
        assert error.line >= 1
        assert error.column >= 1
        try:
            standard = json.loads(text, parse_constant=lambda word: pytest.fail(word))
        except (ValueError, pytest.fail.Exception):
            return
        assert not isinstance(standard, dict) or "twice" in error.sentence or "too large" in error.sentence
    else:
        assert not text.strip() or found == json.loads(text)


@pytest.mark.parametrize("value", [{"a": float("nan")}, {"a": float("inf")}, {"a": b"x"}, {"a": "\ud800"}])
def test_objects_are_checked_too(value: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_load_config(value)
    assert caught.value.line == 0
    assert "Line" not in caught.value.sentence


def test_load_config_from_nothing_and_text() -> None:
    assert parse_load_config(None) == {}
    assert parse_load_config('{"a": 1}') == {"a": 1}


def test_config_hash_does_not_depend_on_order() -> None:
    assert config_hash({"a": 1, "b": 2}) == config_hash({"b": 2, "a": 1})
    assert config_hash({"a": 1}) != config_hash({"a": 2})
