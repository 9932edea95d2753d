"""Waiting longer after each failure in a row."""

from __future__ import annotations

from collections.abc import Callable

FIRST_WAIT = 2.0
LONGEST_WAIT = 60.0


class Backoff:
    """Says when the next attempt is due: at once, then after 2, 4, 8 … at most 60 seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures = 0
        self._due_at = clock()

    def due(self) -> bool:
        return self._clock() >= self._due_at

    def failed(self) -> None:
        self._due_at = self._clock() + wait_after(self._failures)
        self._failures += 1

    def reset(self) -> None:
        self._failures = 0
        self._due_at = self._clock()


def wait_after(earlier_failures: int) -> float:
    """Seconds to wait after a failure that followed `earlier_failures` others in a row."""
    # Beyond the sixth doubling the longest wait applies; the cap also keeps the power small after days.
    return float(min(FIRST_WAIT * 2 ** min(earlier_failures, 6), LONGEST_WAIT))
