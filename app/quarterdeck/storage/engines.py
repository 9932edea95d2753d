"""SQLAlchemy engines: SQLite set up for durability, or a database server."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import NoSuchModuleError

from quarterdeck.errors import AppError


def sqlite_engine(file: Path, busy_seconds: float) -> sa.Engine:
    """SQLite in WAL mode where a commit is on the disk when it returns (also after a power loss)."""
    engine = sa.create_engine(
        sa.URL.create("sqlite", database=str(file)),
        connect_args={"timeout": busy_seconds},
        pool_size=1,
        max_overflow=0,
    )

    @sa.event.listens_for(engine, "connect")
    def _prepare(connection: sqlite3.Connection, _record: object) -> None:
        # The driver's own BEGIN comes late and not before DDL; with None the one below is the only one.
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "fullfsync=ON", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}").close()

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        # Taking the write lock at once waits for others; taking it after a read would fail without waiting.
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def server_engine(url: sa.URL) -> sa.Engine:
    """A database server. Raises AppError when its driver is not installed."""
    try:
        return sa.create_engine(url, pool_size=1, max_overflow=0, pool_pre_ping=True)
    except (ModuleNotFoundError, NoSuchModuleError) as error:
        raise AppError(
            "database_driver_missing",
            f"The driver for {url.drivername} databases is not installed: {error}.",
            "Install it into Quarterdeck's environment (for PostgreSQL the package psycopg), or correct the address.",
        ) from None
