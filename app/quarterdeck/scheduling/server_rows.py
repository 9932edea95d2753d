"""The servers that a person made known, as they lie in the database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quarterdeck.scheduling.server_list import Origin, Wanted
from quarterdeck.schemas.backends import BackendKind, Owner, OwnerKind
from quarterdeck.storage.database import Database
from quarterdeck.storage.secrets import Secrets

if TYPE_CHECKING:
    from sqlmodel import Session


class ServerRows:
    """Reads and writes them, with their keys. `wanted` is what was read or written last."""

    def __init__(self, database: Database, secrets: Secrets) -> None:
        self.wanted: list[Wanted] = []
        self._database = database
        self._secrets = secrets

    async def read(self) -> None:
        rows = await self._database.run(_all)
        self.wanted = [
            Wanted(
                url, Origin.ADDED, name=name, kind=BackendKind(kind) if kind else None,
                owner=Owner(kind=OwnerKind(owner_kind), name=owner_name), key=self._secrets.get(_key(name)),
            )
            for name, kind, url, owner_kind, owner_name in rows
        ]  # fmt: skip

    async def write(self, wanted: Wanted) -> None:
        """Keep a server; an empty key stays as it is. Raises AppError when it cannot be kept."""
        if wanted.key:
            await self._secrets.set(_key(wanted.name), wanted.key)
        await self._database.run(lambda session: _write(session, wanted))
        await self.read()

    async def forget_key(self, name: str) -> None:
        """The server is asked without a key from now on."""
        await self._secrets.remove(_key(name))
        await self.read()

    async def remove(self, name: str) -> None:
        await self._database.run(lambda session: _remove(session, name))
        await self._secrets.remove(_key(name))
        await self.read()


def _key(name: str) -> str:
    return f"server:{name}"


def _all(session: Session) -> list[tuple[str, str, str, str, str | None]]:
    from sqlmodel import select

    from quarterdeck.storage.tables import Server

    rows = session.exec(select(Server).order_by(Server.name)).all()
    return [(row.name, row.kind, row.url, row.owner_kind, row.owner_name) for row in rows]


def _write(session: Session, wanted: Wanted) -> None:
    from quarterdeck.storage.tables import Server

    row = session.get(Server, wanted.name) or Server(name=wanted.name, kind="", url=wanted.url)
    owner = wanted.owner or Owner(kind=OwnerKind.OTHER)
    row.kind, row.url = wanted.kind.value if wanted.kind else "", wanted.url
    row.owner_kind, row.owner_name = owner.kind.value, owner.name
    session.add(row)


def _remove(session: Session, name: str) -> None:
    from quarterdeck.storage.tables import Server

    row = session.get(Server, name)
    if row is not None:
        session.delete(row)
