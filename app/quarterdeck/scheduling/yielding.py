"""Giving way to other programs: while one of them runs, models on this machine's memory sleep or are unloaded."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable

import psutil

from quarterdeck.errors import AppError
from quarterdeck.scheduling import refusals
from quarterdeck.scheduling.fleet import Fleet
from quarterdeck.scheduling.loads import Loads
from quarterdeck.scheduling.queue import Line
from quarterdeck.scheduling.state import Loaded
from quarterdeck.schemas.models import Phase
from quarterdeck.tasks import spawn

LOOK_SECONDS = 5.0

RunningPrograms = Callable[[], Awaitable[Collection[str]]]

_log = logging.getLogger(__name__)


async def running_programs() -> set[str]:
    """The names of the programs that run on this machine."""
    return await asyncio.to_thread(_names)


def _names() -> set[str]:
    return {process.info["name"] for process in psutil.process_iter(["name"]) if process.info["name"]}


def first_running(wanted: Iterable[str], running: Collection[str]) -> str | None:
    """The first of the `wanted` programs that runs; upper and lower case and a final .exe do not matter."""
    known = {_plain(name) for name in running}
    return next((name for name in wanted if name.strip() and _plain(name) in known), None)


def _plain(name: str) -> str:
    return name.strip().casefold().removesuffix(".exe")


class Yielding:
    """Looks for the programs while there are any to look for. Core loop only."""

    def __init__(
        self,
        line: Line,
        fleet: Fleet,
        loads: Loads,
        *,
        wanted: Callable[[], list[str]],
        running: RunningPrograms = running_programs,
    ) -> None:
        self.program: str | None = None
        self._line = line
        self._fleet = fleet
        self._loads = loads
        self._wanted = wanted
        self._running = running
        self._watching: asyncio.Task[None] | None = None
        self._clearing: asyncio.Task[None] | None = None
        self._gave_way: list[Loaded] = []

    def update(self) -> None:
        """To be called at the start and when the settings have changed."""
        if self._wanted() and self._watching is None:
            self._watching = spawn(self._watch(), name="look for programs to give way to")

    async def close(self) -> None:
        for task in (self._watching, self._clearing):
            if task is not None:
                task.cancel()
                await asyncio.wait([task])

    async def _watch(self) -> None:
        try:
            while wanted := self._wanted():
                self._found(first_running(wanted, await self._running()))
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            self._watching = None
        self._found(None)

    def _found(self, program: str | None) -> None:
        begins, ends = self.program is None and program is not None, self.program is not None and program is None
        self.program = program
        if begins:
            _log.info("models give way to %s", program)
            self._end_loads()
            self._clearing = spawn(self._clear(), name="give way")
        elif ends:
            _log.info("models come back")
            if self._clearing is not None:
                self._clearing.cancel()
            self._loads.restore(self._gave_way)
            self._gave_way = []

    def _end_loads(self) -> None:
        """End the loads that no person wants."""
        for load in self._line:
            if load.on_budget and not load.asked.is_set():
                refusal = refusals.yielded(load.name, self.program or "")
                self._loads.ask_to_end(load, f"{self.program} was started", refusal)

    async def _clear(self) -> None:
        leaving = [each for each in self._fleet.loaded.values() if each.on_budget and each.usable]
        await asyncio.gather(*(self._leave(each) for each in leaving))

    async def _leave(self, loaded: Loaded) -> None:
        """Let the requests end, however long they take, then sleep or unload."""
        loaded.closed = True
        self._fleet.catalog.set_phase(loaded.name, Phase.UNLOADING)
        try:
            await loaded.drain()
            if not loaded.ended:
                await self._fleet.evict(loaded)
                self._gave_way.append(loaded)
        except AppError as error:
            _log.warning("%s does not give way: %s", loaded.name, error.sentence)
        finally:
            if loaded.ending is None and not loaded.ended and loaded.awake:
                loaded.reopen()
                self._fleet.rest(loaded.name)
