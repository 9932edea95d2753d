"""Starting and stopping a server through its owner, and waiting until the server itself agrees."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from quarterdeck.backends.owners import Owners
from quarterdeck.errors import AppError
from quarterdeck.scheduling.server_list import Known
from quarterdeck.schemas.discovery import FoundServer, ServerState

STOP_SECONDS = 100.0
"""systemd gives a service 90 s to stop before it kills it."""
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.1, 1.0
_LINES_READ = 20

Ask = Callable[[Known], Awaitable[FoundServer]]


async def perform(owners: Owners, known: Known, action: str, *, ask: Ask, load_timeout: float) -> None:
    """`start`, `stop` or `restart`; seconds. Raises AppError `server_not_ready`, or what the owner says."""
    gone = action == "stop"
    patience = STOP_SECONDS if gone else load_timeout
    await owners.act(known.owner, action, timeout=patience)
    deadline, wait = time.monotonic() + patience, FIRST_WAIT_SECONDS
    while True:
        found = await ask(known)
        if (found.state is ServerState.DOWN) if gone else _works(found):
            return
        status = await owners.status(known.owner)
        ended = not gone and status is not None and not status.running and not status.starting
        if ended or time.monotonic() > deadline:
            raise await _not_ready(owners, known, gone, status.error if status else None)
        await asyncio.sleep(wait)
        wait = min(wait * 2, LONGEST_WAIT_SECONDS)


def _works(found: FoundServer) -> bool:
    if found.state is ServerState.UNKNOWN:
        return found.kind is not None
    return found.state in (ServerState.UP, ServerState.SWITCHING, ServerState.DEFECT)


async def _not_ready(owners: Owners, known: Known, gone: bool, error: str | None) -> AppError:
    try:
        lines = [line.text for line in await owners.logs(known.owner, _LINES_READ) if line.text.strip()]
    except AppError:
        lines = []
    happened = "was stopped, but something still answers there" if gone else "was started, but does not answer"
    return AppError(
        "server_not_ready",
        f"“{known.name}” {happened}. {error}" if error else f"“{known.name}” {happened}.",
        f"The last line of its log: {lines[-1]}" if lines else "Look at its log.",
        status=502,
    )
