"""The database: what a transaction promises, and what people are told when it cannot be used."""

from __future__ import annotations

import asyncio
import ctypes
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, select

from quarterdeck.errors import AppError
from quarterdeck.schemas.models import Status
from quarterdeck.settings import Folders
from quarterdeck.storage import database as database_module
from quarterdeck.storage.database import FILE_NAME, Database
from quarterdeck.storage.tables import LoadAttempt, Memory, Model


def a_model(name: str = "tiny", **facts: object) -> Model:
    return Model(name=name, backend="embedded", served_name=name, layer="curated", **facts)


def names(session: Session) -> list[str]:
    return sorted(session.exec(select(Model.name)))


async def test_a_value_written_is_there_after_reopening(places: Folders) -> None:
    first = Database(places)
    assert first.open() == (True, None, None)
    await first.run(
        lambda session: session.add(a_model(load_config={"z": 1, "a": [True, None]}, parameter_count=2**40))
    )
    first.close()
    second = Database(places)
    assert second.open() == (False, None, None)
    found = await second.run(lambda session: session.exec(select(Model)).one())
    second.close()
    assert (found.status, found.load_config, found.parameter_count) == (
        Status.UNKNOWN, {"z": 1, "a": [True, None]}, 2**40,
    )  # fmt: skip
    assert list(found.load_config) == ["z", "a"]


async def test_moments_come_back_in_utc(database: Database) -> None:
    moment = datetime(2026, 3, 4, 5, 6, 7, 890, tzinfo=timezone(timedelta(hours=5, minutes=45)))
    await database.run(lambda session: session.add(a_model(last_loaded=moment)))
    found = await database.run(lambda session: session.exec(select(Model)).one())
    assert found.last_loaded == moment
    assert found.last_loaded.tzinfo is UTC


async def test_a_raised_error_rolls_everything_back(database: Database) -> None:
    def work(session: Session) -> None:
        session.add(a_model())
        session.flush()
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await database.run(work)
    assert await database.run(names) == []


async def test_a_broken_constraint_is_the_callers_business(database: Database) -> None:
    await database.run(lambda session: session.add(a_model()))
    with pytest.raises(IntegrityError):
        await database.run(lambda session: session.add(a_model()))


async def test_foreign_keys_are_enforced_and_cascade(database: Database) -> None:
    attempt = {
        "backend": "embedded", "config_hash": "", "hardware": "", "boot_id": "", "app_pid": 1,
        "status_before": Status.UNKNOWN,
    }  # fmt: skip
    with pytest.raises(IntegrityError):
        await database.run(lambda session: session.add(LoadAttempt(model_name="nobody", **attempt)))
    await database.run(lambda session: session.add(a_model()))
    await database.run(lambda session: session.add(LoadAttempt(model_name="tiny", **attempt)))
    await database.run(lambda session: session.delete(session.get_one(Model, "tiny")))
    assert await database.run(lambda session: session.exec(select(LoadAttempt)).all()) == []


async def test_commits_are_durable(database: Database) -> None:
    def pragmas(session: Session) -> tuple[object, ...]:
        words = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        return tuple(session.execute(sa.text(f"PRAGMA {word}")).scalar() for word in words)

    assert await database.run(pragmas) == ("wal", 2, 1, 5000)


async def test_all_work_is_done_by_one_thread_in_order(database: Database) -> None:
    seen: list[int] = []
    threads = await asyncio.gather(
        *(database.run(lambda _, n=n: (seen.append(n), threading.get_ident())[1]) for n in range(50))
    )
    assert len(set(threads)) == 1
    assert threads[0] != threading.get_ident()
    assert seen == list(range(50))


async def test_work_handed_over_is_finished_when_its_waiter_is_cancelled(database: Database) -> None:
    gate, inside = threading.Event(), threading.Event()
    blocking = asyncio.ensure_future(database.run(lambda _: (inside.set(), gate.wait(20))))
    waiting = asyncio.ensure_future(database.run(lambda session: session.add(a_model())))
    await asyncio.to_thread(inside.wait, 20)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    gate.set()
    await blocking
    assert await database.run(names) == ["tiny"]


