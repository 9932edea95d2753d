"""Telling of the queue: one event per turn of the loop, however many requests came in it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from quarterdeck.scheduling.catalog import Catalog
from quarterdeck.schemas.events import Topic
from quarterdeck.schemas.system import QueueEntry
from quarterdeck.storage.events import EventLog


class Announcer:
    """Publishes the queue and tells the models their places in it. Core loop only."""

    def __init__(self, catalog: Catalog, events: EventLog, entries: Callable[[], list[QueueEntry]]) -> None:
        self._catalog = catalog
        self._events = events
        self._entries = entries
        self._due = False
        self._queued: set[str] = set()

    def soon(self) -> None:
        """The queue has changed."""
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self._announce)

    def _announce(self) -> None:
        self._due = False
        entries = self._entries()
        names = {entry.model for entry in entries}
        for gone in self._queued - names:
            self._catalog.set_queue_position(gone, None)
        for entry in entries:
            self._catalog.set_queue_position(entry.model, entry.position)
        self._queued = names
        self._events.publish(Topic.QUEUE, "changed", {"entries": [entry.model_dump(mode="json") for entry in entries]})
