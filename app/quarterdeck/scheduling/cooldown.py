"""Leaving a model alone after it failed, for a time that grows with every failure in a row."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from quarterdeck.compatibility.failure import Pause
from quarterdeck.errors import AppError
from quarterdeck.scheduling.catalog import Catalog
from quarterdeck.tasks import spawn

LONGEST = 3600.0

_log = logging.getLogger(__name__)


def utc_now() -> datetime:
    """Pauses outlive us, so that they are kept by the wall clock."""
    return datetime.now(UTC)


def pause_seconds(base: float, failures: int) -> float:
    """How long a model is left alone after so many failures in a row: `base` seconds, doubled each time."""
    if failures < 1 or base <= 0:
        return 0.0
    doublings = min(failures - 1, 64)
    return min(base * 2.0**doublings, LONGEST)


class Cooldowns:
    """How long each model is left alone; on disk too, so that a restart does not begin anew. Core loop only."""

    def __init__(self, catalog: Catalog, base: Callable[[], float]) -> None:
        self._catalog = catalog
        self._base = base
        self._pauses: dict[str, Pause] = {}

    async def open(self) -> None:
        """Read what an earlier run left."""
        self._pauses = await self._catalog.journal.pauses()
        for name, pause in self._pauses.items():
            self._catalog.set_cooldown(name, pause.until)

    def seconds_left(self, name: str) -> int:
        """For how many seconds the model is still left alone; 0 when it may be loaded."""
        pause = self._pauses.get(name)
        left = 0.0 if pause is None else (pause.until - utc_now()).total_seconds()
        return max(0, math.ceil(left))

    def failed(self, name: str) -> None:
        earlier = self._pauses.get(name)
        failures = 1 if earlier is None else earlier.failures + 1
        seconds = pause_seconds(self._base(), failures)
        self._set(name, Pause(failures, utc_now() + timedelta(seconds=seconds)))

    def clear(self, name: str) -> None:
        """The model was loaded, or a person wants it loaded."""
        if name in self._pauses:
            self._set(name, None)

    def _set(self, name: str, pause: Pause | None) -> None:
        if pause is None:
            del self._pauses[name]
        else:
            self._pauses[name] = pause
        self._catalog.set_cooldown(name, pause.until if pause is not None else None)
        spawn(self._save(name, pause), name=f"save the pause of {name}")

    async def _save(self, name: str, pause: Pause | None) -> None:
        try:
            await self._catalog.journal.set_pause(name, pause)
        except AppError as error:
            _log.warning("how long %s is left alone is not saved: %s", name, error.sentence)
