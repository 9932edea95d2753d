"""One load from its turn to its end: prepare, make room, write ahead, start, write the result."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from quarterdeck.backends.base import Backend, EngineFailed, EngineRecord, Instance, Target
from quarterdeck.compatibility.failure import Failure
from quarterdeck.errors import AppError
from quarterdeck.registry.parts import read_model
from quarterdeck.scheduling import failures, refusals
from quarterdeck.scheduling.cooldown import Cooldowns
from quarterdeck.scheduling.fitting import Fitting, exceeds_card
from quarterdeck.scheduling.fleet import LOG_LINES, Fleet
from quarterdeck.scheduling.queue import load_timeout
from quarterdeck.scheduling.room import Room
from quarterdeck.scheduling.settling import Settling
from quarterdeck.scheduling.state import CancelledByPersonError, Load, Loaded, now, result
from quarterdeck.schemas.models import AttemptView, LoadProgress, LoadResult, ModelView, Phase
from quarterdeck.settings import Settings
from quarterdeck.tasks import spawn

Inspect = Callable[[ModelView], Awaitable[tuple[Path | None, int | None]]]
"""Finds the file or folder of a model and its size in bytes; raises AppError or OSError for one that is no good."""

Problem = EngineFailed | AppError | OSError

_log = logging.getLogger(__name__)


async def inspect_file(view: ModelView) -> tuple[Path | None, int | None]:
    """A GGUF file is read, a folder is left to its engine, and a model on a server has no file."""
    if view.path is None:
        return None, None
    return await asyncio.to_thread(_inspect, Path(view.path))


def _inspect(path: Path) -> tuple[Path, int | None]:
    return (path, None) if path.is_dir() else (path, read_model(path).size_bytes)


class Protocol:
    """Runs loads; what it does with one is told by the fields of Load. Core loop only."""

    def __init__(
        self,
        fleet: Fleet,
        room: Room,
        fitting: Fitting,
        cooldowns: Cooldowns,
        settling: Settling,
        *,
        settings: Callable[[], Settings],
        hardware: Callable[[], Awaitable[str]],
        inspect: Inspect,
    ) -> None:
        self._fleet = fleet
        self._room = room
        self._fitting = fitting
        self._cooldowns = cooldowns
        self._settling = settling
        self._settings = settings
        self._hardware = hardware
        self._inspect = inspect
        self._catalog = fleet.catalog
        self._journal = fleet.catalog.journal

    async def run(self, load: Load) -> LoadResult:
        """Raises CancelledByPersonError, or AppError with what went wrong."""
        load.usual_s = await self._journal.usual_load_seconds(load.name)
        if load.on_budget:
            await load.run_step(load.turn.wait())
        if load.view.backend not in self._fleet.backends:
            raise refusals.unknown_backend(load.view.backend, list(self._fleet.backends))
        held = self._fleet.held(load.name)
        if held is not None and held.config == load.config:
            load.loaded = held
            return result(self._catalog.get(load.name), None)
        prepared = await self._prepare(load)
        if isinstance(prepared, Target):
            prepared = await self._make_room(load, prepared)
        if isinstance(prepared, Target) and (sleeping := self._fleet.asleep(load)) is not None:
            woken = await self._wake(load, sleeping)
            if woken is not None:
                return woken
        return await self._attempt(load, prepared)

    async def _prepare(self, load: Load) -> Target | AppError | OSError:
        """What is to be loaded, or what is wrong with its config or file; found before anything makes room for it."""
        try:
            config = self._backend(load).check_config(load.config)
            path, size = await self._inspect(load.view)
        except (AppError, OSError) as problem:
            return problem
        return Target(load.name, path, size, config, served_id=load.view.served_name, url=load.view.url)

    async def _make_room(self, load: Load, target: Target) -> Target | AppError:
        """The target with the memory that is free for it now; memory that stays taken is a failed attempt."""
        try:
            await load.run_step(self._room_for(load, target))
        except AppError as problem:
            if problem.code != refusals.MEMORY_NOT_RELEASED:
                raise
            return problem
        if not load.on_budget:
            return target
        applied = load.estimate.applied if load.estimate is not None else {}
        return replace(
            target, free_bytes=await self._fitting.free_bytes(), load_config={**target.load_config, **applied}
        )

    async def _room_for(self, load: Load, target: Target) -> None:
        foreign = await self._room.foreign(load)
        if load.on_budget and self._fleet.asleep(load) is None:
            await self._fitting.check(load, target.load_config, self._room.would_free(load, foreign))
        await self._room.make(load, foreign)

    async def _wake(self, load: Load, sleeping: Loaded) -> LoadResult | None:
        """None when it did not wake up and has to be loaded."""
        self._begin_phase(load)
        self._progress(load, "waking up", None)
        try:
            await load.run_step(self._fleet.wake(sleeping, self._timeout(load)))
        except (EngineFailed, AppError, OSError, NotImplementedError) as error:
            _log.warning("%s did not wake up and is loaded anew: %s", load.name, error)
            await self._fleet.unload(sleeping)
            return None
        load.loaded = sleeping
        seconds = now() - (load.started_at or 0.0)
        _log.info("woke %s in %.1f s", load.name, seconds)
        return result(self._catalog.get(load.name), seconds)

    async def _attempt(self, load: Load, prepared: Target | AppError | OSError) -> LoadResult:
        """Write `testing` ahead, start the engine, write how it ended."""
        backend = self._backend(load)
        load.begun = await self._journal.begin(
            load.name,
            backend=backend.name,
            load_config=load.config,
            hardware=await self._hardware(),
            forced=load.forced,
        )
        lines = backend.log.tail(1)
        try:
            await self._catalog.refresh(load.name)
            if not isinstance(prepared, Target):
                raise prepared
            self._begin_phase(load)
            instance = await load.run_step(self._start_engine(load, backend, prepared))
        except CancelledByPersonError:
            await self._settle(load, lambda id_: self._journal.cancel(id_, load.cancel_reason or ""))
            self._fleet.on_backend(backend)
            raise
        except (EngineFailed, AppError, OSError) as problem:
            tried = isinstance(prepared, Target) or load.evicted
            raise await self._failed(load, problem, counts=load.on_budget and bool(tried)) from problem
        return await self._succeeded(load, backend, instance, lines[0].number if lines else 0)

    def _begin_phase(self, load: Load) -> None:
        load.started_at = now()
        self._fleet.tell(load, "It is being loaded.")
        self._catalog.set_phase(load.name, Phase.LOADING)

    async def _start_engine(self, load: Load, backend: Backend, target: Target) -> Instance:
        async def started(record: EngineRecord) -> None:
            assert load.begun is not None
            self._fleet.on_backend(backend)
            await self._journal.set_engine(load.begun.attempt_id, record.pid, record.create_time, record.port)

        return await backend.load(
            target,
            timeout=self._timeout(load),
            progress=lambda stage, fraction: self._progress(load, stage, fraction),
            started=started,
        )

    def _timeout(self, load: Load) -> float:
        return load_timeout(float(self._settings().load_timeout), load.usual_s)

    def _progress(self, load: Load, stage: str, fraction: float | None) -> None:
        elapsed = now() - (load.started_at or 0.0)
        progress = LoadProgress(stage=stage, fraction=fraction, elapsed_s=elapsed, usual_s=load.usual_s)
        self._catalog.set_progress(load.name, progress)

    async def _succeeded(self, load: Load, backend: Backend, instance: Instance, last_line: int) -> LoadResult:
        assert load.begun is not None
        ready = now()
        seconds = ready - (load.started_at or ready)
        load.loaded = loaded = Loaded(
            view=load.view,
            backend=backend,
            instance=instance,
            config=load.config,
            forced=load.forced,
            attempt_id=load.begun.attempt_id,
            # Of a server that somebody else runs it is known only now what it gives back.
            on_budget=self._fleet.on_budget(load.view),
            loaded_at=ready,
            idle_since=ready,
        )
        self._fleet.admit(loaded)
        self._cooldowns.clear(load.name)
        await self._settle(load, lambda id_: self._journal.succeed(id_, seconds))
        self._fleet.on_backend(backend)
        _log.info("loaded %s in %.1f s", load.name, seconds)
        self._fleet.watch(loaded)
        if load.on_budget:
            lines = [line.text for line in backend.log.tail(LOG_LINES) if line.number > last_line]
            spawn(self._fitting.learn(loaded, lines), name=f"learn from {load.name}")
        return result(self._catalog.get(load.name), seconds)

    async def _failed(self, load: Load, problem: Problem, *, counts: bool) -> AppError:
        cause = failures.cause_of(problem, self._journal.witness())
        if not load.on_budget:
            cause = failures.elsewhere(cause)
        report = problem.exit_report if isinstance(problem, EngineFailed) else None
        failure = Failure(
            cause,
            exit_code=report.exit_code if report else None,
            signal=report.signal if report else None,
            log_tail="\n".join(problem.log[-LOG_LINES:]) if isinstance(problem, EngineFailed) else "",
            exceeds_card=exceeds_card(load, cause.kind),
        )
        if counts:
            self._cooldowns.failed(load.name)
        attempt = await self._settle(load, lambda id_: self._journal.fail(id_, failure))
        self._fleet.on_backend(self._backend(load))
        _log.warning("loading %s failed: %s", load.name, cause.sentence)
        return failures.load_error(problem, cause, attempt)

    async def _settle(self, load: Load, write: Callable[[int], Awaitable[AttemptView]]) -> AttemptView | None:
        """Write how the attempt ended; a result that cannot be written now is kept and written later."""
        assert load.begun is not None
        attempt_id = load.begun.attempt_id
        return await self._settling.write(load.name, lambda: write(attempt_id))

    def _backend(self, load: Load) -> Backend:
        return self._fleet.backends[load.view.backend]
