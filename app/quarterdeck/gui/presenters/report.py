"""The status report and its checklist in words."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from quarterdeck.gui.presenters.badges import Badge, Tone
from quarterdeck.gui.presenters.text import counted
from quarterdeck.schemas.report import CheckItem, StatusReport

PASSED = Badge("ok", "Passed", Tone.OK, "This was tried and works.")
FAILED = Badge("error", "Failed", Tone.ERROR, "This was tried and does not work.")
NOT_RUN = Badge("unknown", "Not tried", Tone.NEUTRAL, "This was not tried yet.")


class CheckLine(NamedTuple):
    """One line of the checklist."""

    badge: Badge
    title: str
    detail: str

    @property
    def spoken(self) -> str:
        return ". ".join(part.rstrip(".") for part in (self.title, self.badge.word, self.detail) if part)


def check_lines(items: Sequence[CheckItem]) -> list[CheckLine]:
    looks = {True: PASSED, False: FAILED, None: NOT_RUN}
    return [CheckLine(looks[item.passed], item.title, item.detail) for item in items]


def checklist_words(items: Sequence[CheckItem]) -> str:
    """How the checklist came out."""
    if not items:
        return "There is nothing to check."
    tried = [item for item in items if item.passed is not None]
    if not tried:
        return f"{counted(len(items), 'check', 'checks')}, not run yet"
    passed = sum(bool(item.passed) for item in tried)
    if passed == len(items):
        return f"All {len(items)} checks passed" if len(items) > 1 else "The check passed"
    untried = f", {len(items) - len(tried)} not tried" if len(tried) < len(items) else ""
    return f"{passed} of {counted(len(items), 'check', 'checks')} passed{untried}"


def file_name(report: StatusReport) -> str:
    """A name for the saved page."""
    return f"status-{_day(report.written_at)}.md"


def _day(at: datetime) -> str:
    return f"{at.astimezone():%Y-%m-%d-%H%M}"
