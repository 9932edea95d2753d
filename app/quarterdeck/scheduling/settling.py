"""Writing results that must not be lost: what cannot be written now is kept and written as soon as it can."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

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

Write = Callable[[], Awaitable[AttemptView]]


class Settling:
    """Writes how attempts ended, in order. Core loop only."""

    def __init__(self, catalog: Catalog, events: EventLog, issues: Issues) -> None:
        self._catalog = catalog
        self._events = events
        self._issues = issues
        self._pending: list[tuple[str, Write]] = []
        self._retry: asyncio.Task[None] | None = None

    async def write(self, name: str, write: Write) -> AttemptView | None:
        """Write now and publish; None when storage refuses, then the write is repeated until it succeeds."""
        try:
            return await self._write(name, write)
        except AppError as error:
            self._pending.append((name, write))
            sentence = f"The result for “{name}” is not saved yet: {error.sentence}"
            self._issues.raise_issue(IssueView(code=NOT_SAVED, sentence=sentence, hint=error.hint, severity="error"))
            if self._retry is None or self._retry.done():
                self._retry = spawn(self._keep_trying(), name="save results")
            return None

    async def close(self) -> None:
        """One last try; what still cannot be written is found as interrupted at the next start."""
        if self._retry is not None:
            self._retry.cancel()
        await self._flush()

    async def _keep_trying(self) -> None:
        while self._pending:
            await asyncio.sleep(RETRY_SECONDS)
            await self._flush()
        self._issues.clear(NOT_SAVED)

    async def _flush(self) -> None:
        while self._pending:
            try:
                await self._write(*self._pending[0])
            except AppError:
                return
            del self._pending[0]

    async def _write(self, name: str, write: Write) -> AttemptView:
        attempt = await write()
        self._events.publish(Topic.ATTEMPT, "finished", attempt)
        await self._catalog.refresh(name)
        return attempt
