"""The texts of requests, where somebody wants to see them: bounded, pictures shortened, keys hidden."""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING

from quarterdeck.schemas.requests import Captured

if TYPE_CHECKING:
    from quarterdeck.proxy.records.record import RequestRecord

TEXT_LIMIT = 512 * 1024
RING_LIMIT = 32 * 1024 * 1024
HIDDEN = "••••••••"

# Base64 in a JSON text: a picture, a sound, a file.
_DATA = re.compile(rb'(?<=[",])([A-Za-z0-9+/_-]{32})[A-Za-z0-9+/_-]{992,}={0,2}')
_NAMED = re.compile(
    r'(?i)("(?:[a-z0-9_-]*(?:api[_-]?key|authorization|password|secret)|access[_-]?token|token)"\s*:\s*")((?:[^"\\]|\\.)+)'
)
_BARE = re.compile(r"(?i)\b(bearer\s+|basic\s+|(?:sk|pk|qd|hf|gh[pousr]|xox[abp])[-_])[A-Za-z0-9._~+/=-]{8,}")


class Text:
    """One text: its size in bytes, and its first TEXT_LIMIT bytes after long data was shortened."""

    __slots__ = ("_parts", "kept", "size")

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self.kept = 0
        self.size = 0

    def add(self, data: bytes) -> None:
        self.size += len(data)
        room = TEXT_LIMIT - self.kept
        if room > 0:
            part = _DATA.sub(_shortened, data)[:room] if len(data) > 1024 else data[:room]
            self._parts.append(part)
            self.kept += len(part)

    def replace(self, data: bytes) -> None:
        self._parts, self.kept, self.size = [], 0, 0
        self.add(data)

    def shown(self) -> Captured | None:
        """The text as people may see it; None when there was none."""
        if not self.size:
            return None
        text = b"".join(self._parts).decode("utf-8", "replace")
        return Captured(text=hide_keys(text), size=self.size, cut=self.kept >= TEXT_LIMIT)


class Texts:
    """The four texts of a request: in, to the backend, from it, back to the client."""

    __slots__ = ("answer", "converted", "original", "upstream")

    def __init__(self) -> None:
        self.original = Text()
        self.converted = Text()
        self.upstream = Text()
        self.answer = Text()

    @property
    def kept(self) -> int:
        return self.original.kept + self.converted.kept + self.upstream.kept + self.answer.kept


class Capture:
    """Holds the texts of the newest requests within RING_LIMIT bytes; the oldest lose theirs first."""

    def __init__(self, most: int, limit: int = RING_LIMIT) -> None:
        self._most = most
        self._limit = limit
        self._held: deque[RequestRecord] = deque()
        self._bytes = 0

    def keep(self, record: RequestRecord) -> None:
        assert record.texts is not None
        self._held.append(record)
        self._bytes += record.texts.kept
        while self._bytes > self._limit or len(self._held) > self._most:
            self._drop()

    def clear(self) -> None:
        """Forget all texts."""
        while self._held:
            self._drop()

    def _drop(self) -> None:
        oldest = self._held.popleft()
        assert oldest.texts is not None
        self._bytes -= oldest.texts.kept
        oldest.texts = None


def hide_keys(text: str) -> str:
    """`text` with what looks like a key or a password replaced."""
    return _BARE.sub(rf"\1{HIDDEN}", _NAMED.sub(rf"\1{HIDDEN}", text))


def _shortened(found: re.Match[bytes]) -> bytes:
    return found[1] + f"… ({len(found[0])} characters)".encode()
