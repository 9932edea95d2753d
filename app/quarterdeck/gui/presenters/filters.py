"""Search, status filter and order of the model list."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any, NamedTuple

from quarterdeck.gui.presenters.engines import BACKEND_TITLES
from quarterdeck.schemas.models import ModelView, Status


class SortKey(StrEnum):
    """What the list can be ordered by."""

    NAME = "name"
    SIZE = "size"
    USED = "used"
    STATUS = "status"
    ENGINE = "engine"


SORT_TITLES = {
    SortKey.NAME: "Name",
    SortKey.SIZE: "Size",
    SortKey.USED: "Last used",
    SortKey.STATUS: "Status",
    SortKey.ENGINE: "Engine",
}

_PARTS = re.compile(r"(\D*)(\d{0,18})")
_STATUS_ORDER = (Status.COMPATIBLE, Status.DEGRADED, Status.UNKNOWN, Status.TESTING, Status.INCOMPATIBLE)


class Filters(NamedTuple):
    """What a person chose to see."""

    words: str = ""
    status: Status | None = None
    sort: SortKey = SortKey.NAME
    descending: bool = False

    @property
    def active(self) -> bool:
        return bool(self.words.strip()) or self.status is not None

    def accepts(self, model: ModelView) -> bool:
        return bool(chosen((model,), self))


def search_text(model: ModelView) -> str:
    """What a search looks through: names, architecture, quantization, group and engine."""
    fields = (
        model.name, *model.aliases, model.architecture, model.quantization, model.group, model.backend,
        BACKEND_TITLES.get(model.backend),
    )  # fmt: skip
    return " ".join(field for field in fields if field).casefold()


def chosen(
    models: Iterable[ModelView], filters: Filters, text_of: Callable[[ModelView], str] = search_text
) -> list[ModelView]:
    """The models with the status that is wanted, in whose text every word occurs."""
    words = filters.words.casefold().split()
    found = [model for model in models if filters.status is None or model.status is filters.status]
    for word in words:
        found = [model for model in found if word in text_of(model)]
    return found


def sort_value(model: ModelView, key: SortKey) -> tuple[Any, Any]:
    """What `model` is ordered by; equal values fall back to the name."""
    name = natural(model.name)
    if key is SortKey.SIZE:
        return model.size_bytes or 0, name
    if key is SortKey.USED:
        return _timestamp(model.last_loaded), name
    if key is SortKey.STATUS:
        return _STATUS_ORDER.index(model.status), name
    if key is SortKey.ENGINE:
        return BACKEND_TITLES.get(model.backend, model.backend), name
    return name, name


def ordered(models: Iterable[ModelView], filters: Filters) -> list[ModelView]:
    """The models in the order that was chosen."""
    return sorted(models, key=lambda model: sort_value(model, filters.sort), reverse=filters.descending)


def count_line(shown: int, total: int) -> str:
    if shown == total:
        return "1 model" if total == 1 else f"{total:,} models"
    return f"{shown:,} of {total:,}"


@lru_cache(maxsize=20_000)
def natural(name: str) -> tuple[tuple[str, int], ...]:
    """A name for sorting: numbers in it count as numbers, so that 8b comes before 14b."""
    return tuple((words, int(digits or 0)) for words, digits in _PARTS.findall(name.casefold()))


def _timestamp(at: datetime | None) -> float:
    return at.timestamp() if at is not None else 0.0
