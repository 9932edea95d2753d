"""Who holds the machine: loads, unloads, swaps and cancels models. The public face of the scheduling room."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any

from quarterdeck.backends.base import Backend, Instance
from quarterdeck.scheduling import refusals
from quarterdeck.scheduling.announcing import Announcer
from quarterdeck.scheduling.catalog import Catalog
from quarterdeck.scheduling.cooldown import Cooldowns
from quarterdeck.scheduling.engines import Engines
from quarterdeck.scheduling.fitting import Estimating, Fitting, Memory, held_bytes
from quarterdeck.scheduling.fleet import Fleet
from quarterdeck.scheduling.idle import IdleTimer, idle_limit
from quarterdeck.scheduling.loads import Loads
from quarterdeck.scheduling.protocol import Inspect, Protocol, inspect_file
from quarterdeck.scheduling.queue import Line
from quarterdeck.scheduling.room import Room
from quarterdeck.scheduling.settling import Settling
from quarterdeck.scheduling.state import Load, Loaded, now, result
from quarterdeck.scheduling.yielding import RunningPrograms, Yielding, running_programs
from quarterdeck.schemas.backends import BackendView
from quarterdeck.schemas.jsontext import parse_load_config
from quarterdeck.schemas.models import LoadResult, ModelView, Status
from quarterdeck.schemas.system import QueueEntry
from quarterdeck.settings import Settings
from quarterdeck.storage.events import EventLog
from quarterdeck.tasks import spawn

CLOSING = "Quarterdeck was closed"

_log = logging.getLogger(__name__)


class Scheduler:
    """Decides who lives on this machine's memory. Core loop only; `open` before use, `close` at the end."""

    def __init__(
        self,
        catalog: Catalog,
        backends: Mapping[str, Backend],
        settling: Settling,
        events: EventLog,
        *,
        settings: Callable[[], Settings],
        hardware: Callable[[], Awaitable[str]],
        on_backend: Callable[[Backend], None],
        memory: Memory | None = None,
        estimator: Estimating | None = None,
        inspect: Inspect = inspect_file,
        running_programs: RunningPrograms = running_programs,
    ) -> None:
        self.catalog = catalog
        self.backends = backends
        self._settings = settings
        self._waiting = 0
        self._line = Line(Announcer(catalog, events, lambda: self.queue).soon)
        self._cooldowns = Cooldowns(catalog, lambda: settings().cooldown)
        self._fleet = fleet = Fleet(
            catalog, backends, self._line, settling, self._cooldowns,
            settings=settings, on_backend=on_backend, changed=self._became_idle,
        )  # fmt: skip
        fitting = Fitting(settings, memory, estimator)
        protocol = Protocol(
            fleet, Room(fleet, fitting, settings), fitting, self._cooldowns, settling,
            settings=settings, hardware=hardware, inspect=inspect,
        )  # fmt: skip
        self._loads = Loads(self._line, fleet, protocol)
        self._engines = Engines(fleet, self._line, self._loads, self.load)
        self._idle = IdleTimer(fleet.loaded.values, self._idle_limit, self._unload_idle)
        self._yielding = Yielding(
            self._line, fleet, self._loads, wanted=lambda: settings().yield_to, running=running_programs
        )

    @property
    def loaded(self) -> Mapping[str, Loaded]:
        """The loaded models by name, sleeping ones too."""
        return self._fleet.loaded

    @property
    def queue(self) -> list[QueueEntry]:
        """The loads that run or wait, oldest first."""
        return self._line.entries(now())

    @property
    def closing(self) -> bool:
        return self._loads.closing

    async def open(self) -> None:
        """Take up what an earlier run left, and begin to look for programs to give way to."""
        await self._cooldowns.open()
        self._yielding.update()

    def update(self) -> None:
        """To be called when settings or the policy of a model have changed."""
        self._idle.update()
        self._yielding.update()

    def forgive(self, name: str) -> None:
        """To be called when a person has set the status or the config of a model: it may be tried again at once."""
        self._cooldowns.clear(name)

    async def load(
        self, name: str, *, force: bool = False, load_config: str | dict[str, Any] | None = None
    ) -> LoadResult:
        """Load a model for a person, or join the load under way; returns when it answers.

        Raises AppError: `unknown_model`, `incompatible` (409, unless `force`), or the failure with its diagnosis.
        A caller that goes away does not end the load.
        """
        override = None if load_config is None else parse_load_config(load_config)
        while True:
            view = self.catalog.get(name)
            self._refuse_closing(view)
            held = self._fleet.held(view.name)
            if held is not None and override in (None, held.config):
                return result(view, None)
            load = self._line.get(view.name)
            if load is None:
                self._refuse_incompatible(view, force)
                self._cooldowns.clear(view.name)
                load = self._loads.begin(view, override, forced=force)
            if load.cancel_reason is None:
                return await self._loads.wait_asked(load)
            await load.ended.wait()

    async def cancel(self, name: str | None = None, *, reason: str = "cancelled by the user") -> None:
        """Cancel one load (or the oldest); returns when its engine is gone. AppError `not_loading` if there is none."""
        load = self._line.get(self.catalog.get(name).name) if name else next(iter(self._line), None)
        if load is None:
            raise refusals.not_loading(name)
        self._loads.ask_to_end(load, reason)
        await load.ended.wait()
        if load.loaded is not None:
            raise refusals.ready_already(load.name)

    async def unload(self, name: str | None = None) -> str:
        """Unload a model, or the one loaded last, and return its name. It ends at once, whoever uses it.

        Raises AppError `not_loaded` (409) when it is not loaded.
        """
        wanted = next(reversed(self._fleet.loaded), None) if name is None else self.catalog.get(name).name
        loaded = None if wanted is None else self.loaded.get(wanted)
        if loaded is None:
            raise refusals.nothing_loaded(name)
        await self._fleet.unload(loaded)
        return loaded.name

    @contextlib.asynccontextmanager
    async def lease(self, name: str, *, force: bool = False) -> AsyncIterator[Instance]:
        """The loaded instance of a model, loading it first if needed; it is not evicted before the lease ends.

        Raises AppError as `load` does, and `not_loaded`, `queue_full`, `cooling_down`, `yielded`, `busy` (those of
        status 503 with details["retry_after"], in seconds).
        """
        view = self.catalog.get(name)
        loaded = self.enter(view.name) or await self._wait_for(view.name, force)
        try:
            yield loaded.instance
        finally:
            self.leave(loaded)

    def enter(self, name: str) -> Loaded | None:
        """A place at the model called exactly so, as a lease without waiting; None when it is not to be had at once.

        Whoever got it gives it back with `leave`.
        """
        return self._fleet.enter(name, self._settings().overtake_limit)

    def leave(self, loaded: Loaded) -> None:
        """Give back a place that `enter` gave: from then on the model may be evicted."""
        self._fleet.leave(loaded)

    async def start(self, backend: str) -> None:
        """Start a backend's server, or load the model it held last. AppError `backend_not_running` if there is none."""
        await self._engines.start(backend)

    async def stop(self, backend: str) -> None:
        """Unload all models of a backend and stop its server."""
        await self._engines.stop(backend)

    async def restart(self, backend: str) -> None:
        """Stop a backend and load its models again, as they were loaded before."""
        await self._engines.restart(backend)

    def backend_view(self, name: str) -> BackendView:
        """The state of one backend. Raises AppError `unknown_backend` (404)."""
        return self._engines.view(name)

    def backend_views(self) -> list[BackendView]:
        return [self._engines.view(name) for name in self.backends]

    def evictable_bytes(self, name: str) -> int:
        """The GPU memory, in bytes, that loading this model would free before it begins."""
        return held_bytes(each for each in self._fleet.in_the_way(self.catalog.get(name)) if each.awake)

    async def close(self) -> None:
        """Cancel what loads and stop what runs."""
        self._loads.closing = True
        self._idle.close()
        await self._yielding.close()
        loads = list(self._line)
        for load in loads:
            self._loads.ask_to_end(load, CLOSING)
        for load in loads:
            await load.ended.wait()
        await self._end_all([self._fleet.unload(loaded) for loaded in self.loaded.values()])
        await self._end_all([backend.close() for backend in self.backends.values()])

    async def _wait_for(self, name: str, force: bool) -> Loaded:
        """A place at a model that has to be loaded first."""
        limit = self._settings().queue_limit
        if self._waiting >= limit:
            raise refusals.queue_full(limit, self._line.retry_after(now()))
        self._waiting += 1
        try:
            loaded = None
            while loaded is None:
                load = self._load_for_request(self.catalog.get(name), force)
                if load.cancel_reason is None:
                    loaded = await self._loads.wait_ticket(load)
                else:
                    await load.ended.wait()
                loaded = loaded or self._fleet.enter(name, self._settings().overtake_limit)
            return loaded
        finally:
            self._waiting -= 1

    def _load_for_request(self, view: ModelView, force: bool) -> Load:
        """The load to wait for. Raises AppError where a request alone does not begin one."""
        self._refuse_closing(view)
        load = self._line.get(view.name)
        if load is not None:
            return load
        self._refuse_incompatible(view, force)
        if not self._settings().autostart:
            raise refusals.not_loaded(view.name)
        if self._yielding.program is not None and self._fleet.on_budget(view):
            raise refusals.yielded(view.name, self._yielding.program)
        if force:
            self._cooldowns.clear(view.name)
        elif seconds := self._cooldowns.seconds_left(view.name):
            raise refusals.cooling_down(view.name, seconds)
        return self._loads.begin(view, None, forced=force)

    def _refuse_closing(self, view: ModelView) -> None:
        if self.closing:
            raise refusals.cancelled(view.name, CLOSING)

    def _refuse_incompatible(self, view: ModelView, force: bool) -> None:
        if view.status is Status.INCOMPATIBLE and not force:
            raise refusals.incompatible(view.name, view.notes)

    def _idle_limit(self, loaded: Loaded) -> float | None:
        view = self._fleet.policy(loaded)
        return idle_limit(view.pinned, view.idle_timeout, self._settings().idle_timeout)

    def _unload_idle(self, loaded: Loaded) -> None:
        _log.info("%s is unloaded: nobody used it for a while", loaded.name)
        spawn(self._end_all([self._fleet.unload(loaded)]), name=f"unload idle {loaded.name}")

    def _became_idle(self) -> None:
        self._idle.update()

    async def _end_all(self, ends: Sequence[Coroutine[Any, Any, None]]) -> None:
        """Let all of them end; what goes wrong is logged, for there is nobody to tell."""
        for outcome in await asyncio.gather(*ends, return_exceptions=True):
            if isinstance(outcome, BaseException):
                _log.warning("an engine did not end in order: %s", outcome)
