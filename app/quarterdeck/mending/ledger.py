"""The changes that fixes made, on disk, so that each can be taken back later too."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from quarterdeck.errors import AppError
from quarterdeck.schemas.problems import AppliedFix, FixKind
from quarterdeck.storage.database import Database

if TYPE_CHECKING:
    from sqlmodel import Session

MOST_KEPT = 100

_KEY = "applied_fixes"


class Entry(BaseModel):
    """One change with its way back; without `back` it cannot be taken back."""

    kind: FixKind
    shown: AppliedFix
    back: dict[str, Any] | None = None


_ENTRIES = TypeAdapter(list[Entry])


class Ledger:
    """The newest MOST_KEPT changes, newest first."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> list[Entry]:
        return await self._database.run(_read)

    async def get(self, undo_id: str) -> Entry:
        """Raises AppError `unknown_fix` (404)."""
        found = next((entry for entry in await self.all() if entry.shown.undo_id == undo_id), None)
        if found is None:
            raise AppError(
                "unknown_fix", "There is no such change.", f"The newest {MOST_KEPT} changes are kept.", status=404
            )
        return found

    async def add(self, kind: FixKind, shown: AppliedFix, back: Mapping[str, Any] | None) -> None:
        entry = Entry(kind=kind, shown=shown, back=None if back is None else dict(back))
        await self._database.run(lambda session: _write(session, [entry, *_read(session)][:MOST_KEPT]))

    async def undone(self, undo_id: str) -> None:
        """Note that a change was taken back now."""

        def work(session: Session) -> None:
            entries = _read(session)
            for entry in entries:
                if entry.shown.undo_id == undo_id:
                    entry.shown.undone_at = datetime.now(UTC)
            _write(session, entries)

        await self._database.run(work)


def new_id() -> str:
    return uuid.uuid4().hex


def _read(session: Session) -> list[Entry]:
    from quarterdeck.storage.tables import Memory

    stored = session.get(Memory, _KEY)
    try:
        return _ENTRIES.validate_python(stored.value if stored is not None else [])
    except ValidationError:
        # Written by a newer version: it is of no use to this one, and the next change replaces it.
        return []


def _write(session: Session, entries: list[Entry]) -> None:
    from quarterdeck.storage.tables import Memory, now

    session.merge(Memory(key=_KEY, value=_ENTRIES.dump_python(entries, mode="json"), changed_at=now()))
