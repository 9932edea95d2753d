"""The access log: one JSON line for each request, without its texts unless somebody switched them on."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from quarterdeck.errors import AppError
from quarterdeck.proxy.records.batches import Batches
from quarterdeck.proxy.records.capture import Texts
from quarterdeck.proxy.records.files import append_lines
from quarterdeck.proxy.records.record import UPSTREAM_ERROR, RequestRecord
from quarterdeck.settings import Settings

FILE_NAME = "requests.jsonl"
FAILED = "access_log_failed"
WRITE_SECONDS = 0.25
MOST_WAITING = 20_000

_encode = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":")).encode
_ALWAYS = ("path", "dialect", "operation", "asked", "model", "backend", "route", "status", "stream")
_WHERE_KNOWN = (
    "prompt_tokens",
    "completion_tokens",
    "dropped",
    "applied",
    "warnings",
    "tried",
    "key",
    "client",
    "code",
)
_TIMES = ("waited_ms", "first_token_ms", "tokens_per_second")
_TEXTS = ("original", "converted", "upstream", "answer")

Line = bytes | tuple[dict[str, Any], Texts]


class AccessLog:
    """Writes `settings().access_log_path`, by default FILE_NAME in `folder`. Core loop only; a thread writes.

    `problem` hears of an AppError when the file cannot be written, and of None when it can be again.
    """

    def __init__(
        self, folder: Path, *, settings: Callable[[], Settings], problem: Callable[[AppError | None], None]
    ) -> None:
        self._folder = folder
        self._settings = settings
        self._batches: Batches[Line] = Batches(
            self._write, done=problem, name="access log", seconds=WRITE_SECONDS, most=MOST_WAITING
        )
        self._second = 0
        self._stamp = ""

    @property
    def path(self) -> Path:
        """The file that is written now; a relative one is in the log folder."""
        return self._folder / Path(self._settings().access_log_path or FILE_NAME).expanduser()

    def add(self, record: RequestRecord) -> None:
        """Note a finished request."""
        settings = self._settings()
        if not settings.access_log:
            return
        fields = self._fields(record)
        if lost := self._batches.lost:
            self._batches.lost = 0
            self._batches.add(_line({"at": fields["at"], "lost": lost}))
        if settings.log_prompts:
            fields["error"] = record.error
            if record.texts is not None:
                self._batches.add((fields, record.texts))
                return
        elif record.error is not None and record.code != UPSTREAM_ERROR:
            fields["error"] = record.error
        self._batches.add(_line(fields))

    async def close(self) -> None:
        """Write what waits."""
        await self._batches.close()

    def _fields(self, record: RequestRecord) -> dict[str, Any]:
        fields: dict[str, Any] = {"at": self._time(record.at), "id": record.id}
        for name in _ALWAYS:
            fields[name] = getattr(record, name)
        fields["total_ms"] = round(record.total_ms, 3)
        for name in _TIMES:
            if (number := getattr(record, name)) is not None:
                fields[name] = round(number, 3)
        for name in _WHERE_KNOWN:
            if value := getattr(record, name):
                fields[name] = value
        return fields

    def _time(self, at: float) -> str:
        second = int(at)
        if second != self._second:
            self._second, self._stamp = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._stamp}.{int((at - second) * 1000):03d}Z"

    def _write(self, batch: list[Line]) -> None:
        """On a thread. Raises AppError."""
        settings = self._settings()
        path = self.path
        lines = [line if isinstance(line, bytes) else _with_texts(*line) for line in batch]
        try:
            append_lines(path, lines, max_bytes=settings.access_log_max_bytes, keep=settings.access_log_files)
        except OSError as error:
            raise AppError(
                FAILED,
                f"The access log {path} cannot be written: {error.strerror or error}.",
                "Check the folder, its permissions and free space, or choose another file in the settings.",
                status=507,
            ) from error


def _with_texts(fields: dict[str, Any], texts: Texts) -> bytes:
    for name in _TEXTS:
        if shown := getattr(texts, name).shown():
            fields[name] = shown.text
    return _line(fields)


def _line(fields: dict[str, Any]) -> bytes:
    return _encode(fields).encode("utf-8", "replace") + b"\n"
