"""Signatures of log lines: literal texts or regular expressions, and which of those may be used."""

from __future__ import annotations

import re
from re import _parser as sre  # type: ignore[attr-defined]
from typing import Any

LONGEST_PATTERN = 500
_FEWEST = 4
_MANY = 10
_REPEATS = frozenset({"MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"})


def checked(pattern: str) -> str:
    """The pattern, if it may be used. Raises ValueError saying why not.

    Refused are patterns that fit nearly every line, and repeats within repeats, which can take hours on one line.
    """
    if len(pattern) > LONGEST_PATTERN:
        raise ValueError(f"a signature has at most {LONGEST_PATTERN} characters")
    try:
        parsed = sre.parse(pattern, re.IGNORECASE)
        compiled = re.compile(pattern, re.IGNORECASE)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"not a regular expression: {error}") from None
    if compiled.search("") or parsed.getwidth()[0] < _FEWEST:
        raise ValueError(f"a signature needs at least {_FEWEST} characters, else it fits nearly every line")
    if _repeats_within_repeats(parsed, within=False):
        raise ValueError("a repeat within a repeat can take very long; write it more simply")
    return pattern


def literal(text: str) -> str:
    """The pattern for a text as it stands; any run of blanks fits any other."""
    return r"\s+".join(re.escape(word) for word in text.split())


def as_literal(pattern: str) -> str | None:
    """The text that `literal` made this pattern of; None for other patterns."""
    text = " ".join(re.sub(r"\\(.)", r"\1", part) for part in pattern.split(r"\s+"))
    return text if literal(text) == pattern else None


def _repeats_within_repeats(parsed: Any, *, within: bool) -> bool:
    for operation, value in parsed:
        name = str(operation)
        if name in _REPEATS:
            _least, most, inner = value
            many = int(most) > _MANY
            if (many and within) or _repeats_within_repeats(inner, within=within or many):
                return True
        elif any(_repeats_within_repeats(inner, within=within) for inner in _inner(value)):
            return True
    return False


def _inner(value: Any) -> list[Any]:
    """The parts of a group, a choice or a look-ahead that are patterns again."""
    if isinstance(value, sre.SubPattern):
        return [value]
    if isinstance(value, (tuple, list)):
        return [part for each in value for part in _inner(each)]
    return []