def test_closing_finishes_work_and_refuses_more(places: Folders) -> None:
    database = Database(places)
    database.open()
    database.run_blocking(lambda session: session.add(Memory(key="a", value={"b": [1]})))
    database.close()
    database.close()
    assert not list(places.data.glob("*-wal"))
    with pytest.raises(AppError) as caught:
        database.run_blocking(names)
    assert caught.value.code == "database_closed"


async def test_a_locked_database_is_said_to_be_locked(places: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "BUSY_SECONDS", 0.01)
    database = Database(places)
    database.open()
    with closing(sqlite3.connect(places.data / FILE_NAME, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(AppError) as caught:
            await database.run(lambda session: session.add(a_model()))
        other_start = Database(places)
        with pytest.raises(AppError) as at_start:
            other_start.open()
        other_start.close()
    assert (caught.value.code, at_start.value.code) == ("database_locked", "database_locked")
    await database.run(lambda session: session.add(a_model()))
    database.close()


async def test_a_full_disk_is_said_and_nothing_is_half_written(database: Database) -> None:
    await database.run(lambda session: session.execute(sa.text("PRAGMA max_page_count=40")))
    with pytest.raises(AppError) as caught:
        await database.run(
            lambda session: (session.add(a_model()), session.flush(), session.add(a_model("big", notes="x" * 500_000)))
        )
    assert (caught.value.code, caught.value.status) == ("disk_full", 507)
    assert caught.value.hint
    assert await database.run(names) == []


@contextmanager
def as_nobody() -> Iterator[None]:
    """File access as an ordinary user: root may write everywhere. Threads started inside inherit it."""
    if os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None)
    libc.setfsuid(65534)
    try:
        yield
    finally:
        libc.setfsuid(0)


@pytest.mark.skipif(sys.platform != "linux", reason="permissions are tested where setfsuid exists")
@pytest.mark.parametrize("filled", [False, True], ids=["empty folder", "with a database"])
def test_a_read_only_data_folder_is_named(places: Folders, tmp_path: Path, filled: bool) -> None:
    places.data.mkdir()
    if filled:
        made = Database(places)
        made.open()
        made.close()
        (places.data / FILE_NAME).chmod(0o444)
    places.data.chmod(0o555)
    for folder in [tmp_path, *tmp_path.parents[:2]]:
        folder.chmod(0o755)
    with as_nobody():
        database = Database(places)
        with pytest.raises(AppError) as caught:
            database.open()
        database.close()
    places.data.chmod(0o755)
    assert caught.value.code == "data_dir_read_only"
    assert str(places.data) in caught.value.sentence
    assert "--data-dir" in caught.value.hint


def test_a_data_folder_that_cannot_exist_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    database = Database(Folders(tmp_path / "file" / "data", tmp_path))
    with pytest.raises(AppError) as caught:
        database.open()
    database.close()
    assert caught.value.code == "data_dir_unusable"


def test_another_sqlite_file_can_be_named(tmp_path: Path, places: Folders) -> None:
    database = Database(places, f"sqlite:///{tmp_path}/elsewhere/mine.db")
    assert database.open().created
    database.close()
    assert (tmp_path / "elsewhere" / "mine.db").exists()
    assert not places.data.exists()


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("nonsense", "bad_database_url"),
        ("sqlite://", "bad_database_url"),
        ("sqlite:///:memory:", "bad_database_url"),
        ("nosuchdb://host/name", "database_driver_missing"),
        ("postgresql+pg8000://ann:secret@127.0.0.1:1/name", "database_driver_missing"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused(places: Folders, url: str, code: str) -> None:
    database = Database(places, url)
    with pytest.raises(AppError) as caught:
        database.open()
    database.close()
    assert caught.value.code == code
    assert "secret" not in f"{caught.value.sentence} {caught.value.hint}"


def test_importing_the_room_is_light() -> None:
    modules = "quarterdeck.storage.database, quarterdeck.storage.events, quarterdeck.compatibility.journal"
    program = f"import sys, {modules}; print([m for m in ('sqlalchemy', 'sqlmodel', 'alembic') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
