"""One request of a client while it runs, and what is known of it afterwards."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from time import perf_counter
from typing import TYPE_CHECKING

from quarterdeck.proxy.dialects.base import Fields
from quarterdeck.proxy.records.capture import Texts
from quarterdeck.proxy.records.seen import Seen
from quarterdeck.schemas.requests import Operation, RequestView

if TYPE_CHECKING:
    from quarterdeck.proxy.records.log import RequestLog

UPSTREAM_ERROR = "upstream_error"
LEFT = 499
_NAME_LIMIT = 200
_SENTENCE_LIMIT = 2000
_MOST_DROPPED = 100
_MS = 1000.0


class RequestRecord:
    """What happens to one request. `finish` ends it once; until then it counts as running.

    `id` is its x-request-id. The lists `applied`, `warnings` and `tried` are filled by those who know.
    `status` is the HTTP status of the answer. Core loop only; nothing here waits or raises.
    """

    __slots__ = (
        "_began", "_log", "_seen", "_stream", "applied", "asked", "at", "backend", "client", "code",
        "completion_tokens", "dialect", "dropped", "error", "first_token_ms", "id", "key", "model",
        "operation", "path", "prompt_tokens", "route", "status", "texts", "tokens_per_second", "total_ms", "tried",
        "waited_ms", "warnings",
    )  # fmt: skip

    def __init__(
        self,
        log: RequestLog,
        *,
        path: str,
        dialect: str,
        operation: Operation = Operation.CHAT,
        asked: str = "",
        stream: bool = False,
        key: str | None = None,
        client: str | None = None,
    ) -> None:
        self._began = perf_counter()
        self._log = log
        self._stream = stream
        self._seen: Seen | None = Seen(stream)
        self.id = os.urandom(16).hex()
        self.at = time.time()
        self.path, self.dialect, self.operation, self.asked = path, dialect, operation, _noted(asked)
        self.key, self.client = key, client and _noted(client)
        self.model, self.backend, self.route = "", None, ""
        self.status, self.code, self.error = 0, "", None
        self.dropped: list[str] = []
        self.applied: list[str] = []
        self.warnings: list[str] = []
        self.tried: list[str] = []
        self.total_ms = 0.0
        self.waited_ms: float | None = None
        self.first_token_ms: float | None = None
        self.tokens_per_second: float | None = None
        self.prompt_tokens: int | None = None
        self.completion_tokens: int | None = None
        self.texts: Texts | None = log.began()

    model: str
    backend: str | None
    route: str
    error: str | None

    def asks(self, operation: Operation, asked: str, *, stream: bool) -> None:
        """The request was read: what the client wants, and under which name."""
        self.operation, self.asked = operation, _noted(asked)
        self._stream = stream
        self._seen = Seen(stream)

    def routed(self, model: str, backend: str | None, rule: str) -> None:
        """The model and the backend that are asked now, and the rule that led there."""
        self.model, self.backend, self.route = model, backend, rule

    def left_out(self, names: list[str]) -> None:
        """What of the request does not reach the backend; of very many names the first ones are kept."""
        self.dropped = [_noted(name) for name in names[:_MOST_DROPPED]]

    def sent(self) -> None:
        """The backend has the request. Called again when another one is tried."""
        self.waited_ms = (perf_counter() - self._began) * _MS

    def saw(self, data: bytes) -> None:
        """Bytes of an answer in OpenAI's words, on their way to the client."""
        if self._seen is not None:
            self._seen.sse(data)

    def saw_ndjson(self, data: bytes) -> None:
        """Bytes of an answer in Ollama's words, on their way to the client."""
        if self._seen is not None:
            self._seen.ndjson(data)

    def saw_chunk(self, chunk: Fields) -> None:
        """A chunk of the hub, or a whole answer."""
        if self._seen is not None:
            self._seen.chunk(chunk)

    @property
    def stream(self) -> bool:
        """Whether the client wanted a stream."""
        return self._stream

    @property
    def stream_ended(self) -> bool:
        """Whether what was seen came to its end: it says so, gives the reason, or tells an error."""
        return self._seen is not None and self._seen.ended

    @property
    def stream_done(self) -> bool:
        """Whether a stream in OpenAI's words ended with its [DONE]."""
        return self._seen is not None and self._seen.done

    @property
    def told_error(self) -> bytes | None:
        """The line of a stream that told an error, if the last ones did."""
        return None if self._seen is None else self._seen.told_error

    @property
    def tokens(self) -> int:
        """Prompt and completion tokens of a finished request, as far as they are known."""
        return (self.prompt_tokens or 0) + (self.completion_tokens or 0)

    def failed(self, status: int, sentence: str, code: str = UPSTREAM_ERROR) -> None:
        """The request is answered with an error. What a backend said is kept out of files: it may quote the prompt."""
        self.status, self.error, self.code = status, _noted(sentence, _SENTENCE_LIMIT), code

    def original(self, data: bytes) -> None:
        """The body as the client sent it."""
        if self.texts is not None:
            self.texts.original.add(data)

    def converted(self, data: bytes) -> None:
        """The body as the backend gets it. Called again when another one is tried; the last one counts."""
        if self.texts is not None:
            self.texts.converted.replace(data)

    def upstream(self, data: bytes) -> None:
        """The next part of the backend's answer."""
        if self.texts is not None:
            self.texts.upstream.add(data)

    def answer(self, data: bytes) -> None:
        """The next part of what the client gets."""
        if self.texts is not None:
            self.texts.answer.add(data)

    def finish(self, *, client_left: bool) -> None:
        """The end, by whatever way. Only the first call counts."""
        if self._seen is None:
            return
        now = perf_counter()
        self.total_ms = (now - self._began) * _MS
        if client_left:
            self.status, self.error = LEFT, self.error or "The client went away."
            self.code = self.code or "client_left"
        elif not self.status:
            self.status, self.code = 500, "internal_error"
        self._read(self._seen, now)
        self._seen = None
        self._log.add(self)

    def _read(self, seen: Seen, now: float) -> None:
        figures = seen.figures()
        self.prompt_tokens, self.completion_tokens = figures.prompt_tokens, figures.completion_tokens
        if seen.first:
            self.first_token_ms = (seen.first - self._began) * _MS
        if self._stream and figures.completion_tokens is None and figures.pieces:
            # Engines send a piece for each token; most say the count only when they are asked to.
            self.completion_tokens = figures.pieces
        self.tokens_per_second = figures.tokens_per_second or self._rate(seen.first, now)

    def _rate(self, first: float, now: float) -> float | None:
        """Tokens per second by our own clock: in a stream after the first one, else since the backend was asked."""
        tokens = self.completion_tokens or 0
        if tokens < 2 or not first:
            return None
        if self._stream:
            return (tokens - 1) / (now - first) if now > first else None
        return tokens / (now - self._began - (self.waited_ms or 0.0) / _MS)

    def view(self) -> RequestView:
        """The request as people see it."""
        return RequestView(
            id=self.id,
            at=datetime.fromtimestamp(self.at, UTC),
            path=self.path,
            model=self.model,
            asked=self.asked,
            route=self.route,
            backend=self.backend,
            dialect=self.dialect,
            operation=self.operation.value,
            status=self.status,
            stream=self._stream,
            total_ms=self.total_ms,
            waited_ms=self.waited_ms,
            first_token_ms=self.first_token_ms,
            tokens_per_second=self.tokens_per_second,
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.completion_tokens,
            dropped=self.dropped,
            applied=self.applied,
            warnings=self.warnings,
            tried=self.tried,
            key=self.key,
            client=self.client,
            captured=self.texts is not None,
            error=self.error,
        )


def _noted(text: str, longest: int = _NAME_LIMIT) -> str:
    """What a client wrote, short enough to keep, and such that it can be written: JSON may hold half a character."""
    return text[:longest].encode("utf-8", "replace").decode()
