"""Writing results that must not be lost: what cannot be written now is kept and written as soon as it can."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from quarterdeck.errors import AppError
from quarterdeck.scheduling.catalog import Catalog
from quarterdeck.scheduling.issues import Issues
from quarterdeck.schemas.events import Topic
from quarterdeck.schemas.models import AttemptView
from quarterdeck.schemas.system import IssueView
from quarterdeck.storage.events import EventLog
from quarterdeck.tasks import spawn

RETRY_SECONDS = 2.0
NOT_SAVED = "result_not_saved"
# The status of errors that say the model or its attempt was removed: there is nothing left to write to.
GONE = 404

Write = Callable[[], Awaitable[AttemptView]]

_log = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class _Result:
    """A result on its way to the disk; `attempt` is what was written."""

    name: str
    write: Write
    attempt: AttemptView | None = None


class Settling:
    """Writes how attempts ended, in order. Core loop only."""

    def __init__(self, catalog: Catalog, events: EventLog, issues: Issues) -> None:
        self._catalog = catalog
        self._events = events
        self._issues = issues
        self._pending: deque[_Result] = deque()
        self._retry: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()

    async def write(self, name: str, write: Write) -> AttemptView | None:
        """Write now and publish; None when storage refuses, then the write is repeated until it succeeds."""
        result = _Result(name, write)
        self._pending.append(result)
        await self._flush()
        if self._pending and (self._retry is None or self._retry.done()):
            self._retry = spawn(self._keep_trying(), name="save results")
        return result.attempt

    async def close(self) -> None:
        """One last try; what still cannot be written is found as interrupted at the next start."""
        if self._retry is not None:
            self._retry.cancel()
        await self._flush()

    async def _keep_trying(self) -> None:
        while self._pending:
            await asyncio.sleep(RETRY_SECONDS)
            await self._flush()

    async def _flush(self) -> None:
        async with self._turn:
            while self._pending:
                result = self._pending[0]
                try:
                    result.attempt = await self._write(result)
                except AppError as error:
                    if error.status != GONE:
                        self._tell(result.name, error)
                        return
                    _log.warning("the result for %s is dropped: %s", result.name, error.sentence)
                self._pending.popleft()
        self._issues.clear(NOT_SAVED)

    def _tell(self, name: str, error: AppError) -> None:
        sentence = f"The result for “{name}” is not saved yet: {error.sentence}"
        if not self._issues.is_open(NOT_SAVED):
            self._issues.raise_issue(IssueView(code=NOT_SAVED, sentence=sentence, hint=error.hint, severity="error"))

    async def _write(self, result: _Result) -> AttemptView:
        attempt = await result.write()
        self._events.publish(Topic.ATTEMPT, "finished", attempt)
        await self._catalog.refresh(result.name)
        return attempt
