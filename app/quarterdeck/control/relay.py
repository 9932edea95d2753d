"""Brings what happens elsewhere (sampler thread, logs, backends, requests) into the event stream of the core loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict

from quarterdeck.hardware.sampler import Sampler
from quarterdeck.schemas.backends import BackendView, LogLine
from quarterdeck.schemas.events import Topic
from quarterdeck.schemas.hardware import HardwareSample
from quarterdeck.schemas.requests import RequestView
from quarterdeck.storage.events import EventLog

BATCH_SECONDS = 0.1


class Relay:
    """Publishes for those who cannot know the event log. Core loop only, except where said."""

    def __init__(self, events: EventLog, stack: contextlib.AsyncExitStack) -> None:
        self._events = events
        self._loop = asyncio.get_running_loop()
        self._lines: dict[str, list[LogLine]] = defaultdict(list)
        self._flush: asyncio.TimerHandle | None = None
        stack.callback(self._close)

    def watch_hardware(self, sampler: Sampler) -> None:
        """Sample only while somebody watches."""
        sampler.on_sample = self._sampled
        self._events.watch_changed = lambda: sampler.set_active(self._events.watched(Topic.GPU))

    def backend(self, name: str, view: BackendView | None) -> None:
        """A backend as it is now; None when it is gone."""
        if view is None:
            self._events.publish(Topic.BACKEND, "removed", {"name": name})
        else:
            self._events.publish(Topic.BACKEND, "changed", view)

    def request(self, view: RequestView) -> None:
        """A request that is over, while somebody watches."""
        if self._events.watched(Topic.REQUEST):
            self._events.publish(Topic.REQUEST, "finished", view)

    def requests_passed_over(self, count: int) -> None:
        """There were more requests than are told of one by one."""
        self._events.publish(Topic.REQUEST, "passed_over", {"count": count})

    def lines(self, source: str, lines: list[LogLine]) -> None:
        """Collect log lines and publish them in batches while somebody watches."""
        if not self._events.watched(Topic.LOG):
            return
        self._lines[source].extend(lines)
        if self._flush is None:
            self._flush = self._loop.call_later(BATCH_SECONDS, self._publish_lines)

    def _publish_lines(self) -> None:
        self._flush = None
        batches, self._lines = self._lines, defaultdict(list)
        for source, lines in batches.items():
            dumped = [line.model_dump(mode="json") for line in lines]
            self._events.publish(Topic.LOG, "lines", {"source": source, "lines": dumped})

    def _sampled(self, sample: HardwareSample) -> None:
        """Called on the sampler thread."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._publish_sample, sample)

    def _publish_sample(self, sample: HardwareSample) -> None:
        if self._events.watched(Topic.GPU):
            self._events.publish(Topic.GPU, "sample", sample)

    def _close(self) -> None:
        self._events.watch_changed = None
        if self._flush is not None:
            self._flush.cancel()
