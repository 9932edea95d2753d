"""Fixtures of the storage tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from quarterdeck.settings import Folders
from quarterdeck.storage.database import Database


@pytest.fixture
def places(tmp_path: Path) -> Folders:
    return Folders(tmp_path / "data", tmp_path / "config")


@pytest.fixture
def database(places: Folders) -> Iterator[Database]:
    made = Database(places)
    made.open()
    yield made
    made.close()
