"""Who owns the servers of the list, and how their services are."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from quarterdeck.backends.addresses import is_loopback
from quarterdeck.backends.listeners import Listener, listeners
from quarterdeck.backends.owners import Owners
from quarterdeck.errors import AppError
from quarterdeck.scheduling.server_list import GUEST, Known, place
from quarterdeck.schemas.backends import Owner
from quarterdeck.schemas.discovery import ServerState


async def look(owners: Owners, servers: Collection[Known]) -> None:
    """Fill in who listens, whose process that is, and what its owner says of the service."""
    here = {place(known.wanted.url).port: known for known in servers if is_loopback(known.wanted.url)}
    holders = await asyncio.to_thread(listeners, here) if here else {}
    unclear = {port: holders.get(port) for port, known in here.items() if _is_unclear(known, holders.get(port))}
    found = await owners.find(unclear) if unclear else {}
    for port, known in here.items():
        known.listener, known.owner = holders.get(port), found.get(port, known.owner)
    await asyncio.gather(*(_ask(owners, known) for known in servers))


async def owner_at(owners: Owners, url: str) -> Owner:
    """Who owns what listens at `url`."""
    if not is_loopback(url):
        return GUEST
    port = place(url).port
    holders = await asyncio.to_thread(listeners, [port])
    return (await owners.find({port: holders.get(port)}))[port]


def _is_unclear(known: Known, holder: Listener | None) -> bool:
    """Whether a server that answers has another process than before; what a person said of its owner stands."""
    if known.wanted.owner not in (None, GUEST) or known.found.state is ServerState.DOWN:
        return False
    return known.listener is None or holder is None or holder.pid != known.listener.pid


async def _ask(owners: Owners, known: Known) -> None:
    known.status, known.trouble = None, None
    if known.controlled:
        try:
            known.status = await owners.status(known.owner)
        except AppError as error:
            known.trouble = error.sentence
    if known.found.state is not ServerState.DOWN:
        known.error = None
    process = known.listener.name if known.listener else None
    pid = known.listener.pid if known.listener else known.status.pid if known.status else None
    known.found = known.found.model_copy(update={"owner": known.owner, "pid": pid, "process": process})
