"""Fixtures of the compatibility tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from quarterdeck.compatibility.journal import Journal
from quarterdeck.settings import Folders
from quarterdeck.storage.database import Database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database(Folders(tmp_path, tmp_path))
    made.open()
    yield made
    made.close()


@pytest.fixture
def journal(database: Database) -> Journal:
    made = Journal(database)
    made.hardware = "here"
    return made
