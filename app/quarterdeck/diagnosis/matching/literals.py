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
_MOST_ALSO = 12
_FARTHEST = 1000
_NOTHING = frozenset({""})

Words = frozenset[str]


@dataclass(frozen=True)
class Shape:
    """What is known of a regular expression without running it.

    `words` are in lower case, and one of them stands in every match, whatever the case of its letters; so does one of
    each set of `also`. `groups` are the names of its groups. `reach` is how many characters before and after such a
    word it looks at, at most; None where that is not bounded.
    """

    words: Words
    also: tuple[Words, ...]
    groups: frozenset[str]
    reach: int | None

    @property
    def shortest(self) -> int:
        """Characters of the shortest word; 0 without words."""
        return _shortest(self.words)


@cache
def shape(pattern: str) -> Shape:
    """Raises re.error for what is no regular expression."""
    parsed = parser.parse(pattern, re.IGNORECASE)
    _, required = _sequence(parsed)
    best = _best(required)
    also = (words for words in required if words != best and _shortest(words) > 1 and len(words) <= _MOST_ALSO)
    reach = parsed.getwidth()[1] + _looked_ahead(parsed)
    return Shape(
        best, tuple(dict.fromkeys(also)), frozenset(parsed.state.groupdict), reach if reach <= _FARTHEST else None
    )


def _shortest(words: Words) -> int:
    return min(map(len, words), default=0)


def _best(required: Iterable[Words]) -> Words:
    """The words that the fewest lines hold: longer ones, then fewer ones."""
    return max(required, key=lambda words: (_shortest(words), -len(words)), default=frozenset())


Part = tuple[Words | None, list[Words]]
"""All texts that a part of a pattern stands for, where few, and sets of words of which any match holds one each."""


def _sequence(items: Iterable[Any]) -> Part:
    run, required, whole = _NOTHING, list[Words](), True
    for kind, value in items:
        exact, inner = _item(kind, value)
        if exact is not None and len(run) * len(exact) <= MOST_WORDS:
            run = frozenset(before + after for before, after in product(run, exact))
            continue
        required += [run, *inner]
        run, whole = _NOTHING if exact is None else exact, False
    required.append(run)
    return (run if whole else None), [words for words in required if _shortest(words)]


def _item(kind: Any, value: Any) -> Part:
    if kind is kinds.LITERAL:
        found: Part = frozenset({chr(value).lower()}), []
    elif kind is kinds.IN:
        found = _members(value), []
    elif kind in (kinds.AT, kinds.ASSERT, kinds.ASSERT_NOT):
        found = _NOTHING, []
    elif kind is kinds.SUBPATTERN:
        found = _sequence(value[-1])
    elif kind is kinds.ATOMIC_GROUP:
        found = _sequence(value)
    elif kind is kinds.BRANCH:
        found = _branches([_sequence(branch) for branch in value[1]])
    elif kind in (kinds.MAX_REPEAT, kinds.MIN_REPEAT, kinds.POSSESSIVE_REPEAT):
        found = _repeat(*value)
    else:
        found = None, []
    return found


def _members(value: list[tuple[Any, Any]]) -> Words | None:
    if len(value) > _MOST_MEMBERS or any(kind is not kinds.LITERAL for kind, _ in value):
        return None
    return frozenset(chr(code).lower() for _, code in value)


def _looked_ahead(items: Iterable[Any]) -> int:
    """How far all that look around reach together; more than any line is long where that is not bounded."""
    total = 0
    for kind, value in items:
        if kind in (kinds.ASSERT, kinds.ASSERT_NOT):
            total += value[1].getwidth()[1] + _looked_ahead(value[1])
        elif kind is kinds.BRANCH:
            total += sum(_looked_ahead(branch) for branch in value[1])
        elif kind in (kinds.SUBPATTERN, kinds.MAX_REPEAT, kinds.MIN_REPEAT, kinds.POSSESSIVE_REPEAT):
            total += _looked_ahead(value[-1])
        elif kind is kinds.ATOMIC_GROUP:
            total += _looked_ahead(value)
    return int(total)


def _branches(parts: list[Part]) -> Part:
    exact: Words | None = frozenset()
    for part, _ in parts:
        exact = None if exact is None or part is None else exact | part
    best = [_best(required) for _, required in parts]
    together = [frozenset[str]().union(*best)] if all(best) else []
    return (exact if exact is not None and len(exact) <= MOST_WORDS else None), together


def _repeat(least: int, most: int, items: Iterable[Any]) -> Part:
    exact, required = _sequence(items)
    if least == 0:
        return (exact | _NOTHING if exact is not None and most == 1 else None), []
    return (exact if most == 1 else None), required
