"""A database in a temporary folder and a registry over it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from quarterdeck.registry.models import Registry
from quarterdeck.settings import Folders
from quarterdeck.storage.database import FILE_NAME, Database

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from gguf_writer import CHAT_FACTS, gguf_bytes

WriteModel = Callable[..., Path]


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new database of the present version; migrating takes longer than most tests."""
    folder = tmp_path_factory.mktemp("empty")
    database = Database(Folders(folder, folder))
    database.open()
    database.close()
    return folder / FILE_NAME


@pytest.fixture
def database(tmp_path: Path, empty_database: Path) -> Iterator[Database]:
    (tmp_path / "data").mkdir()
    shutil.copy(empty_database, tmp_path / "data")
    database = Database(Folders(tmp_path / "data", tmp_path / "config"))
    database.open()
    yield database
    database.close()


@pytest.fixture
async def registry(database: Database) -> AsyncIterator[Registry]:
    yield Registry(database)


@pytest.fixture
def write_model(tmp_path: Path) -> WriteModel:
    """Writes a small chat model; keyword arguments go to `gguf_bytes`."""

    def write(name: str = "tiny.gguf", data: bytes | None = None, **arguments: object) -> Path:
        path = tmp_path / name
        arguments.setdefault("facts", CHAT_FACTS)
        path.write_bytes(gguf_bytes(**arguments) if data is None else data)  # type: ignore[arg-type]
        return path

    return write
