"""Two texts of one request side by side: how they are laid out, and where they differ."""

from __future__ import annotations

import json
from difflib import SequenceMatcher
from typing import NamedTuple

from quarterdeck.gui.presenters.text import counted
from quarterdeck.schemas.requests import Captured

MOST_LINES = 3000
NOT_KEPT = "No text was kept of this request. “Keep texts” keeps those of the requests that follow."
NONE_HERE = "There was no such text."


class Side(NamedTuple):
    """One text as it is shown; `kept` tells it from words in its place."""

    text: str
    about: str
    kept: bool


def side(captured: Captured | None, *, any_kept: bool) -> Side:
    if captured is None:
        return Side(NONE_HERE if any_kept else NOT_KEPT, "", False)
    about = counted(captured.size, "byte", "bytes") + (", cut" if captured.cut else "")
    return Side(laid_out(captured.text), about, True)


def laid_out(text: str) -> str:
    """JSON indented, so that its lines can be compared; any other text as it is."""
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text


def differing(left: str, right: str) -> tuple[frozenset[int], frozenset[int]]:
    """The numbers of the lines, from 0, that one text has and the other has not; none for very long texts."""
    # A comma at the end says only that another line follows.
    before, after = ([line.rstrip(",") for line in text.splitlines()] for text in (left, right))
    if max(len(before), len(after)) > MOST_LINES:
        return frozenset(), frozenset()
    lefts: set[int] = set()
    rights: set[int] = set()
    for tag, a, b, c, d in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if tag != "equal":
            lefts.update(range(a, b))
            rights.update(range(c, d))
    return frozenset(lefts), frozenset(rights)
