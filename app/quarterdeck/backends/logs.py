"""Logs: per source a bounded ring in memory and rotating files that a writer thread fills."""

from __future__ import annotations

import contextlib
import logging
import re
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from logging.handlers import QueueListener, RotatingFileHandler
from pathlib import Path
from queue import SimpleQueue

from quarterdeck.schemas.backends import LogLine

RING_LINES = 5000
LINE_LIMIT = 8192
FILE_BYTES = 5_000_000
FILE_COUNT = 5

_ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|[\x00-\x08\x0b-\x1f\x7f]")
_SECRETS = re.compile(r"(?i)\b(bearer\s+|sk-|hf_)[A-Za-z0-9._-]{8,}")
_LEVELS = {"I": "info", "W": "warning", "E": "error", "D": "debug"}
_LLAMA_LEVEL = re.compile(r"^[\d.]+ ([IWED]) ")
_WORD_LEVEL = re.compile(r"\b(DEBUG|INFO|WARNING|WARN|ERROR|CRITICAL|FATAL)\b")

LinesArrived = Callable[[str, list[LogLine]], None]


class LogFiles:
    """Writes log lines to `<folder>/<source>.log` on its own thread, so that no loop waits for a disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._queue: SimpleQueue[logging.LogRecord] = SimpleQueue()
        self._handlers: dict[str, logging.Handler] = {}
        self._listener = QueueListener(self._queue, _Dispatch(self._handler))
        self._listener.start()

    def write(self, source: str, text: str) -> None:
        self._queue.put(logging.makeLogRecord({"name": source, "msg": text}))

    def close(self) -> None:
        self._listener.stop()
        for handler in self._handlers.values():
            # What a full disk refused before, it may refuse again at the end.
            with contextlib.suppress(OSError):
                handler.close()

    def _handler(self, source: str) -> logging.Handler:
        if source not in self._handlers:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._handlers[source] = _PatientFile(
                self._folder / f"{source}.log", maxBytes=FILE_BYTES, backupCount=FILE_COUNT - 1, encoding="utf-8"
            )
        return self._handlers[source]


class _Dispatch(logging.Handler):
    """Hands each record to the file of its source; a disk that refuses costs the line, not the program."""

    def __init__(self, handler_for: Callable[[str], logging.Handler]) -> None:
        super().__init__()
        self._handler_for = handler_for

    def emit(self, record: logging.LogRecord) -> None:
        try:
            handler = self._handler_for(record.name)
        except OSError:
            return
        handler.emit(record)


class _PatientFile(RotatingFileHandler):
    """A log file on a disk that may be full: the error is reported where data is lost, the lines stay in the ring."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - overrides logging's name
        """Lose the line, keep the program."""


class LogBook:
    """The log of one source. Used on one thread only; `on_lines` hears of every batch."""

    def __init__(self, source: str, files: LogFiles | None = None, on_lines: LinesArrived | None = None) -> None:
        self.source = source
        self._files = files
        self._on_lines = on_lines
        self._ring: deque[LogLine] = deque(maxlen=RING_LINES)
        self._next = 1

    def add(self, texts: list[str], level: str | None = None) -> list[LogLine]:
        """Append lines; terminal colours and secrets are removed, overlong lines are cut."""
        lines = [self._line(clean(text), level) for text in texts]
        self._ring.extend(lines)
        if self._files is not None:
            for line in lines:
                stamp = line.at.isoformat(timespec="milliseconds")
                self._files.write(self.source, f"{stamp} {line.level.upper()} {line.text}")
        if lines and self._on_lines is not None:
            self._on_lines(self.source, lines)
        return lines

    def tail(self, count: int) -> list[LogLine]:
        return list(self._ring)[-count:] if count > 0 else []

    def _line(self, text: str, level: str | None) -> LogLine:
        line = LogLine(
            number=self._next, at=datetime.now(UTC), source=self.source, level=level or guess_level(text), text=text
        )
        self._next += 1
        return line


def clean(text: str) -> str:
    """A line as people may see it: no terminal codes, no secrets, at most LINE_LIMIT characters."""
    text = _SECRETS.sub(lambda match: match.group(1) + "…", _ANSI.sub("", text.rstrip("\r\n")))
    return text if len(text) <= LINE_LIMIT else text[:LINE_LIMIT] + "…"


def guess_level(text: str) -> str:
    """The level an engine wrote into its own line; `info` where it wrote none."""
    if match := _LLAMA_LEVEL.match(text):
        return _LEVELS[match.group(1)]
    if match := _WORD_LEVEL.search(text[:120]):
        word = match.group(1).lower()
        return {"warn": "warning", "critical": "error", "fatal": "error"}.get(word, word)
    return "info"


class LineSplitter:
    """Cuts a byte stream into lines, however it is chunked.

    A carriage return ends a line too; a line of more than LINE_LIMIT bytes goes on in the next one.
    """

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> list[str]:
        *complete, rest = (self._rest + chunk).replace(b"\r", b"\n").split(b"\n")
        lines = [piece for line in complete for piece in _pieces(line)]
        *full, self._rest = _pieces(rest) or [b""]
        return [line.decode("utf-8", "replace") for line in (*lines, *full)]

    def finish(self) -> list[str]:
        rest, self._rest = self._rest, b""
        return [rest.decode("utf-8", "replace")] if rest else []


def _pieces(line: bytes) -> list[bytes]:
    """`line` in pieces of at most LINE_LIMIT bytes, cut between characters where it is UTF-8."""
    pieces = []
    while len(line) > LINE_LIMIT:
        cut = next((at for at in range(LINE_LIMIT, LINE_LIMIT - 4, -1) if line[at] & 0xC0 != 0x80), LINE_LIMIT)
        pieces.append(line[:cut])
        line = line[cut:]
    return [*pieces, line] if line else pieces
