"""The dated notes that the journal puts in front of a model's notes."""

from __future__ import annotations

from datetime import datetime

from quarterdeck.schemas.models import Cause, CauseKind, Status

LONGEST = 4000
_SHORT_ERROR = 150
_LONG_ERROR = 200


def failed(cause: Cause, status: Status, good_loads: int, *, exceeds_card: bool) -> str:
    """The note after a failed load that left the model with `status`."""
    return _told(cause, "Load failed", status, good_loads, exceeds_card)


def crashed_after_load(cause: Cause, status: Status, good_loads: int, *, exceeds_card: bool) -> str:
    """The note when an engine died after its model had been loaded."""
    return _told(cause, "Stopped while it was loaded", status, good_loads, exceeds_card)


def interrupted(status: Status, good_loads: int) -> str:
    """The note of a model that was found in testing at the start."""
    text = "Quarterdeck or the computer crashed during the compatibility test"
    if status is Status.DEGRADED:
        return f"{text} (loaded successfully {good_loads} times before)."
    return f"{text}."


def put_in_front(text: str, earlier: str, at: datetime) -> str:
    """`text` with its date before the earlier notes; the oldest lines go when the whole becomes too long."""
    newest = f"{at.astimezone():%Y-%m-%d %H:%M} · {text}"
    whole = f"{newest}\n{earlier}" if earlier.strip() else newest
    if len(whole) <= LONGEST:
        return whole
    return whole[: LONGEST - 2].rpartition("\n")[0].rstrip() + "\n…" if "\n" in whole[:LONGEST] else whole[:LONGEST]


def error_text(cause: Cause) -> str:
    """The real error: the sentence with the line of the log that shows it."""
    if not cause.evidence or cause.evidence in cause.sentence:
        return cause.sentence
    return f"{cause.sentence}\n{cause.evidence}"


def _told(cause: Cause, generic: str, status: Status, good_loads: int, exceeds_card: bool) -> str:
    error = " ".join(error_text(cause).split())
    if cause.kind is CauseKind.HARDWARE and status is Status.DEGRADED:
        return (
            f"Intermittent issue detected (loaded successfully {good_loads} times before): {error[:_SHORT_ERROR]} "
            "If it happens again, restart WSL, Docker or the computer."
        )
    if cause.kind is CauseKind.HARDWARE:
        return f"Hardware incompatibility detected: {error[:_LONG_ERROR]}"
    if cause.kind is CauseKind.CAPACITY and exceeds_card:
        return f"Needs more memory than this computer has: {error[:_LONG_ERROR]}"
    if cause.kind is CauseKind.CAPACITY:
        return f"Not enough free memory: {error[:_LONG_ERROR]}"
    return f"{generic}: {error[:_LONG_ERROR]}"
