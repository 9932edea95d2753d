"""JSON objects as people type them: parsed with the line and column of every mistake, and printed neatly."""

from __future__ import annotations

import hashlib
import json
import math
import re
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any

from quarterdeck.errors import ConfigError

DEEPEST = 64
LONGEST_NUMBER = 300
LONGEST_TEXT = 1 << 20

_SPACE = re.compile(r"[ \t\r\n]*")
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
_WORD = re.compile(r"[^\s,:\[\]{}\"]+")
_CONSTANTS = {"true": True, "false": False, "null": None}
_PYTHON_WORDS = {"True": "true", "False": "false", "None": "null", "TRUE": "true", "FALSE": "false", "NULL": "null"}
_NOT_FINITE = frozenset({"NaN", "Infinity", "-Infinity", "nan", "inf", "-inf"})
_TYPOGRAPHIC_QUOTES = "“”„«»‘’"


def parse_object(text: str) -> dict[str, Any]:
    """Parse a JSON object; blank text is the empty object. Raises ConfigError `bad_json` with line and column."""
    source = text.removeprefix("\ufeff")
    if not source.strip():
        return {}
    if len(source) > LONGEST_TEXT:
        raise ConfigError(
            "bad_json", "The text is too long for a configuration.", "Keep it below one million characters."
        )
    return _Parser(source).document()


def parse_load_config(value: str | dict[str, Any] | None) -> dict[str, Any]:
    """The load_config as an object, from JSON text, an object or nothing. Raises ConfigError `bad_json`."""
    if value is None:
        return {}
    if isinstance(value, str):
        return parse_object(value)
    try:
        return parse_object(json.dumps(value, ensure_ascii=False))
    except ConfigError as error:
        # The position is one in a text that the person never saw.
        raise ConfigError(error.code, re.sub(r"^Line \d+, column \d+: ", "", error.sentence), error.hint) from None
    except (TypeError, ValueError, RecursionError):
        raise ConfigError(
            "bad_json", "The object cannot be written as JSON.", "Use texts, numbers and lists."
        ) from None


