"""uvicorn's HTTP protocol with limits for the head of a request, which it takes in whole before it asks anybody."""

from __future__ import annotations

import asyncio
import re

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES = 64 * 1024
HEAD_SECONDS = 30.0
# What Java's client asks in every first request to an http address.
_UPGRADE_TO_HTTP2 = re.compile(rb"\r\nupgrade:[ \t]*h2c[ \t]*(?=\r\n)", re.IGNORECASE)
_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
_TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class GuardedProtocol(HttpToolsProtocol):
    """Ends a connection whose request line and headers are too large, or do not come within HEAD_SECONDS."""

    _in_head = True
    _in_body = False
    _head_bytes = 0
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self._end, _TOO_SLOW)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if b"h2c" in data and not self._in_body:
            # An offer that may be left alone; but the parser would take the body for another protocol and lose it.
            head, end, body = data.partition(b"\r\n\r\n")
            data = _UPGRADE_TO_HTTP2.sub(b"", head + end[:2]) + end[2:] + body
        super().data_received(data)
        if not self._in_head:
            self._stop_timer()
            return
        # Most heads come in one piece and are never seen here.
        self._head_bytes += len(data)
        if self._head_bytes > HEAD_BYTES:
            self._end(_TOO_LARGE)
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self._end, _TOO_SLOW)

    def on_message_begin(self) -> None:
        self._in_head = True
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        # What comes after the body was not there when the request was checked.
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._in_body = True
        self._head_bytes = 0
        if not self.url.startswith((b"/", b"*")):
            raise ValueError("the request is meant for another server")
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_body = False
        super().on_message_complete()

    def _unsupported_upgrade_warning(self) -> None:
        """Such a request is answered as if it had not asked; there is nothing to warn of."""

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _end(self, answer: bytes) -> None:
        self._stop_timer()
        if not self.transport.is_closing():
            self.transport.write(answer)
            self.transport.close()
