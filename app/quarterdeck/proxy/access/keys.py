"""API keys of clients: made, revoked, and found by their text without a look into the database."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
import time
from datetime import UTC, datetime

from quarterdeck.errors import AppError
from quarterdeck.proxy.access import limiting, profiles, rows
from quarterdeck.proxy.access.rows import StoredKey
from quarterdeck.schemas.access import KeyCreate, KeyView, NewKey
from quarterdeck.storage.database import Database
from quarterdeck.tasks import spawn

PREFIX = "qd-"
_SHOWN = len(PREFIX) + 5
_NOTED_SECONDS = 60.0
"""The last use of a key is written at most once in so many seconds."""


class KeyStore:
    """All API keys. `open` comes first; texts are never kept, only their SHA-256."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._by_hash: dict[str, StoredKey] = {}
        self._noted: dict[str, float] = {}
        self._turn = asyncio.Lock()
        self.version = 0
        """Grows with every change, so that others know when what they remember is old."""
        self.exist = False
        """Whether clients need a key. An expired key counts: its end must not open the door to everybody."""

    async def open(self) -> None:
        """Read the keys. Raises AppError when the database cannot be read."""
        self._keep(await self._database.run(rows.read_all))
        await self._prepare()

    async def add(self, new: KeyCreate) -> NewKey:
        """Make a key; a revoked one of the same name gives way.

        Raises AppError `key_exists` (409), `unknown_profile` or `bad_key` (400).
        """
        view = _checked(new)
        text = PREFIX + secrets.token_urlsafe(32)
        stored = StoredKey(_digest(text), view.model_copy(update={"begins_with": text[:_SHOWN]}))
        async with self._turn:
            taken = self._named(new.name)
            if taken is not None and taken.view.revoked_at is None:
                raise AppError(
                    "key_exists",
                    f"There is already a key named “{new.name}”.",
                    "Revoke it first, or choose another name.",
                    status=409,
                )
            await self._database.run(lambda session: rows.write(session, stored))
            self._keep(await self._database.run(rows.read_all))
        await self._prepare()
        return NewKey(key=text, view=stored.view)

    async def revoke(self, name: str) -> KeyView:
        """End a key at once; it stays in the list as revoked. Raises AppError `unknown_key` (404)."""
        async with self._turn:
            known = self._named(name)
            if known is None or known.view.revoked_at is not None:
                names = ", ".join(key.view.name for key in self._by_hash.values() if key.view.revoked_at is None)
                raise AppError(
                    "unknown_key", f"There is no API key named “{name}”.", f"Known: {names or 'none'}.", status=404
                )
            now = datetime.now(UTC)
            await self._database.run(lambda session: rows.revoke(session, name, now))
            self._keep(await self._database.run(rows.read_all))
        return known.view.model_copy(update={"revoked_at": now})

    def all(self) -> list[KeyView]:
        """All keys, the oldest first; revoked ones too."""
        return [known.view for known in self._by_hash.values()]

    def find(self, text: str) -> KeyView | None:
        """The key with this text, if it may be used now."""
        view = self.known(text)
        if view is None or view.revoked_at is not None:
            return None
        if view.expires_at is not None and view.expires_at <= datetime.now(UTC):
            return None
        return view

    def known(self, text: str) -> KeyView | None:
        """The key with this text, also when it was revoked or has expired."""
        digest = _digest(text)
        stored = self._by_hash.get(digest)
        return stored.view if stored is not None and hmac.compare_digest(stored.hash, digest) else None

    def used(self, view: KeyView) -> None:
        """Note that the key was used now. Needs the running loop; costs nothing most of the time."""
        moment = time.monotonic()
        if moment - self._noted.get(view.name, -_NOTED_SECONDS) < _NOTED_SECONDS:
            return
        self._noted[view.name] = moment
        at = datetime.now(UTC)
        view.last_used_at = at
        spawn(self._database.run(lambda session: rows.note_use(session, view.name, at)), name="note the use of a key")

    def _named(self, name: str) -> StoredKey | None:
        return next((known for known in self._by_hash.values() if known.view.name == name), None)

    def _keep(self, stored: list[StoredKey]) -> None:
        self._by_hash = {key.hash: key for key in stored}
        self.exist = any(key.view.revoked_at is None for key in stored)
        self.version += 1

    async def _prepare(self) -> None:
        if any(limiting.is_limited(known.view) for known in self._by_hash.values()):
            await asyncio.to_thread(limiting.prepare)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _checked(new: KeyCreate) -> KeyView:
    now = datetime.now(UTC)
    if new.profile not in profiles.NAMES:
        raise profiles.unknown_profile(new.profile)
    if not new.name.isprintable() or new.name != new.name.strip():
        raise AppError("bad_key", "The name of a key must be plain text.", "Leave out line ends and outer spaces.")
    # A moment without a time zone is meant as the clock on the wall shows it.
    ends = new.expires_at.astimezone(UTC) if new.expires_at is not None else None
    if ends is not None and ends <= now:
        raise AppError("bad_key", "The key would have expired already.", "Choose an end in the future.")
    return KeyView(**{**new.model_dump(), "expires_at": ends}, begins_with="", created_at=now)
