"""One event stream of the core, opened again whenever it breaks or other topics are wanted."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from quarterdeck.errors import AppError
from quarterdeck.tasks import spawn

if TYPE_CHECKING:
    from quarterdeck.client.api import ApiClient
    from quarterdeck.schemas.events import Event

FIRST_DELAY = 0.3
LONGEST_DELAY = 8.0

_log = logging.getLogger(__name__)


class Feed:
    """Fetches the state, then hands on every later event in order; after a gap it fetches the state anew.

    `report` gets True when the core answers and an AppError when it does not.
    """

    def __init__(
        self,
        client: ApiClient,
        refetch: Callable[[], Awaitable[None]],
        apply: Callable[[Event], None],
        report: Callable[[AppError | bool], None],
    ) -> None:
        self.live: frozenset[str] = frozenset()
        self._client = client
        self._refetch = refetch
        self._apply = apply
        self._report = report
        self._last_id: int | None = None
        self._task: asyncio.Task[None] | None = None
        self._reopen = asyncio.Event()

    def start(self) -> None:
        self._task = spawn(self._follow(), name="event feed")

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def set_live(self, topics: frozenset[str]) -> None:
        """Which of the costly topics the stream carries besides the usual ones."""
        if topics != self.live:
            self.live = topics
            self._reopen.set()

    async def _follow(self) -> None:
        delay = FIRST_DELAY
        while True:
            try:
                await self._read()
            except AppError as error:
                self._report(error)
                _log.info("core lost: %s", error.sentence)
            else:
                self._report(AppError("stream_ended", "The core closed its event stream.", status=503))
            if self._last_id is not None:
                delay, self._last_id = FIRST_DELAY, None
            await asyncio.sleep(delay)
            delay = min(delay * 2, LONGEST_DELAY)

    async def _read(self) -> None:
        """Follow streams until one ends by itself; streams given up for other topics are resumed by id."""
        resumed = False
        while True:
            self._reopen.clear()
            queue: asyncio.Queue[Event | None] = asyncio.Queue()
            reader = spawn(self._receive(queue), name="event reader")
            reopen = spawn(self._wait_reopen(queue), name="event reopen")
            try:
                while (event := await queue.get()) is not None:
                    await self._take(event, resumed=resumed)
                if not self._reopen.is_set():
                    return await reader
                resumed = True
            finally:
                await _end(reader, reopen)

    async def _receive(self, queue: asyncio.Queue[Event | None]) -> None:
        from quarterdeck.schemas.events import DEFAULT_TOPICS, Topic

        usual = (topic for topic in DEFAULT_TOPICS if topic is not Topic.REQUEST)
        topics = (*usual, *(Topic(name) for name in sorted(self.live)))
        try:
            async for event in self._client.events(topics, last_id=self._last_id):
                queue.put_nowait(event)
        finally:
            queue.put_nowait(None)

    async def _wait_reopen(self, queue: asyncio.Queue[Event | None]) -> None:
        await self._reopen.wait()
        queue.put_nowait(None)

    async def _take(self, event: Event, *, resumed: bool) -> None:
        self._last_id = max(event.id, self._last_id or 0)
        if event.topic.value == "stream":
            await self._take_state(event.type, resumed=resumed)
            return
        try:
            self._apply(event)
        except (ValueError, KeyError):
            _log.exception("event %s %s/%s cannot be read", event.id, event.topic, event.type)

    async def _take_state(self, kind: str, *, resumed: bool) -> None:
        """Read the state where events alone do not give it: on a new stream, and after a gap."""
        if kind == "reset" or (kind == "opened" and not resumed):
            await self._refetch()
        if kind == "opened" and not resumed:
            self._report(True)


async def _end(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
