"""How programs are connected, and the keys they use, in words."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from quarterdeck.gui.presenters.badges import Badge, Tone
from quarterdeck.gui.presenters.text import counted, listed, moment
from quarterdeck.schemas.access import ConnectGuide, KeyView, ProxySnippet

SERVER_TITLES = {"nginx": "nginx", "apache": "Apache", "caddy": "Caddy"}
SNIPPET_NOTES = ("It passes streams on as they arrive, and waits long enough for a model to load.",)
MOST_MODELS = 3


class Entry(NamedTuple):
    """One program, or one web server in front. `client` is empty for what cannot be tested from here."""

    key: str
    title: str
    fields: tuple[tuple[str, str], ...]
    snippet: str
    notes: tuple[str, ...]
    client: str


def guide_entry(guide: ConnectGuide) -> Entry:
    fields = tuple(guide.fields.items())
    return Entry(f"client:{guide.client}", guide.title, fields, guide.snippet, tuple(guide.notes), guide.client)


def snippet_entry(snippet: ProxySnippet) -> Entry:
    title = SERVER_TITLES.get(snippet.server, snippet.server)
    return Entry(f"server:{snippet.server}", title, (), snippet.text, SNIPPET_NOTES, "")


class Expiry(NamedTuple):
    """How long a key holds; without `days` it has no end."""

    title: str
    days: int | None

    def end(self, now: datetime) -> datetime | None:
        return None if self.days is None else now + timedelta(days=self.days)


EXPIRIES = (
    Expiry("Never", None),
    Expiry("In a day", 1),
    Expiry("In a week", 7),
    Expiry("In 30 days", 30),
    Expiry("In a year", 365),
)


class KeyRow(NamedTuple):
    """One API key as the list shows it."""

    view: KeyView
    badge: Badge
    cells: tuple[str, ...]


KEY_COLUMNS = ("Name", "Begins with", "State", "May use", "Limits", "Last used")


def key_row(view: KeyView, now: datetime) -> KeyRow:
    badge = key_badge(view, now)
    cells = (view.name, f"{view.begins_with}…", badge.word, may_use(view), limits(view),
             moment(view.last_used_at, now))  # fmt: skip
    return KeyRow(view, badge, cells)


def key_rows(views: Sequence[KeyView], now: datetime) -> list[KeyRow]:
    """The keys that can be used first, then by name."""
    rows = [key_row(view, now) for view in views]
    return sorted(rows, key=lambda row: (row.badge.tone is not Tone.OK, row.view.name.lower()))


def key_badge(view: KeyView, now: datetime) -> Badge:
    if view.revoked_at is not None:
        return Badge("close", "Revoked", Tone.NEUTRAL, f"It was revoked: {moment(view.revoked_at, now)}.")
    if view.expires_at is not None and view.expires_at <= now:
        return Badge("idle", "Expired", Tone.WARN, f"It ended: {moment(view.expires_at, now)}.")
    if view.expires_at is not None:
        return Badge("ok", "Valid", Tone.OK, f"It holds until {moment(view.expires_at, now)}.")
    return Badge("ok", "Valid", Tone.OK, "It has no end.")


def may_use(view: KeyView) -> str:
    """The models of a key, and whether it opens the control API."""
    models = listed(view.models, MOST_MODELS) if view.models else "All models"
    return f"{models}, control" if view.admin else models


def limits(view: KeyView) -> str:
    parts = [
        f"{view.requests_per_minute:,} requests/min" if view.requests_per_minute is not None else "",
        f"{view.tokens_per_minute:,} tokens/min" if view.tokens_per_minute is not None else "",
        f"{view.concurrency:,} at a time" if view.concurrency is not None else "",
        f"profile {view.profile}" if view.profile != "default" else "",
    ]
    return ", ".join(part for part in parts if part) or "None"


def keys_summary(rows: Sequence[KeyRow]) -> str:
    """What the keys mean for clients."""
    if any(row.view.revoked_at is None for row in rows):
        valid = sum(row.badge.tone is Tone.OK for row in rows)
        return f"{counted(valid, 'key is', 'keys are')} valid. Clients need one of them."
    return (
        "There is no key: every program on this computer can use the models. With the first key, all clients need one."
    )
