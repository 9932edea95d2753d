"""The database and its one thread: all database work runs there, one transaction at a time."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from quarterdeck.errors import AppError
from quarterdeck.settings import Folders
from quarterdeck.storage import failures, files, migrate

if TYPE_CHECKING:
    from sqlalchemy import URL, Engine
    from sqlmodel import Session

T = TypeVar("T")

FILE_NAME = "quarterdeck.db"
BUSY_SECONDS = 5.0


class OpenReport(NamedTuple):
    """What opening did: made a new database, backed up and migrated an old one, set a damaged one aside."""

    created: bool
    backup: Path | None
    quarantined: Path | None


class Database:
    """SQLite in the data folder, or another database through `url`.

    `open` blocks and comes first; `run` may then be awaited from any loop. A commit is on the disk when it returns.
    """

    def __init__(self, folders: Folders, url: str = "") -> None:
        self._data = folders.data
        self._url_text = url
        self._file: Path | None = None
        self._engine: Engine | None = None
        self._address = ""
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="database")

    def open(self) -> OpenReport:
        """Create, migrate or repair the database. Raises AppError when it cannot be used; then nothing was changed."""
        return self._submit(self._open).result()

    async def run(self, work: Callable[[Session], T]) -> T:
        """Run `work` on the database's thread in one transaction: commit when it returns, roll back when it raises.

        Work that was handed over runs to its end even when the waiting task is cancelled.
        """
        return await asyncio.shield(asyncio.wrap_future(self._submit(lambda: self._transact(work))))

    def run_blocking(self, work: Callable[[Session], T]) -> T:
        """The same for callers without a loop; never call it on an event loop."""
        return self._submit(lambda: self._transact(work)).result()

    def close(self) -> None:
        """Finish what was handed over, close the connections and end the thread. Can be called twice."""
        try:
            self._worker.submit(self._dispose).result()
        except RuntimeError:
            return
        self._worker.shutdown()

    def _submit(self, call: Callable[[], T]) -> Future[T]:
        try:
            return self._worker.submit(call)
        except RuntimeError:
            raise AppError(
                "database_closed",
                "The database is closed because Quarterdeck is stopping.",
                "Start it again.",
                status=503,
            ) from None

    def _dispose(self) -> None:
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    def _transact(self, work: Callable[[Session], T]) -> T:
        from sqlmodel import Session

        if self._engine is None:
            raise RuntimeError("the database is not open")
        with self._understood(), Session(self._engine, expire_on_commit=False) as session, session.begin():
            return work(session)

    def _open(self) -> OpenReport:
        url = self._url()
        self._address = url.render_as_string(hide_password=True)
        if url.get_backend_name() != "sqlite":
            return self._open_server(url)
        if not url.database or url.database == ":memory:":
            raise _bad_url(self._address, "it names no file, so nothing would be kept")
        self._file = Path(url.database)
        return self._open_file(self._file)

    def _url(self) -> URL:
        from sqlalchemy import URL, make_url
        from sqlalchemy.exc import ArgumentError

        if not self._url_text:
            return URL.create("sqlite", database=str(self._data / FILE_NAME))
        try:
            return make_url(self._url_text)
        except ArgumentError:
            # The text is not repeated: it may hold a password.
            raise _bad_url("in the setting “Database”", "it is not a database address") from None

    def _open_file(self, file: Path) -> OpenReport:
        from quarterdeck.storage.engines import sqlite_engine

        quarantined = None
        with self._understood():
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not files.is_new(file) and not files.is_sound(file, BUSY_SECONDS):
                quarantined = files.set_aside(file)
            created = files.is_new(file)
            self._engine = sqlite_engine(file, BUSY_SECONDS)
            try:
                backup = self._bring_up_to_date(self._engine, file)
            except BaseException:
                self._dispose()
                raise
        return OpenReport(created, backup, quarantined)

    def _open_server(self, url: URL) -> OpenReport:
        from quarterdeck.storage.engines import server_engine

        self._engine = server_engine(url)
        try:
            with self._understood(), self._engine.connect() as connection:
                created = migrate.stored_revision(connection) is None
            with self._understood():
                self._bring_up_to_date(self._engine, None)
        except BaseException:
            self._dispose()
            raise
        return OpenReport(created, None, None)

    def _bring_up_to_date(self, engine: Engine, file: Path | None) -> Path | None:
        """Migrate when the version is not ours; returns the backup made before, None when none was needed."""
        with engine.connect() as connection:
            revision = migrate.stored_revision(connection)
            tables = migrate.has_tables(connection)
        migrate.check_known(revision, self._address if file is None else str(file))
        if revision == migrate.revisions()[-1]:
            return None
        if revision is None and file is not None and tables:
            raise AppError(
                "database_foreign",
                f"{file} is the database of another program.",
                "Choose another file in the setting “Database”. Nothing was changed.",
                status=500,
            )
        backup = files.back_up(file, revision) if file is not None and revision is not None else None
        with engine.begin() as connection:
            migrate.upgrade(connection)
        return backup

    @contextmanager
    def _understood(self) -> Iterator[None]:
        """Turn failures of disk, file and server into AppError; defects of ours pass as they are."""
        from sqlalchemy.exc import DBAPIError, OperationalError

        try:
            yield
        except DBAPIError as error:
            known: AppError | None = None
            if isinstance(error.orig, sqlite3.Error):
                known = failures.from_sqlite(error.orig, self._file or self._data)
            elif isinstance(error, OperationalError) or error.connection_invalidated:
                known = failures.from_server(error.orig or error, self._address)
            if known is None:
                raise
            raise known from error
        except sqlite3.Error as error:
            known = failures.from_sqlite(error, self._file or self._data)
            if known is None:
                raise
            raise known from error
        except OSError as error:
            raise failures.from_os(error, self._file.parent if self._file else self._data) from error


def _bad_url(address: str, reason: str) -> AppError:
    return AppError(
        "bad_database_url",
        f"The database address {address} cannot be used: {reason}.",
        "Write it like postgresql+psycopg://user:password@host/name, or leave it empty for SQLite in the data folder.",
    )
