"""Making room for a load: whoever may not stay is let finish and unloaded, and the memory is seen to be free."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

from quarterdeck.backends.base import Backend, EngineFailed, Resident
from quarterdeck.errors import AppError
from quarterdeck.scheduling import refusals
from quarterdeck.scheduling.fitting import Fitting, held_bytes
from quarterdeck.scheduling.fleet import Fleet
from quarterdeck.scheduling.state import Load, Loaded, now
from quarterdeck.schemas.models import Phase
from quarterdeck.settings import Settings

DRAIN_SECONDS = 30.0
ASK_SECONDS = 5.0

_log = logging.getLogger(__name__)


class Foreign(NamedTuple):
    """A model in memory that somebody else loaded."""

    backend: Backend
    resident: Resident


class Room:
    """Makes room, one load at a time. Core loop only."""

    def __init__(self, fleet: Fleet, fitting: Fitting, settings: Callable[[], Settings]) -> None:
        self._fleet = fleet
        self._fitting = fitting
        self._settings = settings

    async def foreign(self, load: Load) -> list[Foreign]:
        """What others loaded into this machine's memory; the model that is wanted may stay where it is."""
        if not load.on_budget:
            return []
        # Those that end while the servers are asked are ours all the same.
        ours = list(self._fleet.loaded.values())
        backends = [backend for backend in self._fleet.backends.values() if backend.uses_memory]
        answers = await asyncio.gather(*(_residents(backend) for backend in backends))
        found = [Foreign(backend, each) for backend, held in zip(backends, answers, strict=True) for each in held]
        return [each for each in found if self._fleet.is_here(each.resident.url) and not _is_known(each, load, ours)]

    def would_free(self, load: Load, foreign: Sequence[Foreign]) -> int:
        """The GPU memory, in bytes, that making room gives back as far as it is known."""
        ours = held_bytes(each for each in self._in_the_way(load) if each.awake)
        return ours + sum(each.resident.vram_bytes or 0 for each in foreign)

    async def make(self, load: Load, foreign: Sequence[Foreign]) -> None:
        """Raises AppError: `held_by_other`, `busy`, `not_released` or `memory_not_released`; may be cancelled."""
        if load.restores and load.unwanted and (foreign or self._in_the_way(load)):
            raise refusals.cancelled(load.name, "another model took its place")
        for each in foreign:
            await self._release(load, each)
        await self._let_stay(load)
        leaving = self._in_the_way(load)
        pids = {pid for each in leaving if each.on_budget for pid in each.instance.pids}
        try:
            await self._drain(load, leaving)
            await self._evict(load, leaving)
        except BaseException:
            self._reopen(leaving)
            raise
        stayed = {pid for each in self._fleet.loaded.values() for pid in each.instance.pids}
        if foreign or any(each.on_budget for each in leaving):
            self._fleet.tell(load, "Waits until the memory is free.")
            await self._fitting.wait_released(pids - stayed)

    def _in_the_way(self, load: Load) -> list[Loaded]:
        return self._fleet.in_the_way(load.view, own_stays=self._fleet.asleep(load) is not None)

    async def _release(self, load: Load, foreign: Foreign) -> None:
        """Ask a server to give up what somebody else loaded there."""
        backend, resident = foreign
        self._fleet.tell(load, f"Waits until {backend.title} has unloaded “{resident.served_id}”.")
        if await backend.release(resident):
            _log.info("%s unloaded %s, which somebody else had loaded", backend.title, resident.served_id)
        elif load.forced:
            _log.warning("%s keeps %s; %s is loaded beside it", backend.title, resident.served_id, load.name)
        else:
            raise refusals.held_by_other(load.name, backend.title, resident)

    async def _let_stay(self, load: Load) -> None:
        """Wait until those in the way have had their shortest stay; a person need not wait for it."""
        stays = [each.loaded_at for each in self._in_the_way(load) if each.usable]
        seconds = max(stays, default=0.0) + self._settings().minimum_residence - now()
        if not stays or seconds <= 0:
            return
        self._fleet.tell(load, "Waits until the loaded model had its shortest stay.")
        try:
            async with asyncio.timeout(seconds):
                await load.asked.wait()
        except TimeoutError:
            return

    async def _drain(self, load: Load, leaving: Sequence[Loaded]) -> None:
        """Let the requests of those who leave end; new ones are taken only as far as they may overtake."""
        for each in leaving:
            each.leaving = True
            self._fleet.catalog.set_phase(each.name, Phase.UNLOADING)
        self._fleet.tell(load, f"Waits until “{leaving[0].name}” has answered." if leaving else "")
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                await asyncio.gather(*(each.drain() for each in leaving))
        except TimeoutError:
            holders = [(each.name, each.instance.active_requests) for each in leaving if each.instance.active_requests]
            raise refusals.busy(load.name, holders, DRAIN_SECONDS) from None

    def _reopen(self, leaving: Sequence[Loaded]) -> None:
        """Those who are not on their way out yet stay."""
        for each in leaving:
            if each.ending is None and not each.ended:
                each.reopen()
                self._fleet.rest(each.name)

    async def _evict(self, load: Load, leaving: Sequence[Loaded]) -> None:
        """Raises the first error, after all have ended or refused to."""
        self._fleet.tell(load, f"Waits until “{leaving[0].name}” is unloaded." if leaving else "")
        outcomes = await asyncio.gather(*(self._evict_one(load, each) for each in leaving), return_exceptions=True)
        for outcome in outcomes:
            if outcome is not None:
                raise outcome

    async def _evict_one(self, load: Load, leaving: Loaded) -> None:
        if leaving.name == load.name:
            await self._fleet.unload(leaving)
        else:
            await self._fleet.evict(leaving, load.view)
        load.evicted.append(leaving)


def _is_known(foreign: Foreign, load: Load, ours: Sequence[Loaded]) -> bool:
    """Whether it is one of ours, or the very model that is to be loaded."""
    backend, resident = foreign
    if backend.name == load.view.backend and _same_id(resident.served_id, load.view.served_name):
        return True
    return any(
        each.backend is backend
        and _same_id(resident.served_id, each.instance.served_id or each.name)
        and _same_server(resident.url, each.instance.base_url)
        for each in ours
    )


async def _residents(backend: Backend) -> list[Resident]:
    """What the servers of a backend hold; one that cannot say does not keep others from being loaded."""
    try:
        async with asyncio.timeout(ASK_SECONDS):
            return await backend.residents()
    except (AppError, EngineFailed, OSError, TimeoutError) as error:
        _log.warning("%s does not say what it holds in memory: %s", backend.title, error or type(error).__name__)
        return []


def _same_id(one: str, other: str) -> bool:
    """Ollama leaves out the tag “latest” at will."""
    return one.removesuffix(":latest") == other.removesuffix(":latest")


def _same_server(one: str, other: str) -> bool:
    return one.rstrip("/").removesuffix("/v1") == other.rstrip("/").removesuffix("/v1")
