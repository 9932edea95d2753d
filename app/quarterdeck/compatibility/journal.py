"""The journal of load attempts: written before anything is started, so that no crash is forgotten. Core loop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from quarterdeck.compatibility.failure import Failure, Pause
from quarterdeck.errors import AppError
from quarterdeck.schemas.jsontext import config_hash
from quarterdeck.schemas.models import AttemptView, Circumstances, Status
from quarterdeck.storage.database import Database
from quarterdeck.tasks import spawn

# The modules of the tables are imported by the methods: they are slow to load, and this one is wanted early.
if TYPE_CHECKING:
    from sqlmodel import Session

    from quarterdeck.storage.tables import LoadAttempt

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_ENGINES_REMEMBERED = 50


class Begun(NamedTuple):
    """A load attempt that is on disk, and the status its model had before."""

    attempt_id: int
    status_before: Status


class EngineTrace(NamedTuple):
    """An engine of an earlier run, as far as it was recorded: the create time tells it from a reused pid."""

    model_name: str
    pid: int
    create_time: float | None
    port: int | None


class Recovered(NamedTuple):
    """A model whose load was cut off by a crash, its status now, and the engine that may still run."""

    model_name: str
    status: Status
    attempt_id: int | None = None
    engine_pid: int | None = None
    engine_create_time: float | None = None
    engine_port: int | None = None


class Journal:
    """Records load attempts and keeps each model's status. Every method's change is on disk when it returns.

    `hardware` is the fingerprint of this machine, set by the core: a status set by a person belongs to it. `witness`,
    set by the core too, tells how the machine is; it is asked when a load failed.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.hardware = ""
        self.witness: Callable[[], Circumstances | None] = lambda: None

    async def begin(
        self, model_name: str, *, backend: str, load_config: dict[str, Any], hardware: str, forced: bool
    ) -> Begun:
        """Write `testing` and the attempt in one commit, before anything is started. AppError `unknown_model`.

        A caller that is cancelled meanwhile leaves nothing behind: the attempt is withdrawn.
        """

        def work(session: Session) -> Begun:
            from quarterdeck.compatibility import records
            from quarterdeck.storage.tables import LoadAttempt

            row = LoadAttempt(
                model_name=model_name,
                backend=backend,
                load_config=load_config,
                config_hash=config_hash(load_config),
                hardware=hardware,
                forced=forced,
                boot_id=boot_id(),
                app_pid=os.getpid(),
                status_before=Status.UNKNOWN,
            )
            return Begun(*records.begin(session, row))

        writing = spawn(self._database.run(work), name=f"begin attempt for {model_name}")
        try:
            return await asyncio.shield(writing)
        except asyncio.CancelledError:
            await asyncio.shield(spawn(self._withdraw(writing), name=f"withdraw attempt for {model_name}"))
            raise

    async def set_engine(self, attempt_id: int, pid: int, create_time: float, port: int) -> None:
        """Remember the engine's process, so that a leftover can be found after a crash of ours."""

        def work(session: Session) -> None:
            from quarterdeck.compatibility import records

            row = records.attempt(session, attempt_id)
            row.engine_pid, row.engine_create_time, row.engine_port = pid, create_time, port

        await self._database.run(work)

    async def succeed(self, attempt_id: int, load_seconds: float) -> AttemptView:
        """The model is loaded. An attempt that has ended already stays as it is."""

        def work(session: Session) -> AttemptView:
            from quarterdeck.compatibility import records

            return records.succeed(session, attempt_id, load_seconds)

        return await self._database.run(work)

    async def fail(self, attempt_id: int, failure: Failure) -> AttemptView:
        """The load failed; the cause decides the status. An attempt that has ended already stays as it is."""
        seen = self.witness()

        def work(session: Session) -> AttemptView:
            from quarterdeck.compatibility import records

            return records.fail(session, attempt_id, failure, seen)

        return await self._database.run(work)

    async def cancel(self, attempt_id: int, reason: str) -> AttemptView:
        """A person cancelled the load: status and notes are what they were before."""

        def work(session: Session) -> AttemptView:
            from quarterdeck.compatibility import records

            return records.cancel(session, attempt_id, reason)

        return await self._database.run(work)

    async def crashed_after_load(self, model_name: str, attempt_id: int, failure: Failure) -> AttemptView:
        """The engine died after the load had succeeded: judged like a failed load. AppError `unknown_model`."""
        seen = self.witness()

        def work(session: Session) -> AttemptView:
            from quarterdeck.compatibility import records

            records.model(session, model_name)
            return records.crash_after_load(session, attempt_id, failure, seen)

        return await self._database.run(work)

    async def recover(self) -> list[Recovered]:
        """At the start, before any load: end the attempts that a crash of the app or the machine left open."""

        def work(session: Session) -> list[Recovered]:
            from quarterdeck.compatibility import records

            found: list[Recovered] = []
            for row in records.running(session):
                tested = records.interrupt(session, row)
                engine = _engine(row)
                found.append(
                    Recovered(tested.name, tested.status, row.id, engine.pid, engine.create_time, engine.port)
                    if engine
                    else Recovered(tested.name, tested.status, row.id)
                )
            for tested in records.stuck(session):
                records.unstick(tested, self.hardware, config_hash(tested.load_config))
                found.append(Recovered(tested.name, tested.status))
            return found

        return await self._database.run(work)

    async def engine_traces(self) -> list[EngineTrace]:
        """Engines recorded since the machine booted, newest first: those of loaded models too."""

        def work(session: Session) -> list[EngineTrace]:
            from quarterdeck.compatibility import records

            return [trace for row in records.engines(session, _ENGINES_REMEMBERED) if (trace := _engine(row))]

        return await self._database.run(work)

    async def set_by_person(
        self, name: str, status: str | None = None, notes: str | None = None, load_config: dict[str, Any] | None = None
    ) -> None:
        """A person's word over the machine's; None leaves a fact as it is. AppError `bad_status`, `unknown_model`."""
        wanted = None if status is None else _status_of_person(status)

        def work(session: Session) -> None:
            from quarterdeck.compatibility import records

            changed = records.set_by_person(session, name, wanted, notes, load_config)
            if wanted is not None:
                changed.status_hardware = self.hardware
                changed.status_config_hash = config_hash(changed.load_config)

        await self._database.run(work)

    async def attempts(self, name: str) -> list[AttemptView]:
        """The model's attempts, newest first. AppError `unknown_model`."""

        def work(session: Session) -> list[AttemptView]:
            from quarterdeck.compatibility import records

            return records.attempts(session, name)

        return await self._database.run(work)

    async def usual_load_seconds(self, name: str) -> float | None:
        """How long the model usually takes to load; None when it never did."""

        def work(session: Session) -> float | None:
            from quarterdeck.compatibility import records

            return records.usual_load_seconds(session, name)

        return await self._database.run(work)

    async def pauses(self) -> dict[str, Pause]:
        """The models that are left alone after failures, by name; also those whose time is over."""

        def work(session: Session) -> dict[str, Pause]:
            from quarterdeck.compatibility import records

            return records.pauses(session)

        return await self._database.run(work)

    async def set_pause(self, name: str, pause: Pause | None) -> None:
        """Keep how long a model is left alone; None forgets it."""

        def work(session: Session) -> None:
            from quarterdeck.compatibility import records

            records.set_pause(session, name, pause)

        await self._database.run(work)

    async def _withdraw(self, writing: asyncio.Task[Begun]) -> None:
        begun = await writing
        await self.cancel(begun.attempt_id, "Cancelled before the load began.")


def boot_id() -> str:
    """Names this boot of the machine; empty where the system does not tell."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _engine(row: LoadAttempt) -> EngineTrace | None:
    """The attempt's engine; None when it had none or the machine has booted since."""
    if row.engine_pid is None or row.boot_id != boot_id():
        return None
    return EngineTrace(row.model_name, row.engine_pid, row.engine_create_time, row.engine_port)


def _status_of_person(word: str) -> Status:
    choices = [status for status in Status if status is not Status.TESTING]
    if word == Status.TESTING:
        raise AppError(
            "bad_status",
            "The status “testing” is set only while a model is being loaded.",
            f"Choose one of {', '.join(choices)}.",
        )
    try:
        return Status(word)
    except ValueError:
        raise AppError("bad_status", f"There is no status “{word}”.", f"Choose one of {', '.join(choices)}.") from None
