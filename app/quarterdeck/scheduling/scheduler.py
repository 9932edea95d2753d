"""Who holds the machine: loads, unloads, swaps and cancels models. One model is loaded at a time."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from quarterdeck.backends.base import Backend, EngineFailed, EngineRecord, ExitReport, Instance, Target
from quarterdeck.compatibility.journal import Begun
from quarterdeck.errors import AppError
from quarterdeck.registry.parts import read_model
from quarterdeck.scheduling import failures
from quarterdeck.scheduling.catalog import Catalog
from quarterdeck.scheduling.settling import Settling
from quarterdeck.schemas.backends import BackendView
from quarterdeck.schemas.jsontext import parse_load_config
from quarterdeck.schemas.models import AttemptView, LoadProgress, LoadResult, ModelView, Phase, Status
from quarterdeck.tasks import spawn

DRAIN_SECONDS = 30.0
CLOSING = "Quarterdeck was closed"

_log = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class Load:
    """One load under way. `step` is the part that a cancel may interrupt."""

    view: ModelView
    config: dict[str, Any]
    forced: bool
    step: asyncio.Task[Any] | None = None
    task: asyncio.Task[LoadResult] | None = None
    begun: Begun | None = None
    started_at: float = field(default_factory=time.monotonic)
    usual_s: float | None = None
    cancel_reason: str | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True, slots=True)
class Loaded:
    """The model that holds the machine."""

    view: ModelView
    backend: Backend
    instance: Instance
    config: dict[str, Any]
    forced: bool
    attempt_id: int


class _CancelledByPersonError(Exception):
    """A step of a load ended because somebody cancelled the load."""


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
        self._closing = False
        self.loaded: Loaded | None = None

    @property
    def queue(self) -> list[str]:
        """Names of the models that load or wait to, oldest first."""
        return list(self._loads)

    async def load(
        self, name: str, *, force: bool = False, load_config: str | dict[str, Any] | None = None
    ) -> LoadResult:
        """Load a model, or join the load under way; returns when it answers.

        Raises AppError: `unknown_model`, `incompatible` (409, unless `force`), or the failure with its diagnosis.
        A caller that goes away does not end the load.
        """
        view = self.catalog.get(name)
        override = None if load_config is None else parse_load_config(load_config)
        if self._closing:
            raise failures.cancelled(view.name, CLOSING)
        if self.loaded is not None and self.loaded.view.name == view.name and override in (None, self.loaded.config):
            return _result(self.catalog.get(view.name), None)
        running = self._loads.get(view.name)
        if running is None:
            if view.status is Status.INCOMPATIBLE and not force:
                raise failures.incompatible(view.name, view.notes)
            running = self._begin(view, parse_load_config(view.load_config) if override is None else override, force)
        assert running.task is not None
        return await asyncio.shield(running.task)

    async def cancel(self, name: str | None = None, *, reason: str = "cancelled by the user") -> None:
        """Cancel one load (or the oldest); returns when its engine is gone. AppError `not_loading` if there is none."""
        load = self._loads.get(name) if name else next(iter(self._loads.values()), None)
        if load is None:
            raise AppError("not_loading", "Nothing is being loaded.", "There is nothing to cancel.", status=409)
        load.cancel_reason = load.cancel_reason or reason
        if load.step is not None:
            self.catalog.set_phase(load.view.name, Phase.CANCELLING)
            load.step.cancel()
        await load.ended.wait()

    async def unload(self, name: str | None = None) -> str:
        """Unload the model and return its name. Raises AppError `not_loaded` (409) when it is not loaded."""
        loaded = self.loaded
        if loaded is None or (name is not None and loaded.view.name != self.catalog.get(name).name):
            raise AppError(
                "not_loaded",
                f"“{name}” is not loaded." if name else "No model is loaded.",
                "There is nothing to unload.",
                status=409,
            )
        async with self._turn:
            if self.loaded is loaded:
                await self._unload(loaded, drain=0.0)
        return loaded.view.name

    async def restart(self, backend: str) -> None:
        """Stop a backend's engine and load its model again, as it was loaded before."""
        loaded = self._loaded_on(backend)
        async with self._turn:
            if self.loaded is loaded:
                await self._unload(loaded, drain=0.0)
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
        self._closing = True
        for load in list(self._loads.values()):
            with contextlib.suppress(AppError):
                await self.cancel(load.view.name, reason=CLOSING)
        async with self._turn:
            if self.loaded is not None:
                await self._unload(self.loaded, drain=0.0)

    async def _acquire(self, name: str, force: bool) -> Loaded:
        while True:
            view = self.catalog.get(name)
            if self.loaded is not None and self.loaded.view.name == view.name:
                return self.loaded
            await self.load(view.name, force=force)

    def _loaded_on(self, backend: str) -> Loaded:
        self._known(backend)
        if self.loaded is None or self.loaded.backend.name != backend:
            raise _not_running(self.backends[backend], "It starts when a model is loaded on it.")
        return self.loaded

    def backend_view(self, name: str) -> BackendView:
        """The state of one backend. Raises AppError `unknown_backend` (404)."""
        loaded = self.loaded
        return self._known(name).view(loaded.instance if loaded and loaded.backend.name == name else None)

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
        except _CancelledByPersonError:
            raise failures.cancelled(name, load.cancel_reason or "") from None
        except AppError as failure:
            error = failure.sentence
            raise
        finally:
            del self._loads[name]
            if self.loaded is None or self.loaded.view.name != name:
                self.catalog.set_phase(name, Phase.UNLOADED, error=error)
            load.ended.set()

    async def _protocol(self, load: Load) -> LoadResult:
        """Unload what is loaded, write `testing` ahead, start the engine, write the result."""
        if self.loaded is not None:
            await self._unload(self.loaded, drain=DRAIN_SECONDS)
        journal, name, backend = self.catalog.journal, load.view.name, self.backends[load.view.backend]
        load.usual_s = await journal.usual_load_seconds(name)
        load.begun = await journal.begin(
            name, backend=backend.name, load_config=load.config, hardware=await self._hardware(), forced=load.forced
        )
        await self.catalog.refresh(name)
        self.catalog.set_phase(name, Phase.LOADING)
        load.started_at = time.monotonic()
        try:
            instance = await self._step(load, self._start_engine(load, backend))
        except _CancelledByPersonError:
            await self._settle(load, lambda id_: journal.cancel(id_, load.cancel_reason or ""))
            self._on_backend(backend)
            raise
        except (EngineFailed, AppError, OSError) as failure:
            raise await self._failed(load, failure) from failure
        return await self._succeeded(load, backend, instance)

    async def _step(self, load: Load, work: Any) -> Any:
        """Run the cancellable part of a load; raises _CancelledByPersonError when it was cancelled."""
        if load.cancel_reason is not None:
            work.close()
            raise _CancelledByPersonError
        load.step = spawn(work, name=f"step of load {load.view.name}", awaited=True)
        try:
            return await load.step
        except asyncio.CancelledError:
            if load.cancel_reason is None:
                raise
            raise _CancelledByPersonError from None
        finally:
            load.step = None

    async def _start_engine(self, load: Load, backend: Backend) -> Instance:
        config = backend.check_config(load.config)
        path = Path(load.view.path or "")
        header = await asyncio.to_thread(read_model, path)
        target = Target(load.view.name, path, header.size_bytes, config)

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
        self.loaded = loaded
        await self._settle(load, lambda id_: self.catalog.journal.succeed(id_, seconds))
        if self.loaded is loaded:
            self.catalog.set_phase(name, Phase.LOADED)
        self._on_backend(backend)
        _log.info("loaded %s in %.1f s", name, seconds)
        instance.exited.add_done_callback(lambda future: self._engine_ended(loaded, future.result()))
        return _result(self.catalog.get(name), seconds)

    async def _failed(self, load: Load, failure: EngineFailed | AppError | OSError) -> AppError:
        cause = failures.cause_of(failure)
        report = failure.exit_report if isinstance(failure, EngineFailed) else None
        tail = "\n".join(failure.log[-200:]) if isinstance(failure, EngineFailed) else ""
        attempt = await self._settle(
            load,
            lambda id_: self.catalog.journal.fail(
                id_,
                cause,
                exit_code=report.exit_code if report else None,
                signal=report.signal if report else None,
                log_tail=tail,
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

    async def _unload(self, loaded: Loaded, *, drain: float) -> None:
        instance, name = loaded.instance, loaded.view.name
        self.catalog.set_phase(name, Phase.UNLOADING)
        if instance.active_requests and drain:
            instance.drained.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(instance.drained.wait(), drain)
        self.loaded = None
        await loaded.backend.unload(instance)
        self.catalog.set_phase(name, Phase.UNLOADED)
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
        self.catalog.set_phase(name, Phase.UNLOADED, error=cause.sentence)
        self._on_backend(loaded.backend)
        await self._settling.write(
            name,
            lambda: self.catalog.journal.crashed_after_load(
                name,
                loaded.attempt_id,
                cause,
                exit_code=report.exit_code,
                signal=report.signal,
                log_tail="\n".join(log),
            ),
        )


def _not_running(backend: Backend, hint: str) -> AppError:
    return AppError("backend_not_running", f"{backend.title} is not running.", hint, status=409)


def _result(view: ModelView, seconds: float | None) -> LoadResult:
    took = "" if seconds is None else f" in {seconds:.1f} s"
    return LoadResult(
        message=f"{view.name} is loaded{took}.",
        model_id=view.served_name,
        model_name=view.name,
        parameter_count=view.parameter_count,
        model_type=view.architecture,
        compatibility_status=view.status,
        load_seconds=seconds,
    )
