"""Starting and stopping a server through its owner, and waiting until the server itself agrees."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from quarterdeck.backends.owners import Owners
from quarterdeck.diagnosis.matcher import diagnose_log
from quarterdeck.errors import AppError
from quarterdeck.scheduling.server_list import Known
from quarterdeck.schemas.discovery import FoundServer, ServerState

STOP_SECONDS = 100.0
"""systemd gives a service 90 s to stop before it kills it."""
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.1, 1.0
_LINES_READ = 300

Ask = Callable[[Known], Awaitable[FoundServer]]


async def perform(owners: Owners, known: Known, action: str, *, ask: Ask, load_timeout: float) -> None:
    """`start`, `stop` or `restart`; seconds. Raises AppError `server_not_ready`, or what the owner says."""
    gone = action == "stop"
    patience = STOP_SECONDS if gone else load_timeout
    since = datetime.now(UTC)
    await owners.act(known.owner, action, timeout=patience)
    deadline, wait = time.monotonic() + patience, FIRST_WAIT_SECONDS
    while True:
        found = await ask(known)
        if (found.state is ServerState.DOWN) if gone else _works(found):
            return
        status = await owners.status(known.owner)
        ended = not gone and status is not None and not status.running and not status.starting
        if ended or time.monotonic() > deadline:
            raise await _not_ready(owners, known, status.error if status else None, since=None if gone else since)
        await asyncio.sleep(wait)
        wait = min(wait * 2, LONGEST_WAIT_SECONDS)


def _works(found: FoundServer) -> bool:
    if found.state is ServerState.UNKNOWN:
        return found.kind is not None
    return found.state in (ServerState.UP, ServerState.SWITCHING, ServerState.DEFECT)


async def _not_ready(owners: Owners, known: Known, error: str | None, *, since: datetime | None) -> AppError:
    """What happened, and why where the log tells it; `since` is when it was started, None when it was stopped."""
    try:
        lines = [line for line in await owners.logs(known.owner, _LINES_READ) if line.text.strip()]
    except AppError:
        lines = []
    if since is None:
        sentence = f"“{known.name}” was stopped, but something still answers there."
    else:
        sentence = f"“{known.name}” was started, but does not answer."
    hint = f"The last line of its log: {lines[-1].text}" if lines else "Look at its log."
    new = [line.text for line in lines if since is not None and line.at >= since]
    told = diagnose_log(new, known.kind.value if known.kind else "")
    if told.kind == "failure" and told.failure_class is not None:
        error, hint = f"{told.title}. {told.why}", " ".join(f"{remedy.title}." for remedy in told.remedies) or hint
    return AppError("server_not_ready", f"{sentence} {error}" if error else sentence, hint, status=502)
