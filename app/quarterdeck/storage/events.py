"""The event log: what changed, in order, for everybody who listens. Core loop only; never blocks it."""

from __future__ import annotations

import asyncio
import heapq
import logging
import time
import weakref
from collections import deque
from collections.abc import AsyncGenerator, Callable, Collection
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from quarterdeck.errors import AppError
from quarterdeck.schemas.events import Event, Topic
from quarterdeck.storage.database import Database
from quarterdeck.tasks import spawn

if TYPE_CHECKING:
    from sqlmodel import Session

QUEUE_LIMIT = 4000
STORED_KEPT = 5000
# Samples, log lines and requests come by the hundred; in one ring they would push out everything else.
_SEPARATE = ((frozenset({Topic.GPU, Topic.LOG}), 300), (frozenset({Topic.REQUEST}), 500))
_STORED = frozenset({Topic.ATTEMPT, Topic.BACKEND, Topic.ISSUE, Topic.SETTING})

_log = logging.getLogger(__name__)


class EventLog:
    """Publishes events, replays missed ones and stores those worth keeping.

    Ids grow over restarts: they begin at the milliseconds since the epoch, or after the newest stored one.
    """

    def __init__(self, database: Database, keep: int = 2000, queue_limit: int = QUEUE_LIMIT) -> None:
        self.watch_changed: Callable[[], None] | None = None
        self._database = database
        self._queue_limit = queue_limit
        self._last = time.time_ns() // 1_000_000
        self._keep = keep
        self._rings = self._new_rings()
        self._subscribers: set[_Subscriber] = set()
        self._watched: frozenset[Topic] = frozenset()
        self._unwritten: deque[Event] = deque(maxlen=STORED_KEPT)
        self._writer: asyncio.Task[None] | None = None
        self._closed = False

    async def restore(self) -> None:
        """Continue after the newest stored id, should the clock have been set back. Before the first `publish`."""
        newest = await self._database.run(_newest_id)
        if newest > self._last:
            self._last = newest
            self._rings = self._new_rings()

    def publish(self, topic: Topic, type: str, data: BaseModel | dict[str, Any]) -> Event:
        """Send an event to its subscribers; it is stored in the background if it is one of those worth keeping."""
        payload = data.model_dump(mode="json") if isinstance(data, BaseModel) else data
        event = Event(id=self._next_id(), topic=topic, type=type, at=datetime.now(UTC), data=payload)
        next(ring for ring in self._rings if topic in ring.topics).append(event)
        for subscriber in self._subscribers:
            if topic is Topic.STREAM or topic in subscriber.topics:
                subscriber.put(event)
        if topic in _STORED or (topic is Topic.MODEL and type == "removed"):
            self._unwritten.append(event)
            self._write_soon()
        return event

    def subscribe(self, topics: Collection[Topic], last_id: int | None = None) -> AsyncGenerator[Event, None]:
        """Events of `topics` from now on, or from after `last_id`; ends when the log is closed.

        The first event is stream/reset when events after `last_id` are no longer known, and one comes later
        when the reader is so slow that events had to be dropped.
        """
        subscriber = _Subscriber(frozenset(topics), self._queue_limit)
        if self._closed:
            subscriber.end()
        else:
            for event in self._missed(subscriber.topics, last_id):
                subscriber.put(event)
            self._subscribers.add(subscriber)
            self._update_watched()
        stream = self._stream(subscriber)
        # A generator that was never started runs no `finally`; without this it would stay subscribed for ever.
        weakref.finalize(stream, self._unsubscribe, subscriber).atexit = False
        return stream

    @property
    def last_id(self) -> int:
        """The id of the newest event."""
        return self._last

    def watched(self, topic: Topic) -> bool:
        """Whether anybody listens to `topic`, so that making its events is worth the work."""
        return topic in self._watched

    def close(self) -> None:
        """End all subscriptions, after what they have not read yet; later events reach nobody."""
        self._closed = True
        for subscriber in self._subscribers:
            subscriber.end()

    async def flush(self) -> None:
        """Wait until all events published so far are stored; what cannot be stored is logged and kept for later."""
        self._write_soon()
        if self._writer is not None:
            await asyncio.shield(self._writer)

    def _new_rings(self) -> list[_Ring]:
        separate = [_Ring(topics, min(self._keep, size), self._last) for topics, size in _SEPARATE]
        others = frozenset(Topic).difference(*(ring.topics for ring in separate))
        return [_Ring(others, self._keep, self._last), *separate]

    def _next_id(self) -> int:
        self._last += 1
        return self._last

    def _missed(self, topics: frozenset[Topic], last_id: int | None) -> list[Event]:
        if last_id is None:
            return []
        rings = [ring for ring in self._rings if ring.topics & topics]
        if last_id > self._last or any(last_id < ring.forgotten for ring in rings):
            return [self._reset()]
        known = heapq.merge(*(ring.events for ring in rings), key=lambda event: event.id)
        return [event for event in known if event.id > last_id and event.topic in topics]

    def _reset(self) -> Event:
        return _reset(self._last)

    async def _stream(self, subscriber: _Subscriber) -> AsyncGenerator[Event, None]:
        try:
            while (event := await subscriber.get()) is not None:
                yield event
        finally:
            self._unsubscribe(subscriber)

    def _unsubscribe(self, subscriber: _Subscriber) -> None:
        if subscriber in self._subscribers:
            self._subscribers.remove(subscriber)
            self._update_watched()

    def _update_watched(self) -> None:
        watched: frozenset[Topic] = frozenset().union(*(subscriber.topics for subscriber in self._subscribers))
        if watched != self._watched:
            self._watched = watched
            if self.watch_changed is not None:
                self.watch_changed()

    def _write_soon(self) -> None:
        if self._unwritten and (self._writer is None or self._writer.done()):
            self._writer = spawn(self._write(), name="store events")

    async def _write(self) -> None:
        while self._unwritten:
            batch = list(self._unwritten)
            try:
                await self._database.run(partial(_store, batch=batch))
            except AppError as error:
                _log.warning("%d events are not stored yet: %s", len(batch), error.sentence)
                return
            stored = batch[-1].id
            while self._unwritten and self._unwritten[0].id <= stored:
                self._unwritten.popleft()


