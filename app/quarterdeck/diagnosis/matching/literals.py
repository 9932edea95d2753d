"""The fixed words of a regular expression: every text that matches it holds at least one of them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from itertools import product
from re import _constants as kinds  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

SHORTEST = 4
"""Characters that a fixed word has at least; shorter ones are on nearly every line of a log."""

SHORTEST_OF_CONTEXT = 3
"""The same for a pattern that decides nothing by itself."""

MOST_WORDS = 48
_MOST_MEMBERS = 4
_NOTHING = frozenset({""})

Words = frozenset[str]


@dataclass(frozen=True)
class Shape:
    """What is known of a regular expression without running it.

    `words` are in lower case, and one of them stands in every match, whatever the case of its letters; `groups` are the
    names of its groups.
    """

    words: Words
    groups: frozenset[str]

    @property
    def shortest(self) -> int:
        """Characters of the shortest word; 0 without words."""
        return _shortest(self.words)


@cache
def shape(pattern: str) -> Shape:
    """Raises re.error for what is no regular expression."""
    parsed = parser.parse(pattern, re.IGNORECASE)
    _, required = _sequence(parsed)
    return Shape(required, frozenset(parsed.state.groupdict))


def _shortest(words: Words) -> int:
    return min(map(len, words), default=0)


def _better(first: Words, second: Words) -> Words:
    """The words that fewer lines hold: longer ones, then fewer ones."""
    return max(first, second, key=lambda words: (_shortest(words), -len(words)))


def _sequence(items: Iterable[Any]) -> tuple[Words | None, Words]:
    """All texts that the items stand for, where these are few, and the best words that any match must hold."""
    run, best, whole = _NOTHING, frozenset[str](), True
    for kind, value in items:
        exact, required = _item(kind, value)
        best = _better(best, required)
        if exact is not None and len(run) * len(exact) <= MOST_WORDS:
            run = frozenset(before + after for before, after in product(run, exact))
            best = _better(best, run)
        else:
            run, whole = _NOTHING if exact is None else exact, False
    return (run if whole else None), best


def _item(kind: Any, value: Any) -> tuple[Words | None, Words]:
    if kind is kinds.LITERAL:
        found: tuple[Words | None, Words] = (frozenset({chr(value).lower()}), frozenset())
    elif kind is kinds.IN:
        found = _members(value), frozenset()
    elif kind in (kinds.AT, kinds.ASSERT, kinds.ASSERT_NOT):
        found = _NOTHING, frozenset()
    elif kind is kinds.SUBPATTERN:
        found = _sequence(value[-1])
    elif kind is kinds.ATOMIC_GROUP:
        found = _sequence(value)
    elif kind is kinds.BRANCH:
        found = _branches([_sequence(branch) for branch in value[1]])
    elif kind in (kinds.MAX_REPEAT, kinds.MIN_REPEAT, kinds.POSSESSIVE_REPEAT):
        found = _repeat(*value)
    else:
        found = None, frozenset()
    return found


def _members(value: list[tuple[Any, Any]]) -> Words | None:
    if len(value) > _MOST_MEMBERS or any(kind is not kinds.LITERAL for kind, _ in value):
        return None
    return frozenset(chr(code).lower() for _, code in value)


def _branches(parts: list[tuple[Words | None, Words]]) -> tuple[Words | None, Words]:
    exact: Words | None = frozenset()
    for part, _ in parts:
        exact = None if exact is None or part is None else exact | part
    required = [words for _, words in parts]
    together = frozenset[str]().union(*required) if all(required) else frozenset[str]()
    return (exact if exact is not None and len(exact) <= MOST_WORDS else None), together


def _repeat(least: int, most: int, items: Iterable[Any]) -> tuple[Words | None, Words]:
    exact, required = _sequence(items)
    if least == 0:
        return (exact | _NOTHING if exact is not None and most == 1 else None), frozenset()
    return (exact if most == 1 else None), required
