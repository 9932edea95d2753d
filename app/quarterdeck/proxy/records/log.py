"""The newest requests, and who hears of each one when it is over."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from quarterdeck.proxy.records.capture import Capture, Texts
from quarterdeck.proxy.records.record import RequestRecord
from quarterdeck.schemas.requests import RequestDetail, RequestView

KEPT_REQUESTS = 500
TOLD_SECONDS = 0.25
TOLD_AT_ONCE = 10

Sink = Callable[[RequestRecord], None]


class Keeping(NamedTuple):
    """Which texts are kept: for people who look (`capture`), for the access log (`prompts`)."""

    capture: bool = False
    prompts: bool = False


class RequestLog:
    """The newest KEPT_REQUESTS requests. Core loop only.

    Each `sink` gets every finished request, and must cost microseconds. `on_request` hears of requests as people see
    them: of each one while there are few, else of the newest TOLD_AT_ONCE every TOLD_SECONDS, after `on_passed_over`
    was told how many were left out.
    """

    def __init__(
        self,
        on_request: Callable[[RequestView], None],
        *,
        on_passed_over: Callable[[int], None] = lambda _count: None,
        sinks: Sequence[Sink] = (),
        keeping: Callable[[], Keeping] = Keeping,
    ) -> None:
        self.running = 0
        self._recent: deque[RequestRecord] = deque(maxlen=KEPT_REQUESTS)
        self._capture = Capture(KEPT_REQUESTS)
        self._sinks = tuple(sinks)
        self._keeping = keeping
        self._teller = _Teller(on_request, on_passed_over)

    def began(self) -> Texts | None:
        """Count a request that begins; where its texts go, None when nobody wants them."""
        self.running += 1
        keeping = self._keeping()
        if not keeping.capture:
            self._capture.clear()
        return Texts() if keeping.capture or keeping.prompts else None

    def add(self, record: RequestRecord) -> None:
        """A request that is over."""
        self.running -= 1
        self._recent.appendleft(record)
        for sink in self._sinks:
            sink(record)
        self._keep(record)
        self._teller.tell(record)

    def records(self) -> Iterator[RequestRecord]:
        """The newest requests, newest first."""
        return iter(self._recent)

    def recent(
        self, limit: int = KEPT_REQUESTS, fits: Callable[[RequestRecord], bool] | None = None
    ) -> list[RequestView]:
        """At most `limit` of the newest requests that `fits` accepts, newest first."""
        self._forget()
        found: list[RequestView] = []
        for record in self._recent:
            if len(found) >= limit:
                break
            if fits is None or fits(record):
                found.append(record.view())
        return found

    def detail(self, id: str) -> RequestDetail | None:
        """One request with its texts, where they were kept; None when it is not known any more."""
        self._forget()
        record = next((each for each in self._recent if each.id == id), None)
        if record is None:
            return None
        texts = record.texts or Texts()
        return RequestDetail(
            request=record.view(),
            original=texts.original.shown(),
            converted=texts.converted.shown(),
            upstream=texts.upstream.shown(),
            answer=texts.answer.shown(),
        )

    def close(self) -> None:
        """Tell what was not told yet."""
        self._teller.close()

    def _keep(self, record: RequestRecord) -> None:
        if record.texts is None:
            return
        if self._keeping().capture:
            self._capture.keep(record)
        else:
            record.texts = None

    def _forget(self) -> None:
        """Texts are gone once keeping them was switched off."""
        if not self._keeping().capture:
            self._capture.clear()


class _Teller:
    """Tells of a few requests at once, and of the newest of many at intervals."""

    def __init__(self, on_request: Callable[[RequestView], None], on_passed_over: Callable[[int], None]) -> None:
        self._on_request = on_request
        self._on_passed_over = on_passed_over
        self._waiting: deque[RequestRecord] = deque(maxlen=TOLD_AT_ONCE)
        self._count = 0
        self._pause: asyncio.TimerHandle | None = None

    def tell(self, record: RequestRecord) -> None:
        if self._pause is None:
            self._on_request(record.view())
            self._rest()
        else:
            self._waiting.append(record)
            self._count += 1

    def close(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
            self._flush()

    def _rest(self) -> None:
        self._pause = asyncio.get_running_loop().call_later(TOLD_SECONDS, self._again)

    def _again(self) -> None:
        self._pause = None
        if self._waiting:
            self._flush()
            self._rest()

    def _flush(self) -> None:
        passed_over = self._count - len(self._waiting)
        if passed_over:
            self._on_passed_over(passed_over)
        for record in self._waiting:
            self._on_request(record.view())
        self._waiting.clear()
        self._count = 0
