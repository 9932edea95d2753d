"""The order of loads: first come, first served over models; one at a time has the turn on this machine's memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from quarterdeck.scheduling.state import Load
from quarterdeck.schemas.system import QueueEntry

# What is told to clients while nothing is known of how long a load takes.
GUESS_SECONDS = 10.0


class Line:
    """The loads that run or wait, oldest first. Core loop only.

    All requests for one model share its load, so that A B A B becomes A A B B. A load on this machine's memory has the
    turn when it is the oldest of these; the others need none.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._loads: dict[str, Load] = {}

    def __iter__(self) -> Iterator[Load]:
        return iter(tuple(self._loads.values()))

    def __contains__(self, name: str) -> bool:
        return name in self._loads

    def get(self, name: str) -> Load | None:
        return self._loads.get(name)

    def join(self, load: Load) -> None:
        """Take a place at the end."""
        self._loads[load.name] = load
        self.update()

    def leave(self, load: Load) -> None:
        """Give up the place, and the turn with it."""
        if self._loads.get(load.name) is load:
            del self._loads[load.name]
        self.update()

    def update(self) -> None:
        """Give the turn to whom it belongs, and say that the line has changed."""
        if (first := next((load for load in self if load.on_budget), None)) is not None:
            first.turn.set()
        self._changed()

    def entries(self, now: float) -> list[QueueEntry]:
        """The queue for people; `now` is on the scheduler's clock."""
        found: list[QueueEntry] = []
        ahead: list[Load] = []
        for load in self:
            waits_for = ahead if load.on_budget else []
            found.append(
                QueueEntry(
                    model=load.name,
                    position=len(waits_for),
                    waiting_s=round(now - load.queued_at, 3),
                    waiters=len(load.tickets) + load.asked.is_set(),
                    expected_s=_expected([*waits_for, load], now),
                    why=f"Waits until “{ahead[0].name}” is loaded." if waits_for else load.why,
                )
            )
            if load.on_budget:
                ahead.append(load)
        return found

    def retry_after(self, now: float) -> int:
        """In how many seconds, at least 1, it makes sense to ask again."""
        loads = [load for load in self if load.on_budget]
        return max(1, math.ceil(_expected(loads, now) or GUESS_SECONDS * max(1, len(loads))))


def _expected(loads: list[Load], now: float) -> float | None:
    """How long these loads take one after the other; None when that of one of them is not known."""
    total = 0.0
    for load in loads:
        if load.usual_s is None:
            return None
        done = 0.0 if load.started_at is None else now - load.started_at
        total += max(0.0, load.usual_s - done)
    return round(total, 3)


def load_timeout(limit: float, usual_s: float | None) -> float:
    """How long a load may take, in seconds: `limit`, but less for a model that is known to load quickly."""
    return limit if usual_s is None else min(limit, max(60.0, 10 * usual_s))
