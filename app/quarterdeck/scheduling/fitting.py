"""Memory as the scheduler sees it: whether a load fits, whether memory is free again, and what a load really took."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol

from quarterdeck.errors import AppError
from quarterdeck.scheduling import refusals
from quarterdeck.scheduling.state import Load, Loaded
from quarterdeck.schemas.estimate import Estimate, Verdict
from quarterdeck.schemas.hardware import GpuProcess
from quarterdeck.schemas.models import CauseKind, ModelView
from quarterdeck.settings import Settings

GIB = 1024**3

_log = logging.getLogger(__name__)


class Memory(Protocol):
    """The GPU memory of this machine, in bytes."""

    async def free_bytes(self) -> int | None:
        """None where there is no GPU that tells."""

    async def holders(self) -> list[GpuProcess]: ...

    async def wait_released(self, pids: Collection[int], *, timeout: float) -> bool:
        """Whether the processes and their descendants gave their memory back; waits for it."""


class Estimating(Protocol):
    """Tells beforehand what a load will take, and learns from what it took."""

    async def estimate(self, view: ModelView, load_config: Mapping[str, Any], *, freed_bytes: int = 0) -> Estimate: ...

    async def learn(
        self, view: ModelView, load_config: Mapping[str, Any], log_lines: Sequence[str], vram_bytes: int | None
    ) -> None: ...


class Fitting:
    """Asks the memory and the estimator, where they are given."""

    def __init__(
        self, settings: Callable[[], Settings], memory: Memory | None = None, estimator: Estimating | None = None
    ) -> None:
        self._settings = settings
        self._memory = memory
        self._estimator = estimator

    async def check(self, load: Load, config: Mapping[str, Any], freed_bytes: int) -> None:
        """Estimate the load. Raises AppError `does_not_fit` (507) when it is too big, unless it is forced."""
        if self._estimator is None:
            return
        try:
            load.estimate = await self._estimator.estimate(load.view, config, freed_bytes=freed_bytes)
        except AppError as error:
            _log.info("there is no estimate for %s: %s", load.name, error.sentence)
            return
        if load.estimate.verdict is Verdict.TOO_BIG and not load.forced:
            raise refusals.does_not_fit(load.name, load.estimate)

    async def free_bytes(self) -> int | None:
        """What a load may take now: the reserve for the desktop is not part of it."""
        free = None if self._memory is None else await self._memory.free_bytes()
        return None if free is None else max(0, free - self._reserve_bytes())

    async def wait_released(self, pids: Collection[int]) -> None:
        """Raises AppError `memory_not_released` (507), which names who holds the memory."""
        if self._memory is None:
            return
        timeout = self._settings().release_timeout
        if not await self._memory.wait_released(pids, timeout=timeout):
            raise refusals.memory_not_released(timeout, await self._memory.holders())

    async def learn(self, loaded: Loaded, log_lines: Sequence[str]) -> None:
        """Measure what a load took, and let the estimator learn from it."""
        loaded.vram_bytes = await self._measure(loaded)
        if self._estimator is None:
            return
        try:
            await self._estimator.learn(loaded.view, loaded.config, log_lines, loaded.vram_bytes)
        except AppError as error:
            _log.warning("nothing is learned from the load of %s: %s", loaded.name, error.sentence)

    async def _measure(self, loaded: Loaded) -> int | None:
        if self._memory is None:
            return None
        sizes = [
            process.memory_bytes
            for process in await self._memory.holders()
            if process.model == loaded.name or process.pid in loaded.instance.pids
        ]
        return sum(size for size in sizes if size is not None) or None

    def _reserve_bytes(self) -> int:
        return int(self._settings().desktop_reserve * GIB)


def exceeds_card(load: Load, kind: CauseKind) -> bool:
    """Whether a load that ran out of memory needs more than the card has in total."""
    estimate = load.estimate
    if kind is not CauseKind.CAPACITY or estimate is None or estimate.card_bytes is None:
        return False
    return estimate.total_bytes > estimate.card_bytes


def held_bytes(leaving: Iterable[Loaded]) -> int:
    """The GPU memory that these models were measured to hold."""
    return sum(loaded.vram_bytes or 0 for loaded in leaving)
