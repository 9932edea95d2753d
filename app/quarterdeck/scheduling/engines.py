"""Backends as a person handles them: start, stop, restart, and how they look."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from quarterdeck.backends.base import Backend
from quarterdeck.errors import AppError
from quarterdeck.scheduling import refusals
from quarterdeck.scheduling.fleet import Fleet
from quarterdeck.scheduling.loads import Loads
from quarterdeck.scheduling.queue import Line
from quarterdeck.schemas.backends import BackendState, BackendView
from quarterdeck.schemas.models import LoadResult

STOPPED = "its backend was stopped"


class Engines:
    """Acts on a backend and all models on it. Core loop only."""

    def __init__(self, fleet: Fleet, line: Line, loads: Loads, load: Callable[..., Awaitable[LoadResult]]) -> None:
        self._fleet = fleet
        self._line = line
        self._loads = loads
        self._load = load

    def view(self, name: str) -> BackendView:
        """Raises AppError `unknown_backend` (404)."""
        loaded = self._fleet.on(self._known(name).name)
        view = self._known(name).view([each.instance for each in loaded])
        if view.state is BackendState.RUNNING and any(each.leaving for each in loaded):
            view.state = BackendState.SWITCHING
        return view

    async def start(self, name: str) -> None:
        """Start the server; an engine without one loads the model it held last."""
        backend = self._known(name)
        if self._fleet.on(name):
            return
        try:
            await backend.start()
        except AppError as error:
            used = [view for view in self._fleet.catalog.all() if view.backend == name and view.last_loaded]
            if error.code != refusals.NOT_RUNNING or not used:
                raise
            await self._load(max(used, key=lambda view: view.last_loaded or view.created_at).name)
        self._fleet.on_backend(backend)

    async def stop(self, name: str) -> None:
        """End its loads and its models, then its server. Raises AppError `backend_not_running` (409)."""
        backend = self._known(name)
        loads = [load for load in self._line if load.view.backend == name]
        loaded = self._fleet.on(name)
        if not loads and not loaded and "stop" not in backend.view([]).actions:
            raise refusals.not_running(backend.title, "It starts when a model is loaded on it.")
        for load in loads:
            self._loads.ask_to_end(load, STOPPED)
        for load in loads:
            await load.ended.wait()
        await asyncio.gather(*(self._fleet.unload(each) for each in self._fleet.on(name)))
        await backend.stop()
        self._fleet.on_backend(backend)

    async def restart(self, name: str) -> None:
        """Raises AppError `backend_not_running` (409), or the first failure of its models."""
        loaded = self._fleet.on(self._known(name).name)
        await self.stop(name)
        if not loaded:
            await self.start(name)
        for each in loaded:
            await self._load(each.name, force=each.forced, load_config=each.config)

    def _known(self, name: str) -> Backend:
        if name not in self._fleet.backends:
            raise refusals.unknown_backend(name, list(self._fleet.backends))
        return self._fleet.backends[name]
