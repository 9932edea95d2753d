"""What a model may be called, and how the name in a request finds its model."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import NamedTuple

from quarterdeck.errors import AppError
from quarterdeck.schemas.models import ModelView

LONGEST_NAME = 200

EXACT = "exact"
ALIAS = "alias"

_HINT = "Give it a name such as “Qwen3-4B” or “team/Qwen3-4B”."
_LATEST = ":latest"


def clean_name(text: str) -> str:
    """The name without spaces at its ends and around slashes. Raises AppError `bad_name`."""
    name = re.sub(r"\s*/\s*", "/", unicodedata.normalize("NFC", text).strip())
    name = re.sub(r"[ \t]+", " ", name)
    if not name:
        raise AppError("bad_name", "The name of the model is empty.", _HINT)
    if len(name) > LONGEST_NAME:
        raise AppError("bad_name", f"The name is {len(name)} characters long; {LONGEST_NAME} are allowed.", _HINT)
    if not name.isprintable():
        raise AppError("bad_name", "The name contains a line break or another invisible character.", _HINT)
    if any(part in ("", ".", "..") for part in name.split("/")):
        raise AppError("bad_name", f"The name “{name}” has an empty part before, after or between slashes.", _HINT)
    return name


def fold(name: str) -> str:
    """The name as it is compared: case does not count, nor Ollama's tag “latest”, but every other sign does."""
    return unicodedata.normalize("NFC", name).strip().casefold().removesuffix(_LATEST)


def unique(wanted: str, backend: str, taken: Iterable[str]) -> str:
    """`wanted`, or with its backend in front, or with a number behind, so that no folded name in `taken` is met."""
    free = [wanted, f"{backend}/{wanted}"]
    names = taken if isinstance(taken, set | frozenset | dict) else set(taken)
    number = 2
    while fold(free[0]) in names:
        free.pop(0)
        if not free:
            free.append(f"{backend}/{wanted} {number}")
            number += 1
    return free[0]


class _Claim(NamedTuple):
    """How strong a model's claim to a name is; the smallest wins."""

    kind: int
    missing: bool
    deprecated: bool
    model: str


_BY_ALIAS, _BY_NAME, _BY_SERVED_NAME = range(3)


class NameIndex:
    """Finds models by the names that clients use, in constant time."""

    def __init__(self) -> None:
        self._served: dict[str, set[_Claim]] = {}
        self._folded: dict[str, set[_Claim]] = {}
        self._of: dict[str, list[tuple[dict[str, set[_Claim]], str, _Claim]]] = {}

    def put(self, view: ModelView) -> None:
        """Make the names of a model known; those that it had before are forgotten."""
        self.drop(view.name)
        state = (not view.installed, view.deprecated, view.name)
        by_name, by_served_name = _Claim(_BY_NAME, *state), _Claim(_BY_SERVED_NAME, *state)
        claims = [
            (self._served, view.served_name, by_served_name),
            (self._folded, fold(view.name), by_name),
            (self._folded, fold(view.served_name), by_served_name),
            *((self._folded, alias, _Claim(_BY_ALIAS, *state)) for alias in set(map(fold, view.aliases))),
        ]
        self._of[view.name] = claims
        for index, key, claim in claims:
            index.setdefault(key, set()).add(claim)

    def drop(self, name: str) -> None:
        """Forget a model."""
        for index, key, claim in self._of.pop(name, ()):
            claims = index[key]
            claims.discard(claim)
            if not claims:
                del index[key]

    def served_as(self, text: str) -> str | None:
        """The model that is served exactly as `text`."""
        return _best(self._served.get(text))

    def find(self, text: str) -> tuple[str, str] | None:
        """The model that `text` means, and the rule that found it."""
        if text in self._of:
            return text, EXACT
        if (served := self.served_as(text)) is not None:
            return served, EXACT
        known = _best(self._folded.get(fold(text)))
        return None if known is None else (known, ALIAS)


def _best(claims: set[_Claim] | None) -> str | None:
    return min(claims).model if claims else None
