"""The SQLite file as a file: is it sound, back it up, set a damaged one aside. Blocking."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import datetime
from pathlib import Path

from quarterdeck.storage import failures

BACKUPS_KEPT = 3
_MAGIC = b"SQLite format 3\0"
_COMPANIONS = ("", "-wal", "-shm")


def is_new(file: Path) -> bool:
    """Whether there is nothing yet; an empty file is a new database to SQLite too."""
    return not file.exists() or file.stat().st_size == 0


def is_sound(file: Path, busy_seconds: float) -> bool:
    """Whether `file` is a database whose pages hold together. Raises OSError or sqlite3.Error when it cannot tell."""
    with file.open("rb") as stream:
        if stream.read(len(_MAGIC)) != _MAGIC:
            return False
    with closing(sqlite3.connect(file, timeout=busy_seconds)) as connection:
        try:
            rows = connection.execute("PRAGMA quick_check(1)").fetchall()
        except sqlite3.DatabaseError as error:
            # This statement cannot be wrong itself: a plain error tells of a header or schema that makes no sense.
            if failures.is_damage(error) or failures.sqlite_code(error) == sqlite3.SQLITE_ERROR:
                return False
            raise
    return rows == [("ok",)]


def set_aside(file: Path) -> Path:
    """Rename a damaged database with its companions, so that nothing of it is lost; returns its new path."""
    target = _unused(file.with_name(f"{file.stem}.damaged-{_stamp()}{file.suffix}"))
    for companion in _COMPANIONS:
        part = file.with_name(file.name + companion)
        if part.exists():
            part.rename(target.with_name(target.name + companion))
    return target


def back_up(file: Path, revision: str) -> Path:
    """Copy the database as it is now (with what is still in its WAL); keeps the newest three copies."""
    folder = file.parent / "backups"
    folder.mkdir(exist_ok=True)
    target = _unused(folder / f"{file.stem}-{_stamp()}-version-{revision}{file.suffix}")
    part = target.with_name(target.name + ".part")
    try:
        with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(part)) as copy:
            source.backup(copy)
            # A single file is a complete backup; a WAL beside it would not travel with it.
            copy.execute("PRAGMA journal_mode=DELETE")
        part.rename(target)
    finally:
        part.unlink(missing_ok=True)
    copies = sorted(folder.glob(f"{file.stem}-*-version-*{file.suffix}"), key=lambda copy: copy.stat().st_mtime_ns)
    for old in copies[:-BACKUPS_KEPT]:
        old.unlink()
    return target


def _stamp() -> str:
    return datetime.now().astimezone().strftime("%Y-%m-%d-%H%M%S")


def _unused(path: Path) -> Path:
    candidate, number = path, 1
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return candidate
