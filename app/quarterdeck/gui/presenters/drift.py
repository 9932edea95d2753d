"""Configuration files, and what is declared against what runs, in words."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import PurePath
from typing import NamedTuple

from quarterdeck.gui.presenters.badges import Badge, Tone
from quarterdeck.gui.presenters.problems import SEVERITIES, subject_words
from quarterdeck.gui.presenters.text import counted, inside, listed, moment, sentence_start
from quarterdeck.schemas.problems import Severity
from quarterdeck.schemas.report import ConfigFileView, Difference, DriftReport, FileState

MOST_NAMES = 3
KIB = 1024
# The worst state of a file gives its badge.
STATES: dict[FileState, Badge] = {
    FileState.MISSING: Badge("error", "Missing", Tone.ERROR, "The file is not there any more."),
    FileState.INVALID: Badge("error", "Not valid", Tone.ERROR, "It cannot be read as what it should be."),
    FileState.STALE: Badge("warn", "Out of date", Tone.WARN, "It names things that are not there."),
    FileState.MODIFIED: Badge("edit", "Changed", Tone.WARN, "It was changed after the server read it."),
    FileState.NOT_DEPLOYED: Badge("idle", "Not in use", Tone.NEUTRAL, "No server runs with it."),
    FileState.UNCOMMITTED: Badge("edit", "Not committed", Tone.WARN, "It has changes that are not in Git."),
    FileState.DEPLOYED: Badge("ok", "In use", Tone.OK, "A server was started with it."),
    FileState.ACTIVE: Badge("ok", "Active", Tone.OK, "A server runs with what it says now."),
}
NO_STATE = Badge("unknown", "Not known", Tone.NEUTRAL, "It is not known whether a server uses it.")


class FileRow(NamedTuple):
    """One configuration file as the list shows it."""

    view: ConfigFileView
    name: str
    badge: Badge
    states: str
    users: str
    models: str
    changed: str


class DifferenceRow(NamedTuple):
    """One difference as the list shows it."""

    badge: Badge
    subject: str
    what: str
    declared: str
    running: str


def file_row(view: ConfigFileView, now: datetime) -> FileRow:
    worst = next((badge for state, badge in STATES.items() if state in view.states), NO_STATE)
    words = [badge.word for state, badge in STATES.items() if state in view.states]
    return FileRow(
        view=view,
        name=PurePath(view.path).name,
        badge=worst,
        states=", ".join([words[0], *map(inside, words[1:])]) if words else NO_STATE.word,
        users=listed(view.users, MOST_NAMES) or "Nobody",
        models=counted(len(view.models), "model", "models"),
        changed=moment(view.modified_at, now) if view.modified_at is not None else "",
    )


def file_facts(row: FileRow) -> list[tuple[str, str]]:
    """Everything about a file that is known."""
    view = row.view
    size = f"{view.size_bytes / KIB:.1f} KiB, {counted(view.lines, 'line', 'lines')}" if view.size_bytes else ""
    facts = [
        ("Faults", "\n".join(map(sentence_start, view.faults))), ("State", row.states), ("Where", view.path),
        ("What it is", view.kind), ("Purpose", view.purpose), ("Size", size), ("Models", ", ".join(view.models)),
        ("Used by", ", ".join(view.users)), ("Git", sentence_start(view.git)),
    ]  # fmt: skip
    return [(label, value) for label, value in facts if value]


def difference_row(found: Difference, servers: dict[str, str]) -> DifferenceRow:
    known = found.severity in set(Severity)
    badge = SEVERITIES[Severity(found.severity) if known else Severity.MEDIUM]
    return DifferenceRow(badge, subject_words(found.subject, servers), found.what, found.declared or "nothing",
                         found.running or "nothing")  # fmt: skip


def no_differences(report: DriftReport) -> tuple[str, str]:
    """What is said where nothing differs: a title and a sentence."""
    if not any(view.users for view in report.files):
        return "Nothing to compare", "No server runs with one of these files."
    return "No differences", "What runs is what is declared."


def summary(report: DriftReport, now: datetime) -> str:
    """One line over both lists."""
    faults = sum(len(view.faults) for view in report.files)
    parts: Sequence[str] = [
        counted(len(report.files), "file", "files"),
        counted(len(report.differences), "difference", "differences"),
        counted(faults, "fault in a file", "faults in files") if faults else "",
        f"checked {inside(moment(report.checked_at, now))}",
    ]
    return " · ".join(part for part in parts if part)
