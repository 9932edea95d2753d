"""Spoken answers that are kept to be given again."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from quarterdeck.proxy.dialects.base import Fields
from quarterdeck.schemas.models import ModelView

_OVERHEAD = 200
_LARGEST_SHARE = 4


@dataclass(frozen=True, slots=True)
class Spoken:
    """One whole spoken answer and its content type."""

    data: bytes
    content_type: str


class SpeechCache:
    """Keeps the spoken answers that were asked for last, up to `limit()` bytes in all; 0 keeps none.

    The key is made of everything that was asked, voice and format too, and of what the model is. So a change of either
    is never answered with the old voice.
    """

    def __init__(self, limit: Callable[[], int]) -> None:
        self._limit = limit
        self._kept: OrderedDict[str, Spoken] = OrderedDict()
        self._size = 0

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def size(self) -> int:
        """Bytes that are kept."""
        return self._size

    @staticmethod
    def key(fields: Fields, view: ModelView) -> str:
        """What one request (OpenAI's fields) to one model is known under."""
        said = {name: value for name, value in fields.items() if name != "model"}
        model = [
            view.name, view.backend, view.served_name, view.path, view.url, view.expected_hash, view.size_bytes,
            view.load_config,
        ]  # fmt: skip
        return hashlib.sha256(json.dumps([said, model], sort_keys=True).encode()).hexdigest()

    def get(self, key: str) -> Spoken | None:
        """The answer that is kept under `key`, if there is one."""
        self._trim(self._limit())
        spoken = self._kept.get(key)
        if spoken is not None:
            self._kept.move_to_end(key)
        return spoken

    def put(self, key: str, spoken: Spoken) -> None:
        """Keep a whole, good answer. One that would push out most of the others is not kept."""
        limit = self._limit()
        self._forget(key)
        if spoken.data and _size(spoken) * _LARGEST_SHARE <= limit:
            self._kept[key] = spoken
            self._size += _size(spoken)
        self._trim(limit)

    def _trim(self, limit: int) -> None:
        while self._size > limit:
            self._forget(next(iter(self._kept)))

    def _forget(self, key: str) -> None:
        old = self._kept.pop(key, None)
        if old is not None:
            self._size -= _size(old)


def _size(spoken: Spoken) -> int:
    return len(spoken.data) + _OVERHEAD
