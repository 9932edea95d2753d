"""A database in a temporary folder and a registry over it."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from quarterdeck.registry.models import Registry
from quarterdeck.settings import Folders
from quarterdeck.storage.database import Database

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from gguf_writer import CHAT_FACTS, gguf_bytes

WriteModel = Callable[..., Path]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
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
