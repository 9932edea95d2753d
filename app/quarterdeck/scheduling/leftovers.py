"""What an earlier run left running: servers of ours to take over, engines to stop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from quarterdeck.backends.addresses import port_of
from quarterdeck.backends.listeners import listens, pids_by_port
from quarterdeck.backends.process import stop_leftover
from quarterdeck.compatibility.journal import EngineTrace, Journal
from quarterdeck.processes import is_alive
from quarterdeck.storage.database import Database

if TYPE_CHECKING:
    from sqlmodel import Session

KEY = "daemon:"

Trace = dict[str, Any]

_log = logging.getLogger(__name__)


class Daemons:
    """Remembers the servers that we start (Ollama, LiteLLM), so that the next run can take them over."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def remember(self, name: str) -> Callable[[Trace | None], Awaitable[None]]:
        """What the backend `name` calls with the trace of its server, and with None when that has ended."""

        async def keep(trace: Trace | None) -> None:
            await self._database.run(lambda session: _keep(session, KEY + name, trace))

        return keep

    async def recall(self, name: str, patience: float) -> Trace | None:
        """The trace of the server that an earlier run left: `pid`, `create_time` and `url` among it.

        A process of ours that runs, but whose address another program has taken, is stopped first (seconds of
        patience): whoever answers there is not ours.
        """
        trace = await self._database.run(lambda session: _recall(session, KEY + name))
        if trace is not None and await asyncio.to_thread(_lost_its_port, trace):
            _log.warning("stopping the %s of an earlier run: another program has its port", name)
            await stop_leftover(trace["pid"], trace["create_time"], patience)
        return trace


async def stop_engines(journal: Journal, patience: float) -> list[EngineTrace]:
    """Stop the engines that an earlier run left; returns those that still ran. Before any load.

    Only the very process that was recorded is stopped: a later one with its pid, or one on its port, is not ours.
    """
    known = {(trace.pid, trace.create_time): trace for trace in await journal.engine_traces()}
    stopped = await asyncio.gather(*(_stop(trace, patience) for trace in known.values()))
    left = [trace for trace, ran in zip(known.values(), stopped, strict=True) if ran]
    for trace in left:
        _log.warning("stopped the engine of %s that an earlier run had left", trace.model_name)
    return left


async def _stop(trace: EngineTrace, patience: float) -> bool:
    if trace.create_time is None or not is_alive(trace.pid, trace.create_time):
        return False
    await stop_leftover(trace.pid, trace.create_time, patience)
    return True


def _lost_its_port(trace: Mapping[str, Any]) -> bool:
    """Whether the process runs and somebody else listens where it should (blocking)."""
    port = port_of(trace["url"])
    if not is_alive(trace["pid"], trace["create_time"]) or port not in pids_by_port():
        return False
    return not listens(trace["pid"], trace["create_time"], port)


def _keep(session: Session, key: str, trace: Trace | None) -> None:
    from quarterdeck.storage.tables import Memory

    known = session.get(Memory, key)
    if trace is not None:
        session.merge(Memory(key=key, value=trace))
    elif known is not None:
        session.delete(known)


def _recall(session: Session, key: str) -> Trace | None:
    from quarterdeck.storage.tables import Memory

    known = session.get(Memory, key)
    trace = None if known is None else known.value
    if not isinstance(trace, dict) or not {"pid", "create_time", "url"} <= trace.keys():
        return None
    return trace