class _Ring:
    """The newest events of `topics`; `forgotten` is the id up to which events are no longer known."""

    def __init__(self, topics: frozenset[Topic], size: int, forgotten: int) -> None:
        self.topics = topics
        self.size = size
        self.forgotten = forgotten
        self.events: deque[Event] = deque()

    def append(self, event: Event) -> None:
        self.events.append(event)
        if len(self.events) > self.size:
            self.forgotten = self.events.popleft().id


class _Subscriber:
    """One reader's bounded queue."""

    def __init__(self, topics: frozenset[Topic], limit: int) -> None:
        self.topics = topics
        self._limit = limit
        self._queue: deque[Event] = deque()
        self._changed = asyncio.Event()
        self._ended = False

    def put(self, event: Event) -> None:
        if len(self._queue) >= self._limit:
            self._queue.clear()
            event = _reset(event.id)
        self._queue.append(event)
        self._changed.set()

    def end(self) -> None:
        self._ended = True
        self._changed.set()

    async def get(self) -> Event | None:
        """The next event, None at the end."""
        while not self._queue:
            if self._ended:
                return None
            self._changed.clear()
            await self._changed.wait()
        return self._queue.popleft()


def _reset(last_id: int) -> Event:
    return Event(id=last_id, topic=Topic.STREAM, type="reset", at=datetime.now(UTC))


def _newest_id(session: Session) -> int:
    from sqlmodel import col, func, select

    from quarterdeck.storage.tables import StoredEvent

    return session.exec(select(func.max(col(StoredEvent.id)))).one() or 0


def _store(session: Session, batch: list[Event]) -> None:
    from sqlmodel import col, delete, desc, select

    from quarterdeck.storage.tables import StoredEvent

    session.add_all(StoredEvent(**event.model_dump()) for event in batch)
    session.flush()
    newest = select(StoredEvent.id).order_by(desc(col(StoredEvent.id)))
    oldest_kept = session.exec(newest.offset(STORED_KEPT - 1).limit(1)).first()
    if oldest_kept is not None:
        session.exec(delete(StoredEvent).where(col(StoredEvent.id) < oldest_kept))
