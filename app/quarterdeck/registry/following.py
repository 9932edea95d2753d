"""Remembers which imported files are followed, and as what each of their entries was read the last time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quarterdeck.registry.importers.plan import ImportPlan
from quarterdeck.schemas.discovery import FollowedFile
from quarterdeck.storage.database import Database

if TYPE_CHECKING:
    from sqlmodel import Session

_KEY = "followed_imports"


@dataclass
class Followed:
    """One file. `entries` are fingerprints by name, `ignored` those that nobody wanted, `gone` those it had before."""

    stamp: list[int]
    format: str
    title: str
    entries: dict[str, str] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    error: str | None = None

    def news(self, plan: ImportPlan) -> list[str]:
        """The entries that are new or changed, but for those that nobody wanted."""
        return [
            each.name
            for each in plan.models
            if each.name not in self.ignored and self.entries.get(each.name) != each.fingerprint
        ]

    def lost(self, plan: ImportPlan) -> list[str]:
        """The entries that the file no longer has."""
        names = {each.name for each in plan.models}
        return [name for name in self.entries if name not in names and name not in self.ignored]

    def take(self, plan: ImportPlan) -> None:
        """Keep what the file says now."""
        names = {each.name: each.fingerprint for each in plan.models}
        self.gone = [*(name for name in self.gone if name not in names), *self.lost(plan)]
        self.ignored = [name for name in self.ignored if name in names]
        self.entries, self.error = names, None


class Following:
    """The followed files. Changes are on disk when a method returns."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> dict[str, Followed]:
        return await self._database.run(_read)

    async def views(self) -> list[FollowedFile]:
        """The files for people, in the order of their paths."""
        return [
            FollowedFile(
                path=path,
                title=each.title,
                models=[name for name in each.entries if name not in each.ignored],
                gone=each.gone,
                error=each.error,
            )
            for path, each in sorted((await self.all()).items())
        ]

    async def put(self, path: Path, followed: Followed) -> None:
        await self._change(lambda known: known.update({str(path): followed}))

    async def drop(self, path: Path) -> None:
        """Forget a file; its models stay."""
        await self._change(lambda known: known.pop(str(path), None))

    async def changed(self) -> list[Path]:
        """The followed files whose size or time of change is another one; a file that is gone is left alone."""
        known = await self.all()
        return await asyncio.to_thread(_changed, known)

    async def _change(self, change: Callable[[dict[str, Followed]], object]) -> None:
        def work(session: Session) -> None:
            from quarterdeck.storage.tables import Memory, now

            known = _read(session)
            change(known)
            value = {path: asdict(each) for path, each in known.items()}
            session.merge(Memory(key=_KEY, value=value, changed_at=now()))

        await self._database.run(work)


def stamp_of(path: Path) -> list[int]:
    """Size and time of change of a file (blocking); empty when it is not there."""
    try:
        stat = path.stat()
    except OSError:
        return []
    return [stat.st_size, stat.st_mtime_ns]


def _changed(known: dict[str, Followed]) -> list[Path]:
    found = []
    for path, each in known.items():
        stamp = stamp_of(Path(path))
        if stamp and stamp != each.stamp:
            found.append(Path(path))
    return found


def _read(session: Session) -> dict[str, Followed]:
    from quarterdeck.storage.tables import Memory

    stored = session.get(Memory, _KEY)
    value: dict[str, Any] = stored.value if stored is not None and isinstance(stored.value, dict) else {}
    return {path: Followed(**each) for path, each in value.items()}
