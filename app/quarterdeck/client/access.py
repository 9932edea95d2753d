"""The commands about who may reach Quarterdeck: API keys, and web servers in front of it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import UTC, datetime

from pydantic import ValidationError

from quarterdeck.client import text
from quarterdeck.client.api import ApiClient
from quarterdeck.client.connection import Connection
from quarterdeck.client.output import note, out, plain
from quarterdeck.errors import AppError
from quarterdeck.schemas.access import KeyCreate, KeyView


async def keys(connection: Connection, arguments: argparse.Namespace) -> int:
    """List, add or revoke API keys."""
    client = connection.client
    if arguments.action == "list":
        known = await client.keys()
        out([plain(key) for key in known] if arguments.json else _table(known))
        return 0
    if arguments.name is None:
        raise AppError("key_required", "The name of the key is missing.", f"quarterdeck keys {arguments.action} NAME")
    if arguments.action == "add":
        return await _add(client, arguments)
    await client.revoke_key(arguments.name)
    out({"revoked": arguments.name} if arguments.json else f"Revoked {arguments.name}; it is refused from now on.")
    return 0


async def snippet(connection: Connection, arguments: argparse.Namespace) -> int:
    """Print the configuration for a web server in front of Quarterdeck."""
    found = next(each for each in await connection.client.snippets() if each.server == arguments.server)
    out(plain(found) if arguments.json else found.text.rstrip())
    return 0


async def _add(client: ApiClient, arguments: argparse.Namespace) -> int:
    first = not any(key.revoked_at is None for key in await client.keys())
    made = await client.add_key(_wanted(arguments))
    out(plain(made) if arguments.json else made.key)
    note("This is the only time that the key is shown.")
    if first:
        note("It is the first one: from now on every client needs a key.")
    return 0


def _wanted(arguments: argparse.Namespace) -> KeyCreate:
    try:
        return KeyCreate(
            name=arguments.name,
            models=arguments.model,
            admin=arguments.admin,
            expires_at=arguments.expires,
            requests_per_minute=arguments.requests,
            tokens_per_minute=arguments.tokens,
            concurrency=arguments.concurrency,
            profile=arguments.profile,
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise AppError("bad_key", f"{first['loc'][0]}: {first['msg']}.", "See `quarterdeck keys --help`.") from None


def _table(known: Sequence[KeyView]) -> str:
    if not known:
        return "No API keys: programs on this machine need none. Add one: quarterdeck keys add NAME"
    rows = [
        [key.name, f"{key.begins_with}…", _state(key), ", ".join(key.models) or "all", _limits(key), _day(key)]
        for key in known
    ]
    return text.table(["NAME", "KEY", "STATE", "MODELS", "LIMITS", "LAST USED"], rows)


def _state(key: KeyView) -> str:
    if key.revoked_at is not None:
        return "revoked"
    if key.expires_at is not None and key.expires_at <= datetime.now(UTC):
        return "expired"
    return "admin" if key.admin else "active"


def _limits(key: KeyView) -> str:
    limits = (
        (key.requests_per_minute, "requests/min"),
        (key.tokens_per_minute, "tokens/min"),
        (key.concurrency, "at a time"),
    )
    return ", ".join(f"{value} {unit}" for value, unit in limits if value is not None) or "none"


def _day(key: KeyView) -> str:
    return "never" if key.last_used_at is None else f"{key.last_used_at.astimezone():%Y-%m-%d %H:%M}"
