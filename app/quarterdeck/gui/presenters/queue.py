"""The loads that run or wait, in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from quarterdeck.gui.presenters.text import counted, duration, elapsed
from quarterdeck.schemas.system import QueueEntry

MOST = 3


class QueueLine(NamedTuple):
    """One load: its place (empty for the one that runs), the model, and what there is to know about it."""

    place: str
    model: str
    words: str
    loading: bool


def queue_lines(entries: Sequence[QueueEntry], since: float = 0.0) -> list[QueueLine]:
    """A line for each entry, the running ones first; `since` is the number of seconds since they were told."""
    return [_line(entry, since) for entry in sorted(entries, key=lambda entry: entry.position)]


def heading(entries: Sequence[QueueEntry]) -> str:
    """What goes on, in a few words."""
    waiting = sum(entry.position > 0 for entry in entries)
    running = len(entries) - waiting
    parts = [counted(running, "load under way", "loads under way")] if running else []
    if waiting:
        parts.append(f"{waiting:,} waiting")
    return ", ".join(parts)


def _line(entry: QueueEntry, since: float) -> QueueLine:
    loading = entry.position == 0
    why = entry.why.rstrip(".")
    time = elapsed(entry.waiting_s + since)
    parts = [why or "Loading", time] if loading else [f"Waiting for {time}"]
    if entry.expected_s is not None:
        left = entry.expected_s - since
        parts.append(f"ready in about {duration(left)}" if left >= 1 else "ready any moment")
    if entry.waiters > 1:
        parts.append(counted(entry.waiters, "request", "requests"))
    if why and not loading:
        # Last, because the end of a long line is cut off.
        parts.append(why)
    return QueueLine("" if loading else f"{entry.position}.", entry.model, " · ".join(parts), loading)
