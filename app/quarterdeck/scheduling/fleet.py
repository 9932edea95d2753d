"""The models that are loaded: who uses them, and how they end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from typing import Any

from quarterdeck.backends import addresses
from quarterdeck.backends.base import Backend, EngineFailed, ExitReport
from quarterdeck.compatibility.failure import Failure
from quarterdeck.errors import AppError
from quarterdeck.scheduling import failures, residency
from quarterdeck.scheduling.catalog import Catalog
from quarterdeck.scheduling.cooldown import Cooldowns
from quarterdeck.scheduling.queue import Line
from quarterdeck.scheduling.residency import Tenant
from quarterdeck.scheduling.settling import Settling
from quarterdeck.scheduling.state import Load, Loaded, now
from quarterdeck.schemas.models import ModelView, Phase
from quarterdeck.settings import Settings
from quarterdeck.tasks import spawn

LOG_LINES = 200

_log = logging.getLogger(__name__)


class Fleet:
    """The loaded models by name, awake and asleep. Core loop only."""

    def __init__(
        self,
        catalog: Catalog,
        backends: Mapping[str, Backend],
        line: Line,
        settling: Settling,
        cooldowns: Cooldowns,
        *,
        settings: Callable[[], Settings],
        on_backend: Callable[[Backend], None],
        changed: Callable[[], None],
    ) -> None:
        self.catalog = catalog
        self.backends = backends
        self.loaded: dict[str, Loaded] = {}
        self.on_backend = on_backend
        self._line = line
        self._settling = settling
        self._cooldowns = cooldowns
        self._settings = settings
        self._changed = changed

    def on_budget(self, view: ModelView) -> bool:
        """Whether the model takes memory of this machine that can be had back."""
        backend = self.backends.get(view.backend)
        gives_back = backend is None or backend.gives_back(view.name, view.url)
        return gives_back and (view.url is None or self.is_here(view.url))

    def is_here(self, url: str) -> bool:
        """Whether the server at this address shares this machine's memory."""
        try:
            return addresses.is_this_machine(addresses.base_url(url), self._settings().loopback_alias)
        except AppError:
            return False

    def on(self, backend: str) -> list[Loaded]:
        return [loaded for loaded in self.loaded.values() if loaded.backend.name == backend]

    def held(self, name: str) -> Loaded | None:
        """The model if it answers and stays."""
        loaded = self.loaded.get(name)
        return loaded if loaded is not None and loaded.usable else None

    def asleep(self, load: Load) -> Loaded | None:
        """The sleeping model that only has to be woken for this load."""
        loaded = self.loaded.get(load.name)
        sleeps = loaded is not None and loaded.instance.asleep and loaded.ending is None and not loaded.ended
        return loaded if loaded is not None and sleeps and loaded.config == load.config else None

    def policy(self, loaded: Loaded) -> ModelView:
        """The model as the registry knows it now, with the group and so on that a person may have changed."""
        try:
            return self.catalog.get(loaded.name)
        except AppError:
            return loaded.view

    def in_the_way(self, view: ModelView, own_stays: bool = False) -> list[Loaded]:
        """Those that have to go before a model can be loaded: itself too, unless `own_stays`."""
        newcomer = self._tenant_of(view)
        residents = [self._tenant(loaded) for loaded in self.loaded.values()]
        names = set(residency.must_leave(newcomer, residents))
        if not own_stays:
            names.add(view.name)
        return [loaded for loaded in self.loaded.values() if loaded.name in names]

    def compete(self, one: ModelView, other: ModelView) -> bool:
        """Whether the two cannot be loaded at the same time."""
        return not residency.may_live_together(self._tenant_of(one), self._tenant_of(other))

    def enter(self, name: str, overtake_limit: int) -> Loaded | None:
        """A place for one request, to be given back with `leave`; None when the model takes no more of them."""
        loaded = self.loaded.get(name)
        if loaded is None or (loaded.leaving and loaded.overtaken >= overtake_limit):
            return None
        entered = self.place(loaded)
        if entered is not None and loaded.leaving:
            loaded.overtaken += 1
        return entered

    def place(self, loaded: Loaded) -> Loaded | None:
        """A place for a request that waited for this model; None when it is gone already."""
        if not loaded.awake or loaded.closed or loaded.instance.exited.done():
            return None
        loaded.instance.active_requests += 1
        return loaded

    def leave(self, loaded: Loaded) -> None:
        """Give a place back."""
        instance = loaded.instance
        instance.active_requests -= 1
        if instance.active_requests == 0:
            loaded.idle_since = now()
            instance.drained.set()
            self._changed()

    def admit(self, loaded: Loaded) -> None:
        self.loaded[loaded.name] = loaded
        self._changed()

    def watch(self, loaded: Loaded) -> None:
        """Notice when its engine ends; after its success is written, so that a crash comes second."""
        loaded.instance.exited.add_done_callback(lambda future: self._engine_ended(loaded, future.result()))

    def tell(self, load: Load, why: str) -> None:
        """Say what a load waits for."""
        if load.why != why:
            load.why = why
            self._line.update()

    def rest(self, name: str, error: str | None = None) -> None:
        """Publish what a model does when nothing is done with it."""
        loaded = self.loaded.get(name)
        if name in self._line:
            phase = Phase.QUEUED
        elif loaded is None:
            phase = Phase.UNLOADED
        elif loaded.leaving or loaded.ending is not None:
            phase = Phase.UNLOADING
        else:
            phase = Phase.SLEEPING if loaded.instance.asleep else Phase.LOADED
        self.catalog.set_phase(name, phase, error=error)

    async def unload(self, loaded: Loaded) -> None:
        """Unload at once, whoever uses it; returns when it is gone. Raises AppError when its engine keeps it.

        A caller that is cancelled does not keep it from ending.
        """
        while not loaded.ended:
            if loaded.ending is None:
                self._end(loaded, self._unload(loaded))
            await self._wait_end(loaded)

    async def evict(self, loaded: Loaded, newcomer: ModelView | None = None) -> None:
        """Put it to sleep where its engine offers that, else unload it; to make room for `newcomer`.

        What has to leave its place at the engine cannot sleep there.
        """
        place = self._place(loaded.view)
        may_sleep = newcomer is None or place == "" or place != self._place(newcomer)
        if may_sleep and loaded.ending is None and not loaded.ended and not loaded.instance.asleep:
            self._end(loaded, self._sleep_or_unload(loaded, newcomer.name if newcomer else None))
            await self._wait_end(loaded)
        else:
            await self.unload(loaded)

    async def wake(self, loaded: Loaded, timeout: float) -> None:
        """Raises what the engine raises."""
        await loaded.backend.wake(loaded.instance, timeout=timeout)
        loaded.instance.asleep = False
        loaded.loaded_at = loaded.idle_since = now()
        loaded.reopen()
        self.on_backend(loaded.backend)
        self._changed()

    def _end(self, loaded: Loaded, work: Coroutine[Any, Any, None]) -> None:
        loaded.closed = True
        self.catalog.set_phase(loaded.name, Phase.UNLOADING)
        loaded.ending = spawn(work, name=f"end {loaded.name}", awaited=True)

    async def _wait_end(self, loaded: Loaded) -> None:
        if loaded.ending is not None:
            await asyncio.shield(loaded.ending)

    async def _sleep_or_unload(self, loaded: Loaded, newcomer: str | None) -> None:
        try:
            asleep = await loaded.backend.sleep(loaded.instance)
        except (AppError, EngineFailed, OSError) as error:
            _log.warning("%s cannot sleep and is unloaded: %s", loaded.name, error)
            asleep = False
        if not asleep or loaded.instance.exited.done():
            await self._unload(loaded)
            return
        loaded.instance.asleep, loaded.ending = True, None
        loaded.reopen()
        self.rest(loaded.name)
        self.on_backend(loaded.backend)
        _log.info("put %s to sleep", loaded.name)
        for other in self.on(loaded.backend.name):
            if other.instance.asleep and other is not loaded and other.name != newcomer:
                await self.unload(other)

    async def _unload(self, loaded: Loaded) -> None:
        try:
            await loaded.backend.unload(loaded.instance)
        except BaseException:
            if not loaded.ended:
                loaded.ending = None
                loaded.reopen()
                self.rest(loaded.name)
            raise
        self._forget(loaded)
        _log.info("unloaded %s", loaded.name)

    def _forget(self, loaded: Loaded, error: str | None = None) -> None:
        """It is gone."""
        loaded.ended, loaded.closed, loaded.ending = True, True, None
        if self.loaded.get(loaded.name) is loaded:
            del self.loaded[loaded.name]
        loaded.instance.drained.set()
        self.rest(loaded.name, error)
        self.on_backend(loaded.backend)
        self._changed()

    def _engine_ended(self, loaded: Loaded, report: ExitReport) -> None:
        if loaded.ended or loaded.ending is not None:
            return
        if report.asked_for:
            self._forget(loaded)
        elif report.outside is not None or loaded.instance.asleep:
            sentence = report.outside or "Its engine ended while it slept."
            _log.warning("%s is no longer loaded: %s", loaded.name, sentence)
            self._forget(loaded, sentence)
        else:
            self._crashed(loaded, report)

    def _crashed(self, loaded: Loaded, report: ExitReport) -> None:
        name, journal = loaded.name, self.catalog.journal
        log = [line.text for line in loaded.backend.log.tail(LOG_LINES)]
        cause = failures.cause_of_exit(report, log, journal.witness())
        _log.warning("the engine of %s ended: %s", name, cause.sentence)
        if loaded.on_budget:
            self._cooldowns.failed(name)
        else:
            cause = failures.elsewhere(cause)
        self._forget(loaded, cause.sentence)
        failure = Failure(cause, report.exit_code, report.signal, "\n".join(log))
        writing = self._settling.write(name, lambda: journal.crashed_after_load(name, loaded.attempt_id, failure))
        spawn(writing, name=f"crash of {name}")

    def _tenant(self, loaded: Loaded) -> Tenant:
        tenant = self._tenant_of(self.policy(loaded))
        return replace(tenant, holds=loaded.on_budget and not loaded.instance.asleep)

    def _tenant_of(self, view: ModelView) -> Tenant:
        return Tenant(view.name, view.group or "", view.pinned, self.on_budget(view), self._place(view))

    def _place(self, view: ModelView) -> str:
        """The one place at its engine that it needs, where the engine has only one."""
        backend = self.backends.get(view.backend)
        return view.backend if backend is not None and backend.one_at_a_time and view.url is None else ""
