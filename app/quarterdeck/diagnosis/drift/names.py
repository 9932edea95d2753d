"""Names that refer to each other: circles, and names that nearly are another one."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from difflib import SequenceMatcher, get_close_matches

_CLOSE = 0.8
_TWINS = 0.905
_MOST_COMPARED = 400


def meant(name: str, known: Collection[str]) -> str:
    """A sentence that asks for the name that was probably meant; empty when none is near."""
    close = get_close_matches(name, list(known), n=1, cutoff=_CLOSE)
    return f"Is “{close[0]}” meant?" if close else ""


def nearly_same(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Pairs of different names that look like one with a slip of the pen; names that differ in a digit do not."""
    known = list(dict.fromkeys(names))[:_MOST_COMPARED]
    for place, first in enumerate(known):
        for second in known[place + 1 :]:
            if _digits(first) == _digits(second) and _ratio(first, second) >= _TWINS:
                yield first, second


def circles(leads: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Each circle once, as the way from a name back to itself."""
    found: list[list[str]] = []
    told: set[frozenset[str]] = set()
    for start in leads:
        way = _way_back(start, leads)
        if way and frozenset(way) not in told:
            told.add(frozenset(way))
            found.append(way)
    return found


def _way_back(start: str, leads: Mapping[str, Sequence[str]]) -> list[str]:
    """The shortest way from `start` to itself; empty when there is none."""
    ways: dict[str, list[str]] = {start: [start]}
    waiting = [start]
    for name in waiting:
        for following in leads.get(name, ()):
            if following == start:
                return [*ways[name], start]
            if following not in ways:
                ways[following] = [*ways[name], following]
                waiting.append(following)
    return []


def _ratio(first: str, second: str) -> float:
    matcher = SequenceMatcher(None, first.lower(), second.lower(), autojunk=False)
    return matcher.ratio() if matcher.real_quick_ratio() >= _TWINS and matcher.quick_ratio() >= _TWINS else 0.0


def _digits(name: str) -> str:
    return "".join(letter for letter in name if letter.isdigit())
