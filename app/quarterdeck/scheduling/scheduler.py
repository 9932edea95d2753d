"""Who holds the machine: loads, unloads, swaps and cancels models. One model is loaded at a time."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from quarterdeck.backends.base import Backend, EngineFailed, EngineRecord, ExitReport, Instance, Target
from quarterdeck.compatibility.failure import Failure
from quarterdeck.errors import AppError
from quarterdeck.registry.parts import read_model
from quarterdeck.scheduling import failures
from quarterdeck.scheduling.catalog import Catalog
from quarterdeck.scheduling.settling import Settling
from quarterdeck.scheduling.state import CancelledByPersonError, Load, Loaded, result
from quarterdeck.schemas.backends import BackendView
from quarterdeck.schemas.jsontext import parse_load_config
from quarterdeck.schemas.models import AttemptView, LoadProgress, LoadResult, ModelView, Phase, Status
from quarterdeck.schemas.system import QueueEntry
from quarterdeck.tasks import spawn

DRAIN_SECONDS = 30.0
CLOSING = "Quarterdeck was closed"

_log = logging.getLogger(__name__)


class Scheduler:
    """Runs the load protocol of the design. Core loop only."""

    def __init__(
        self,
        catalog: Catalog,
        backends: Mapping[str, Backend],
        settling: Settling,
        *,
        hardware: Callable[[], Awaitable[str]],
        on_backend: Callable[[Backend], None],
        load_timeout: Callable[[], float],
    ) -> None:
        self.catalog = catalog
        self.backends = backends
        self._settling = settling
        self._hardware = hardware
        self._on_backend = on_backend
        self._load_timeout = load_timeout
        self._turn = asyncio.Lock()
        self._loads: dict[str, Load] = {}
        self.closing = False
        self._leaving: Loaded | None = None
        self.loaded: Loaded | None = None

    @property
    def queue(self) -> list[QueueEntry]:
        """The loads that run or wait, oldest first."""
        return [QueueEntry(model=name, position=place) for place, name in enumerate(self._loads)]

    async def load(
        self, name: str, *, force: bool = False, load_config: str | dict[str, Any] | None = None
    ) -> LoadResult:
        """Load a model, or join the load under way; returns when it answers.

        Raises AppError: `unknown_model`, `incompatible` (409, unless `force`), or the failure with its diagnosis.
        A caller that goes away does not end the load.
        """
        view = self.catalog.get(name)
        override = None if load_config is None else parse_load_config(load_config)
        if self.closing:
            raise failures.cancelled(view.name, CLOSING)
        held = self._held(view.name)
        if held is not None and override in (None, held.config):
            return result(view, None)
        running = self._loads.get(view.name)
        if running is None:
            if view.status is Status.INCOMPATIBLE and not force:
                raise failures.incompatible(view.name, view.notes)
            running = self._begin(view, parse_load_config(view.load_config) if override is None else override, force)
        assert running.task is not None
        return await asyncio.shield(running.task)

    async def cancel(self, name: str | None = None, *, reason: str = "cancelled by the user") -> None:
        """Cancel one load (or the oldest); returns when its engine is gone. AppError `not_loading` if there is none."""
        load = self._loads.get(self.catalog.get(name).name) if name else next(iter(self._loads.values()), None)
        if load is None:
            what = f"“{name}” is not being loaded." if name else "Nothing is being loaded."
            raise AppError("not_loading", what, "There is nothing to cancel.", status=409)
        self._ask_to_end(load, reason)
        await load.ended.wait()
        if load.succeeded:
            raise AppError(
                "not_loading", f"“{load.view.name}” was ready before its load could be cancelled.",
                "Unload it if you do not need it.", status=409,
            )  # fmt: skip

    async def unload(self, name: str | None = None) -> str:
        """Unload the model and return its name. Raises AppError `not_loaded` (409) when it is not loaded."""
        loaded, wanted = self.loaded, None if name is None else self.catalog.get(name).name
        if loaded is None or wanted not in (None, loaded.view.name):
            raise AppError(
                "not_loaded",
                f"“{name}” is not loaded." if name else "No model is loaded.",
                "There is nothing to unload.",
                status=409,
            )
        async with self._turn:
            if self.loaded is loaded:
                await self._unload(loaded)
        return loaded.view.name

    async def restart(self, backend: str) -> None:
        """Stop a backend's engine and load its model again, as it was loaded before."""
        loaded = self._loaded_on(backend)
        async with self._turn:
            if self.loaded is loaded:
                await self._unload(loaded)
        await self.load(loaded.view.name, force=loaded.forced, load_config=loaded.config)

    async def stop(self, backend: str) -> None:
        await self.unload(self._loaded_on(backend).view.name)

    async def start(self, backend: str) -> None:
        """Load the model that this backend held last. Raises AppError `backend_not_running` if there was none."""
        self._known(backend)
        if self.loaded is not None and self.loaded.backend.name == backend:
            return
        used = [view for view in self.catalog.all() if view.backend == backend and view.last_loaded is not None]
        if not used:
            raise _not_running(self.backends[backend], "Load a model: the backend starts with it.")
        await self.load(max(used, key=lambda view: view.last_loaded or view.created_at).name)

    @contextlib.asynccontextmanager
    async def lease(self, name: str, *, force: bool = False) -> AsyncIterator[Instance]:
        """The loaded instance of a model, loading it first if needed; it is not evicted before the lease ends."""
        loaded = await self._acquire(name, force)
        instance = loaded.instance
        instance.active_requests += 1
        try:
            yield instance
        finally:
            instance.active_requests -= 1
            if instance.active_requests == 0:
                instance.drained.set()

    async def close(self) -> None:
        """Cancel what loads and stop what runs."""
        self.closing = True
        loads = list(self._loads.values())
        for load in loads:
            self._ask_to_end(load, CLOSING)
        for load in loads:
            await load.ended.wait()
        async with self._turn:
            if self.loaded is not None:
                await self._unload(self.loaded)

    async def _acquire(self, name: str, force: bool) -> Loaded:
        while True:
            view = self.catalog.get(name)
            if (held := self._held(view.name)) is not None:
                return held
            await self.load(view.name, force=force)

    def _held(self, name: str) -> Loaded | None:
        """The model called `name` if it is loaded and stays; one that makes room takes no new requests."""
        loaded = self.loaded
        return loaded if loaded is not None and loaded.view.name == name and loaded is not self._leaving else None

    def _ask_to_end(self, load: Load, reason: str) -> None:
        """Cancel the step of a load, once: a second time would cut off the stopping of its engine."""
        if load.cancel_reason is None:
            load.cancel_reason = reason
            if load.step is not None:
                self.catalog.set_phase(load.view.name, Phase.CANCELLING)
                load.step.cancel()

    def _loaded_on(self, backend: str) -> Loaded:
        self._known(backend)
        if self.loaded is None or self.loaded.backend.name != backend:
            raise _not_running(self.backends[backend], "It starts when a model is loaded on it.")
        return self.loaded

    def backend_view(self, name: str) -> BackendView:
        """The state of one backend. Raises AppError `unknown_backend` (404)."""
        loaded = self.loaded
        return self._known(name).view([loaded.instance] if loaded and loaded.backend.name == name else [])

    def _known(self, backend: str) -> Backend:
        if backend not in self.backends:
            raise AppError(
                "unknown_backend", f"There is no backend named “{backend}”.",
                f"Known: {', '.join(self.backends)}.", status=404,
            )  # fmt: skip
        return self.backends[backend]

    def _begin(self, view: ModelView, config: dict[str, Any], forced: bool) -> Load:
        load = Load(view, config, forced)
        self._loads[view.name] = load
        self.catalog.set_phase(view.name, Phase.QUEUED)
        load.task = spawn(self._run(load), name=f"load {view.name}")
        return load

    async def _run(self, load: Load) -> LoadResult:
        name = load.view.name
        error: str | None = None
        try:
            await self._step(load, self._turn.acquire())
            try:
                return await self._protocol(load)
            finally:
                self._turn.release()
        except CancelledByPersonError:
            raise failures.cancelled(name, load.cancel_reason or "") from None
        except AppError as failure:
            error = failure.sentence
            raise
        finally:
            del self._loads[name]
            self.catalog.set_phase(name, self._resting_phase(name), error=error)
            load.ended.set()

    def _resting_phase(self, name: str) -> Phase:
        """What a model does when nothing is done with it."""
        if name in self._loads:
            return Phase.QUEUED
        return Phase.LOADED if self.loaded is not None and self.loaded.view.name == name else Phase.UNLOADED

    async def _protocol(self, load: Load) -> LoadResult:
        """Check, make room, write `testing` ahead, start the engine, write the result."""
        journal, name, backend = self.catalog.journal, load.view.name, self._known(load.view.backend)
        held = self._held(name)
        if held is not None and held.config == load.config:
            return result(self.catalog.get(name), None)
        prepared = await self._prepare(load, backend)
        if isinstance(prepared, Target) and self.loaded is not None:
            await self._make_room(load, self.loaded)
        load.usual_s = await journal.usual_load_seconds(name)
        load.begun = await journal.begin(
            name, backend=backend.name, load_config=load.config, hardware=await self._hardware(), forced=load.forced
        )
        try:
            await self.catalog.refresh(name)
            if not isinstance(prepared, Target):
                raise prepared
            self.catalog.set_phase(name, Phase.LOADING)
            load.started_at = time.monotonic()
            instance = await self._step(load, self._start_engine(load, backend, prepared))
        except CancelledByPersonError:
            await self._settle(load, lambda id_: journal.cancel(id_, load.cancel_reason or ""))
            self._on_backend(backend)
            raise
        except (EngineFailed, AppError, OSError) as failure:
            raise await self._failed(load, failure) from failure
        return await self._succeeded(load, backend, instance)

    async def _prepare(self, load: Load, backend: Backend) -> Target | AppError | OSError:
        """What is to be loaded, or what is wrong with its config or file; found before anything makes room for it."""
        path = Path(load.view.path or "")
        try:
            config = backend.check_config(load.config)
            header = await asyncio.to_thread(read_model, path)
        except (AppError, OSError) as problem:
            return problem
        return Target(load.view.name, path, header.size_bytes, config)

    async def _make_room(self, load: Load, loaded: Loaded) -> None:
        """Let the requests of `loaded` end, for DRAIN_SECONDS at most, then unload it."""
        name = loaded.view.name
        self.catalog.set_phase(name, Phase.UNLOADING)
        self._leaving = loaded
        try:
            await self._step(load, _drain(loaded.instance))
        finally:
            self._leaving = None
            if load.cancel_reason is not None and self.loaded is loaded:
                self.catalog.set_phase(name, self._resting_phase(name))
        if self.loaded is loaded:
            await self._unload(loaded)

    async def _step(self, load: Load, work: Any) -> Any:
        """Run the cancellable part of a load; raises CancelledByPersonError when it was cancelled."""
        if load.cancel_reason is not None:
            work.close()
            raise CancelledByPersonError
        load.step = spawn(work, name=f"step of load {load.view.name}", awaited=True)
        try:
            return await load.step
        except asyncio.CancelledError:
            if load.cancel_reason is None:
                raise
            raise CancelledByPersonError from None
        finally:
            load.step = None

    async def _start_engine(self, load: Load, backend: Backend, target: Target) -> Instance:
        async def started(record: EngineRecord) -> None:
            assert load.begun is not None
            self._on_backend(backend)
            await self.catalog.journal.set_engine(load.begun.attempt_id, record.pid, record.create_time, record.port)

        return await backend.load(
            target,
            timeout=self._load_timeout(),
            progress=lambda stage, fraction: self._progress(load, stage, fraction),
            started=started,
        )

    def _progress(self, load: Load, stage: str, fraction: float | None) -> None:
        elapsed = time.monotonic() - load.started_at
        self.catalog.set_progress(
            load.view.name, LoadProgress(stage=stage, fraction=fraction, elapsed_s=elapsed, usual_s=load.usual_s)
        )

    async def _succeeded(self, load: Load, backend: Backend, instance: Instance) -> LoadResult:
        assert load.begun is not None
        seconds = time.monotonic() - load.started_at
        attempt_id, name = load.begun.attempt_id, load.view.name
        loaded = Loaded(load.view, backend, instance, load.config, load.forced, attempt_id)
        self.loaded, load.succeeded = loaded, True
        await self._settle(load, lambda id_: self.catalog.journal.succeed(id_, seconds))
        self._on_backend(backend)
        _log.info("loaded %s in %.1f s", name, seconds)
        instance.exited.add_done_callback(lambda future: self._engine_ended(loaded, future.result()))
        return result(self.catalog.get(name), seconds)

    async def _failed(self, load: Load, failure: EngineFailed | AppError | OSError) -> AppError:
        cause = failures.cause_of(failure)
        report = failure.exit_report if isinstance(failure, EngineFailed) else None
        tail = "\n".join(failure.log[-200:]) if isinstance(failure, EngineFailed) else ""
        attempt = await self._settle(
            load,
            lambda id_: self.catalog.journal.fail(
                id_,
                Failure(
                    cause,
                    exit_code=report.exit_code if report else None,
                    signal=report.signal if report else None,
                    log_tail=tail,
                ),
            ),
        )
        self._on_backend(self.backends[load.view.backend])
        _log.warning("loading %s failed: %s", load.view.name, cause.sentence)
        return failures.load_error(failure, cause, attempt)

    async def _settle(self, load: Load, write: Callable[[int], Any]) -> AttemptView | None:
        """Write how the attempt ended; a result that cannot be written now is kept and written later."""
        assert load.begun is not None
        attempt_id = load.begun.attempt_id
        return await self._settling.write(load.view.name, lambda: write(attempt_id))

    async def _unload(self, loaded: Loaded) -> None:
        name = loaded.view.name
        self.catalog.set_phase(name, Phase.UNLOADING)
        self.loaded = None
        await loaded.backend.unload(loaded.instance)
        self.catalog.set_phase(name, self._resting_phase(name))
        self._on_backend(loaded.backend)
        _log.info("unloaded %s", name)

    def _engine_ended(self, loaded: Loaded, report: ExitReport) -> None:
        if not report.asked_for and self.loaded is loaded:
            self.loaded = None
            spawn(self._crashed(loaded, report), name=f"crash of {loaded.view.name}")

    async def _crashed(self, loaded: Loaded, report: ExitReport) -> None:
        name = loaded.view.name
        log = [line.text for line in loaded.backend.log.tail(200)]
        cause = failures.cause_of_exit(report, log)
        _log.warning("the engine of %s ended: %s", name, cause.sentence)
        self.catalog.set_phase(name, self._resting_phase(name), error=cause.sentence)
        self._on_backend(loaded.backend)
        await self._settling.write(
            name,
            lambda: self.catalog.journal.crashed_after_load(
                name,
                loaded.attempt_id,
                Failure(cause, exit_code=report.exit_code, signal=report.signal, log_tail="\n".join(log)),
            ),
        )


async def _drain(instance: Instance) -> None:
    """Wait until no request uses `instance`, DRAIN_SECONDS at most."""
    instance.drained.clear()
    if instance.active_requests:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(instance.drained.wait(), DRAIN_SECONDS)


def _not_running(backend: Backend, hint: str) -> AppError:
    return AppError("backend_not_running", f"{backend.title} is not running.", hint, status=409)
