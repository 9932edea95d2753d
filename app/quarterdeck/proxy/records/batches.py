"""Hands over what happens by the thousand to a thread, in batches, so that the loop never waits for disk or network."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

from quarterdeck.errors import AppError
from quarterdeck.tasks import spawn

T = TypeVar("T")


class Batches(Generic[T]):
    """Collects items for `seconds`, then gives them to `work` in a thread, one batch at a time. Core loop only.

    `done` hears of each batch: None, or the AppError that `work` raised; then its items are lost. At most `most` items
    wait; the oldest give way, and `lost` counts them until it is read by whoever sets it back.
    """

    def __init__(
        self,
        work: Callable[[list[T]], None],
        *,
        done: Callable[[AppError | None], None],
        name: str,
        seconds: float,
        most: int,
    ) -> None:
        self.lost = 0
        self._work = work
        self._done = done
        self._name = name
        self._seconds = seconds
        self._most = most
        self._waiting: list[T] = []
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    def add(self, item: T) -> None:
        waiting = self._waiting
        waiting.append(item)
        if len(waiting) > self._most:
            surplus = self._most // 10 + 1
            del waiting[:surplus]
            self.lost += surplus
        if self._timer is None and self._task is None:
            self._timer = asyncio.get_running_loop().call_later(self._seconds, self._begin)

    async def close(self) -> None:
        """Hand over what waits, and wait until it is done."""
        if self._timer is not None:
            self._timer.cancel()
            self._begin()
        while self._task is not None:
            await asyncio.wait({self._task})
            if self._timer is not None:
                self._timer.cancel()
                self._begin()

    def _begin(self) -> None:
        self._timer = None
        self._task = spawn(self._hand_over(), name=self._name)

    async def _hand_over(self) -> None:
        batch, self._waiting = self._waiting, []
        try:
            await asyncio.to_thread(self._work, batch)
        except AppError as error:
            self._done(error)
        else:
            self._done(None)
        finally:
            self._task = None
            if self._waiting:
                self._timer = asyncio.get_running_loop().call_later(self._seconds, self._begin)
