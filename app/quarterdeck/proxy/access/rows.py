"""API keys as they lie in the database."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from quarterdeck.schemas.access import KeyView

if TYPE_CHECKING:
    from sqlmodel import Session


class StoredKey(NamedTuple):
    """The SHA-256 of a key's text, in hexadecimal digits, and what is told of the key."""

    hash: str
    view: KeyView


def read_all(session: Session) -> list[StoredKey]:
    """Every key, the oldest first; revoked ones too."""
    from sqlmodel import col, select

    from quarterdeck.storage.tables import ApiKey

    rows = session.exec(select(ApiKey).order_by(col(ApiKey.created_at), ApiKey.name)).all()
    return [StoredKey(row.hash, KeyView.model_validate(row.model_dump(exclude={"hash"}))) for row in rows]


def write(session: Session, key: StoredKey) -> None:
    """Keep a new key; one of the same name is replaced."""
    from quarterdeck.storage.tables import ApiKey

    session.merge(ApiKey(hash=key.hash, **key.view.model_dump()))


def revoke(session: Session, name: str, at: datetime) -> None:
    from quarterdeck.storage.tables import ApiKey

    row = session.get_one(ApiKey, name)
    row.revoked_at = at


def note_use(session: Session, name: str, at: datetime) -> None:
    from quarterdeck.storage.tables import ApiKey

    row = session.get(ApiKey, name)
    if row is not None:
        row.last_used_at = at
