"""What the Logs page shows of a line: level as a word and an icon, clean text, and which lines pass a filter."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import IntEnum
from typing import NamedTuple

from quarterdeck.schemas.backends import LogLine

OWN_SOURCE = "quarterdeck"
OWN_TITLE = "Quarterdeck"
SHOWN_CHARACTERS = 500

_ESCAPE = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]"  # colours, cursor movements
    r"|\][^\x07\x1b]*(?:\x07|\x1b\\)?"  # window titles, links
    r"|[@-Z\\-_]?)"
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


class Level(IntEnum):
    """How bad a line is; larger is worse."""

    DEBUG = 10
    INFO = 20
    WARNING = 30
    ERROR = 40


class LevelLook(NamedTuple):
    """A level as it is shown; `tone` is a status of the theme."""

    word: str
    icon: str
    tone: str


LOOKS = {
    Level.DEBUG: LevelLook("Debug", "more", "neutral"),
    Level.INFO: LevelLook("Info", "info", "info"),
    Level.WARNING: LevelLook("Warning", "warn", "warn"),
    Level.ERROR: LevelLook("Error", "error", "error"),
}
LEVEL_CHOICES = (
    ("All levels", Level.DEBUG),
    ("Info and above", Level.INFO),
    ("Warnings and errors", Level.WARNING),
    ("Errors", Level.ERROR),
)
_LEVELS = {
    "trace": Level.DEBUG,
    "debug": Level.DEBUG,
    "info": Level.INFO,
    "notice": Level.INFO,
    "warn": Level.WARNING,
    "warning": Level.WARNING,
    "error": Level.ERROR,
    "critical": Level.ERROR,
    "fatal": Level.ERROR,
}


class Row(NamedTuple):
    """One line as the table holds it; `needle` is what a filter searches."""

    source: str
    level: Level
    time: str
    text: str
    needle: str
    at: datetime

    def as_text(self, title: str) -> str:
        """The line as it is copied and saved."""
        return f"{self.at.astimezone():%Y-%m-%d %H:%M:%S} {LOOKS[self.level].word.upper():7} {title}: {self.text}"


def clean(text: str) -> str:
    """The text without terminal escapes and control characters."""
    if text.isprintable():
        return text
    return _CONTROL.sub("", _ESCAPE.sub("", text))


def to_row(line: LogLine) -> Row:
    text = clean(line.text)
    level = _LEVELS.get(line.level.lower(), Level.INFO)
    return Row(line.source, level, f"{line.at.astimezone():%H:%M:%S}", text, text.lower(), line.at)


def shorten(text: str) -> str:
    """A line for a table cell; the whole of it stands in the details."""
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "…"


class LineFilter(NamedTuple):
    """Which rows are shown: every word of `words` occurs, the level and the source fit."""

    words: tuple[str, ...] = ()
    level: Level = Level.DEBUG
    source: str = ""

    @classmethod
    def of(cls, text: str, level: Level, source: str) -> LineFilter:
        """`text` as typed by a person; an empty source means all."""
        return cls(tuple(text.lower().split()), level, source)

    def accepts(self, row: Row) -> bool:
        if row.level < self.level or (self.source and row.source != self.source):
            return False
        return all(word in row.needle for word in self.words)


class Intake:
    """Lets every line of every source through once, whether it came from the history or from the stream."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[int, datetime]] = {}

    def fresh(self, lines: Iterable[LogLine]) -> list[LogLine]:
        """The lines not seen before, in their order."""
        return [line for line in lines if self._is_new(line)]

    def _is_new(self, line: LogLine) -> bool:
        last = self._last.get(line.source)
        # Numbers start again when the core does; a later time tells those lines from old ones.
        if last is not None and line.number <= last[0] and line.at <= last[1]:
            return False
        self._last[line.source] = (line.number, line.at)
        return True


def merged(histories: Iterable[Sequence[LogLine]]) -> list[LogLine]:
    """Several histories as one, by time; lines of one source keep their order."""
    return sorted((line for lines in histories for line in lines), key=lambda line: line.at)


def count_text(shown: int, total: int, filtered: bool) -> str:
    if not filtered:
        return "1 line" if total == 1 else f"{total:,} lines"
    return f"{shown:,} of {total:,} lines match"


def new_lines_text(count: int) -> str:
    return "1 new line" if count == 1 else f"{count:,} new lines"


def placeholder(total: int) -> str:
    """What stands in the place of the lines when none is shown."""
    return "No line matches the filter." if total else "Nothing was written yet. New lines appear here by themselves."