def to_text(value: dict[str, Any]) -> str:
    """`value` as JSON text for people: indented, in its own order, umlauts and the like kept."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)


def config_hash(load_config: dict[str, Any]) -> str:
    """A short fingerprint of a load_config that does not depend on the order of its keys."""
    text = json.dumps(load_config, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class _Parser:
    """A recursive JSON parser that keeps positions; the standard one cannot say where a key was repeated."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def document(self) -> dict[str, Any]:
        self._space()
        start = self.at
        value = self._value(0)
        self._space()
        if self.at < len(self.text):
            raise self._error(
                "there is more text after the end of the object", "Remove it, or join both parts into one object."
            )
        if not isinstance(value, dict):
            kind = {list: "a list", str: "a text", bool: "a truth value", type(None): "null"}.get(
                type(value), "a number"
            )
            raise self._error(f"this is {kind}, not an object", 'Write an object: {"name": value, …}.', start)
        return value

    def _value(self, depth: int) -> Any:
        if depth > DEEPEST:
            raise self._error("the object is nested too deeply", f"Use at most {DEEPEST} levels.")
        character = self._peek()
        if character == "{":
            return self._object(depth)
        if character == "[":
            return self._list(depth)
        if character == '"':
            return self._string()
        return self._plain()

    def _object(self, depth: int) -> dict[str, Any]:
        opened = self.at
        self.at += 1
        found: dict[str, Any] = {}
        where: dict[str, int] = {}
        while self._goes_on("}", "object", opened, first=not found):
            start = self.at
            key = self._key()
            if key in where:
                line, column = self._position(where[key])
                raise self._error(
                    f"“{_short(key)}” is given twice, first in line {line}, column {column}",
                    "Remove one of the two.",
                    start,
                )
            where[key] = start
            self._space()
            if self._peek() != ":":
                after = self._peek()
                hint = (
                    "Write a colon instead of “=”."
                    if after == "="
                    else f'Write "{_short(key)}": followed by its value.'
                )
                raise self._error(f"a colon is missing after “{_short(key)}”", hint)
            self.at += 1
            self._space()
            found[key] = self._value(depth + 1)
        return found

    def _list(self, depth: int) -> list[Any]:
        opened = self.at
        self.at += 1
        found: list[Any] = []
        while self._goes_on("]", "list", opened, first=not found):
            found.append(self._value(depth + 1))
        return found

    def _goes_on(self, end: str, what: str, opened: int, *, first: bool) -> bool:
        """Step over the comma before the next entry, or over the end; whether there is a next entry."""
        self._space()
        if self._peek() == end:
            self.at += 1
            return False
        if first:
            self._refuse_end(what, opened, end)
            return True
        comma = self.at
        if self._peek() != ",":
            self._refuse_end(what, opened, end)
            raise self._error("a comma is missing before this", "Put a comma between two entries.")
        self.at += 1
        self._space()
        if self._peek() == end:
            raise self._error("there is a comma after the last entry", "Remove this comma.", comma)
        self._refuse_end(what, opened, end)
        return True

    def _refuse_end(self, what: str, opened: int, end: str) -> None:
        if self.at >= len(self.text):
            line, column = self._position(opened)
            raise self._error(
                f"the {what} that begins in line {line}, column {column} is not closed", f"Add the missing “{end}”."
            )

    def _key(self) -> str:
        character = self._peek()
        if character == '"':
            return self._string()
        self._refuse_other_quotes(character)
        if character == ",":
            raise self._error("there is a comma too many", "Remove it.")
        word = _WORD.match(self.text, self.at)
        shown = f" “{_short(word.group())}”" if word else ""
        raise self._error(f"the name{shown} must stand in double quotes", 'Write "name": value.')

    def _string(self) -> str:
        start = self.at
        try:
            value, self.at = scanstring(self.text, start + 1, True)
        except json.JSONDecodeError as error:
            raise self._bad_string(error, start) from None
        if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
            raise self._error(
                "the text that begins here contains a character that cannot be stored", "Remove it.", start
            )
        return str(value)

    def _bad_string(self, error: json.JSONDecodeError, start: int) -> ConfigError:
        if error.msg.startswith("Unterminated"):
            return self._error("the text that begins here is not closed", "Add the missing double quote.", start)
        if "control character" in error.msg:
            return self._error(
                "there is a line break or control character inside a text",
                "Close the text in the same line, or write \\n for a line break and \\t for a tab.",
                error.pos,
            )
        return self._error("the backslash here begins nothing known", "Write \\\\ for a backslash itself.", error.pos)

    def _plain(self) -> Any:
        """A number or one of true, false and null."""
        character = self._peek()
        self._refuse_other_quotes(character)
        found = _WORD.match(self.text, self.at)
        if not found:
            what = (
                f"“{character}” stands where a value is expected"
                if character
                else "the text ends where a value is expected"
            )
            raise self._error(what, "Write a text in double quotes, a number, true, false, null, a list or an object.")
        word = found.group()
        if word in _CONSTANTS:
            self.at = found.end()
            return _CONSTANTS[word]
        if word in _PYTHON_WORDS:
            raise self._error(f"“{word}” is not JSON", f"Write {_PYTHON_WORDS[word]}.")
        if word in _NOT_FINITE:
            raise self._error(f"“{word}” is not a number that JSON knows", "Write an ordinary number, or null.")
        return self._number(word, found.end())

    def _number(self, word: str, end: int) -> int | float:
        matched = _NUMBER.fullmatch(word)
        if matched is None:
            if word[0].isdigit() or word[0] in "+-.":
                raise self._error(
                    f"“{_short(word)}” is not a number",
                    "Write it as 12, -1 or 0.5: no leading zero, no plus sign, no units.",
                )
            raise self._error(f"“{_short(word)}” stands where a value is expected", "Put texts in double quotes.")
        if len(word) > LONGEST_NUMBER:
            raise self._error("this number is too long", f"Use at most {LONGEST_NUMBER} digits.")
        value = float(word) if matched.group(1) or matched.group(2) else int(word)
        if isinstance(value, float) and not math.isfinite(value):
            raise self._error("this number is too large", "Write a smaller number.")
        self.at = end
        return value

    def _refuse_other_quotes(self, character: str) -> None:
        if character == "'":
            raise self._error("single quotes are not JSON", 'Use double quotes: "text".')
        if character and character in _TYPOGRAPHIC_QUOTES:
            raise self._error("typographic quotes are not JSON", 'Use straight double quotes: "text".')

    def _space(self) -> None:
        found = _SPACE.match(self.text, self.at)
        self.at = found.end() if found else self.at
        if self.text.startswith(("//", "/*", "#"), self.at):
            raise self._error(
                "comments are not allowed in JSON", "Remove the comment; notes can be kept in the model's notes."
            )

    def _peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def _position(self, at: int) -> tuple[int, int]:
        return self.text.count("\n", 0, at) + 1, at - self.text.rfind("\n", 0, at)

    def _error(self, what: str, hint: str, at: int | None = None) -> ConfigError:
        line, column = self._position(self.at if at is None else at)
        return ConfigError("bad_json", f"Line {line}, column {column}: {what}.", hint, line=line, column=column)


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:39] + "…"


def locate_key(text: str, key: str) -> tuple[int, int]:
    """Line and column (1-based) of the first entry named `key` in `text`; (0, 0) if there is none."""
    found = re.search(re.escape(json.dumps(key, ensure_ascii=False)) + r"\s*:", text)
    if found is None:
        return 0, 0
    before = text[: found.start()]
    return before.count("\n") + 1, found.start() - before.rfind("\n")
