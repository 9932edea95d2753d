"""What a database error means for people: the AppError for the codes of SQLite, the system and PostgreSQL."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from pathlib import Path

from quarterdeck.errors import AppError

# Below this an SQLite file cannot grow by its smallest steps (a page, the 32 KiB of the shared index).
_FULL_BELOW = 64 * 1024
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_LOCKED = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_FILE_TROUBLE = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_IOERR}
_READ_ONLY = {errno.EACCES, errno.EPERM, errno.EROFS}
_FULL = {errno.ENOSPC, errno.EDQUOT}
_POSTGRES_FULL = "53100"


def sqlite_code(error: sqlite3.Error) -> int:
    """The primary result code of SQLite, 0 when the error did not come from SQLite itself."""
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF


def is_damage(error: sqlite3.Error) -> bool:
    return sqlite_code(error) in _DAMAGED


def from_sqlite(error: sqlite3.Error, file: Path) -> AppError | None:
    """The AppError of an SQLite error, or None when the error is a defect of ours (bad SQL, a broken constraint)."""
    code = sqlite_code(error)
    if code in _DAMAGED:
        return AppError(
            "database_damaged",
            f"The database {file} is damaged: {error}.",
            "Restart Quarterdeck: it sets the damaged file aside, keeps it, and starts with a new one.",
            status=500,
        )
    if code in _LOCKED:
        return AppError(
            "database_locked",
            f"Another program keeps the database {file} locked.",
            "Close the other program that has the file open, then try again.",
            status=503,
        )
    if code == sqlite3.SQLITE_FULL or (code in _FILE_TROUBLE and _no_space(file.parent)):
        return disk_full(file.parent)
    if code in {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM} or (code == sqlite3.SQLITE_CANTOPEN):
        return read_only(file, "it cannot be opened for writing")
    if code == sqlite3.SQLITE_IOERR:
        return AppError(
            "database_io_error",
            f"Reading or writing the database {file} failed: {error}.",
            "Check that the disk is present and healthy, then try again.",
            status=500,
        )
    return None


def from_os(error: OSError, place: Path) -> AppError:
    """The AppError of a file operation in the data folder."""
    if error.errno in _FULL:
        return disk_full(place)
    reason = os.strerror(error.errno).lower() if error.errno else str(error)
    if error.errno in _READ_ONLY:
        return read_only(place, reason)
    return AppError(
        "data_dir_unusable",
        f"The data folder cannot be used: {place}: {reason}.",
        "Choose another folder with --data-dir or QUARTERDECK_DATA_DIR.",
        status=500,
    )


def from_server(error: BaseException, address: str) -> AppError:
    """The AppError of a database server that cannot be reached or has failed."""
    if getattr(error, "sqlstate", None) == _POSTGRES_FULL or getattr(error, "pgcode", None) == _POSTGRES_FULL:
        return AppError(
            "disk_full",
            f"The database server of {address} has no disk space left.",
            "Free some space on the server, then try again.",
            status=507,
        )
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
    return AppError(
        "database_unreachable",
        f"The database {address} cannot be used: {reason}.",
        "Check that the server runs and that address, user and password in the setting “Database” are right.",
        status=503,
    )


def disk_full(place: Path) -> AppError:
    return AppError(
        "disk_full",
        f"There is no space left on the disk of {place}, so nothing can be saved.",
        "Free some space, then try again.",
        status=507,
    )


def read_only(place: Path, reason: str) -> AppError:
    return AppError(
        "data_dir_read_only",
        f"Quarterdeck cannot write to {place}: {reason}.",
        "Give your user write permission there, or choose another folder with --data-dir or QUARTERDECK_DATA_DIR.",
        status=500,
    )


def _no_space(folder: Path) -> bool:
    try:
        return shutil.disk_usage(folder).free < _FULL_BELOW
    except OSError:
        return False
