"""Version locks: a locked model is loaded only while its files are those that were verified."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from quarterdeck.errors import AppError
from quarterdeck.registry.lock import Files, Hashing, HashingStopped, difference, touched, violation, whole
from quarterdeck.storage.database import Database

if TYPE_CHECKING:
    from sqlmodel import Session

Progress = Callable[[float], None]
"""Told the share of the hashing that is done, 0..1, from another thread."""


class _Lock(NamedTuple):
    locked: bool
    path: Path | None
    digest: str | None
    expected: str | None
    files: Files | None


class Locks:
    """Locks models, and verifies that they are still what they were. Every change is on disk when it returns."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def lock(self, name: str) -> None:
        """Lock a model to its present version, which the next `verify` records. AppError `unknown_model`."""
        await self._write(name, locked=True)

    async def unlock(self, name: str) -> None:
        """Forget the lock and what it expected. AppError `unknown_model`."""
        await self._write(name, locked=False, expected_hash=None, verified_files=None, last_verified=None)

    async def verify(self, name: str, progress: Progress | None = None) -> None:
        """Read the model's files and compare them with the expected ones; the first time they become the expected ones.

        Raises AppError `version_lock_violation` (409) naming what differs, `nothing_to_verify` (409) where there are no
        files and no digest. Cancelling stops the reading.
        """
        lock = await self._database.run(lambda session: _lock(session, name))
        files = await self._present(name, lock, progress)
        if lock.expected is not None and whole(files) != lock.expected:
            raise violation(name, difference(lock.files, files))
        await self._record(name, files)

    async def check(self, name: str) -> None:
        """Before a load: raise `version_lock_violation` when a locked model is not what was verified.

        It is cheap while size and time of change are as they were; else the files are read again.
        """
        lock = await self._database.run(lambda session: _lock(session, name))
        if not lock.locked or lock.expected is None or lock.files is None:
            return
        if lock.path is None:
            if lock.digest is not None and lock.digest != lock.expected:
                raise violation(name, "the server has another version of it")
            return
        changed = await asyncio.to_thread(touched, lock.path, lock.files)
        if changed:
            await self.verify(name)

    async def _present(self, name: str, lock: _Lock, progress: Progress | None) -> dict[str, dict[str, Any]]:
        if lock.path is not None:
            return await _hash(lock.path, progress)
        if lock.digest is not None:
            return {"digest": {"sha256": lock.digest}}
        raise AppError(
            "nothing_to_verify",
            f"The server of “{name}” does not tell which version of it it has.",
            "Only models on disk and those of Ollama can be verified.",
            status=409,
        )

    async def _record(self, name: str, files: dict[str, dict[str, Any]]) -> None:
        from quarterdeck.storage.tables import now

        await self._write(name, expected_hash=whole(files), verified_files=files, last_verified=now())

    async def _write(self, name: str, **values: Any) -> None:
        def work(session: Session) -> None:
            from quarterdeck.registry import rows

            row = rows.get(session, name)
            for field, value in values.items():
                setattr(row, field, value)

        await self._database.run(work)


async def _hash(path: Path, progress: Progress | None) -> dict[str, dict[str, Any]]:
    stopped = threading.Event()
    try:
        return await asyncio.to_thread(Hashing(progress, stopped.is_set).files, path)
    except asyncio.CancelledError:
        stopped.set()
        raise
    except HashingStopped:
        raise asyncio.CancelledError from None


def _lock(session: Session, name: str) -> _Lock:
    from quarterdeck.registry import rows

    row = rows.get(session, name)
    return _Lock(
        row.locked,
        Path(row.path) if row.path else None,
        row.discovered.get("digest"),
        row.expected_hash,
        row.verified_files,
    )
