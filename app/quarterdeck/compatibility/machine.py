"""The status machine: what a load attempt says about a model on this machine. Pure; the only place of these rules."""

from __future__ import annotations

from quarterdeck.schemas.models import CauseKind, Status

GOOD_LOADS = 3
"""So many good loads make a failure an exception (degraded) and, in a row, lift a model back to compatible."""


def after_success(before: Status, good_in_a_row: int) -> Status:
    """The status after a good load; `good_in_a_row` counts this load."""
    if before in (Status.DEGRADED, Status.INCOMPATIBLE) and good_in_a_row < GOOD_LOADS:
        return Status.DEGRADED
    return Status.COMPATIBLE


def after_failure(before: Status, kind: CauseKind, good_loads: int, exceeds_card: bool) -> Status:
    """The status after a failure; `good_loads` counts all good loads before it.

    `exceeds_card` says that the model needs more than the total memory of the card.
    """
    if kind is CauseKind.HARDWARE:
        return _after_crash(good_loads)
    if kind is CauseKind.CAPACITY and exceeds_card:
        return Status.INCOMPATIBLE
    return _kept(before)


def after_interruption(good_loads: int) -> Status:
    """The status of a model found in `testing` at the start: the app died while it loaded."""
    return _after_crash(good_loads)


def after_cancel(before: Status) -> Status:
    """A cancelled load says nothing about the model."""
    return _kept(before)


def _after_crash(good_loads: int) -> Status:
    return Status.DEGRADED if good_loads >= GOOD_LOADS else Status.INCOMPATIBLE


def _kept(before: Status) -> Status:
    return Status.UNKNOWN if before is Status.TESTING else before
