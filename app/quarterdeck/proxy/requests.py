"""What is remembered of recent requests: times, tokens and outcome, never the texts."""

from __future__ import annotations

import re
import time
import uuid
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime

from quarterdeck.schemas.requests import RequestView

KEPT_REQUESTS = 500
_TAIL_BYTES = 4096
_TOKENS = re.compile(rb'"completion_tokens":\s*(\d+)')
_PER_SECOND = re.compile(rb'"predicted_per_second":\s*([\d.]+)')
_STREAM_END = re.compile(rb'\[DONE\]|"finish_reason":\s*"|"error":')
_FIRST_TEXT = re.compile(rb'"(?:content|text|reasoning_content|arguments)":\s*"[^"]')


class RequestRecord:
    """One request while it runs; `finish` turns it into a RequestView once."""

    def __init__(
        self, log: RequestLog, *, path: str, model: str, backend: str | None, route: str, stream: bool
    ) -> None:
        self.id = uuid.uuid4().hex
        self.status = 0
        self._log = log
        self._path, self._model, self._backend, self._route, self._stream = path, model, backend, route, stream
        self._at = datetime.now(UTC)
        self._began = time.perf_counter()
        self._first: float | None = None
        self._tail = b""
        self._error: str | None = None

    def saw(self, chunk: bytes) -> None:
        """Look at bytes on their way: the first text is the first token, the end holds the counts."""
        if self._first is None and (not self._stream or _FIRST_TEXT.search(chunk)):
            self._first = time.perf_counter()
        self._tail = (self._tail + chunk)[-_TAIL_BYTES:]

    @property
    def stream_ended(self) -> bool:
        """Whether the stream came to its end: it says so, gives the reason, or tells an error."""
        return _STREAM_END.search(self._tail) is not None

    def failed(self, status: int, error: str) -> None:
        self.status, self._error = status, error

    def finish(self, *, client_left: bool) -> None:
        now = time.perf_counter()
        tokens = _TOKENS.search(self._tail)
        rate = _PER_SECOND.search(self._tail)
        self._log.add(
            RequestView(
                id=self.id,
                at=self._at,
                path=self._path,
                model=self._model,
                route=self._route,
                backend=self._backend,
                status=499 if client_left else self.status,
                stream=self._stream,
                total_ms=(now - self._began) * 1000,
                first_token_ms=None if self._first is None else (self._first - self._began) * 1000,
                tokens_per_second=float(rate.group(1)) if rate else None,
                completion_tokens=int(tokens.group(1)) if tokens else None,
                error=self._error or ("The client went away." if client_left else None),
            )
        )


class RequestLog:
    """The newest requests, newest first; `on_request` hears of each."""

    def __init__(self, on_request: Callable[[RequestView], None]) -> None:
        self._recent: deque[RequestView] = deque(maxlen=KEPT_REQUESTS)
        self._on_request = on_request

    def add(self, view: RequestView) -> None:
        self._recent.appendleft(view)
        self._on_request(view)

    def recent(self) -> list[RequestView]:
        return list(self._recent)
