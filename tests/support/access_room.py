"""What the tests of access share: keys in a database of the test, settings, and a clock in the place of time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from quarterdeck.proxy.access.access import Access
from quarterdeck.proxy.access.keys import KeyStore
from quarterdeck.schemas.access import KeyCreate
from quarterdeck.settings import Folders, Settings
from quarterdeck.storage.database import Database

TOKEN = "t" * 43


class AccessRoom:
    """Keys, and an Access over them. `settings` can be replaced."""

    def __init__(self, database: Database, **settings: Any) -> None:
        self.database = database
        self.settings = Settings(**settings)
        self.keys = KeyStore(database)
        self.access = Access(self.keys, lambda: self.settings, token=TOKEN)

    async def add(self, name: str = "laptop", **fields: Any) -> str:
        """Make a key; returns its text."""
        return (await self.keys.add(KeyCreate(name=name, **fields))).key


@contextlib.contextmanager
def access_room(folder: Path, **settings: Any) -> Iterator[AccessRoom]:
    database = Database(Folders(folder, folder))
    database.open()
    try:
        yield AccessRoom(database, **settings)
    finally:
        database.close()


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}
