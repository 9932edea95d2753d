"""Real processes are killed at and around `begin`: what was promised is on the disk, and never half of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from sqlmodel import Session, select

from quarterdeck.compatibility.journal import Journal
from quarterdeck.schemas.models import Outcome, Status
from quarterdeck.settings import Folders
from quarterdeck.storage.database import Database
from quarterdeck.storage.tables import LoadAttempt, Model

TIMES = 20

# One interpreter imports everything once; each attempt is made by a fork of it, which is then killed.
PROGRAM = """
import asyncio, os, random, signal, sys, time
from pathlib import Path
from quarterdeck.compatibility import records
from quarterdeck.compatibility.journal import Journal
from quarterdeck.settings import Folders
from quarterdeck.storage.database import Database

async def attempt(number, pipe, early):
    folder = Path(sys.argv[1])
    database = Database(Folders(folder, folder))
    database.open()
    if early:
        os.write(pipe, b"x")
    await Journal(database).begin(
        f"model {number}", backend="embedded", load_config={"n": number}, hardware="here", forced=False
    )
    if not early:
        os.write(pipe, b"x")
    signal.pause()

early = sys.argv[2] == "early"
for number in range(int(sys.argv[3])):
    inlet, outlet = os.pipe()
    child = os.fork()
    if child == 0:
        asyncio.run(attempt(number, outlet, early))
    os.close(outlet)
    assert os.read(inlet, 1) == b"x"
    if early:
        time.sleep(random.uniform(0, 0.06))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(inlet)
"""

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs fork")


def kill_repeatedly(folder: Path, when: str) -> Database:
    places = Folders(folder, folder)
    database = Database(places)
    database.open()

    def register(session: Session) -> None:
        for number in range(TIMES):
            name = f"model {number}"
            session.add(Model(name=name, backend="embedded", served_name=name, layer="curated", status="compatible"))

    database.run_blocking(register)
    database.close()
    subprocess.run([sys.executable, "-c", PROGRAM, folder, when, str(TIMES)], check=True, timeout=100)
    again = Database(places)
    assert again.open() == (False, None, None)
    return again


def running(session: Session) -> list[str]:
    query = select(LoadAttempt.model_name).where(LoadAttempt.outcome == Outcome.RUNNING)
    return sorted(session.exec(query))


def under_test(session: Session) -> list[str]:
    return sorted(session.exec(select(Model.name).where(Model.status == Status.TESTING)))


async def test_what_begin_returned_survives_a_kill(tmp_path: Path) -> None:
    database = kill_repeatedly(tmp_path, "late")
    every = sorted(f"model {number}" for number in range(TIMES))
    assert await database.run(under_test) == await database.run(running) == every
    recovered = await Journal(database).recover()
    assert sorted(found.model_name for found in recovered) == every
    assert {found.status for found in recovered} == {Status.INCOMPATIBLE}
    database.close()


async def test_a_kill_during_begin_leaves_both_rows_or_none(tmp_path: Path) -> None:
    database = kill_repeatedly(tmp_path, "early")
    marked = await database.run(under_test)
    assert marked == await database.run(running)
    assert sorted(found.model_name for found in await Journal(database).recover()) == marked
    assert await database.run(under_test) == []
    database.close()
