"""Sends requests to backends, within the time limits of the client."""

from __future__ import annotations

import asyncio
import functools
import io
import math
from collections.abc import Mapping
from typing import Any

import aiohttp
from yarl import URL

from quarterdeck.backends.base import Instance
from quarterdeck.schemas.access import Profile
from quarterdeck.schemas.backends import BackendKind

IDLE_CONNECTION_SECONDS = 2
SENT_AT_ONCE = 256 * 1024
"""A larger body is handed over in parts, so that other requests are served meanwhile."""
WHOLE_ANSWER_FACTOR = 12
"""The first byte of an answer that is not streamed comes after its last token, so it may take so much longer."""

_NEVER = math.inf
_CLOSES_AFTER_STREAM = frozenset({BackendKind.EMBEDDED, BackendKind.LLAMA_SERVER})
_EVENT_STREAM = "text/event-stream"
_OWN = ("User-Agent", "Accept", "Accept-Encoding")


class Sender:
    """The connections to all backends. Core loop only; `open` before use, `close` at the end."""

    async def open(self) -> None:
        # llama.cpp closes idle connections after 5 s; ours end first, so that no request meets a closing one.
        self.kept = _session(aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_CONNECTION_SECONDS))
        self._single = _session(aiohttp.TCPConnector(limit=0, force_close=True))

    async def close(self) -> None:
        await self.kept.close()
        await self._single.close()

    def post(
        self, instance: Instance, kind: str, path: str, body: bytes, *, content_type: str, stream: bool, connect: float
    ) -> Any:
        """The request as a context manager that gives an aiohttp.ClientResponse. `connect` in seconds."""
        # After a stream llama.cpp closes the connection without a word; a further request on it would be lost.
        session = self._single if stream and kind in _CLOSES_AFTER_STREAM else self.kept
        headers = {"content-type": content_type, "accept": _EVENT_STREAM if stream else "*/*", **instance.headers}
        return session.post(
            address(instance, path),
            data=body if len(body) <= SENT_AT_ONCE else io.BytesIO(body),
            headers=headers,
            allow_redirects=False,
            timeout=_connect_limit(connect),
        )


class Patience:
    """How long to wait for a backend. Times in seconds; None means for ever."""

    def __init__(self, profile: Profile, *, stream: bool) -> None:
        self._loop = asyncio.get_running_loop()
        now = self._loop.time()
        self._ends = now + profile.total if profile.total else _NEVER
        self._idle = profile.idle
        # Moving the deadline at every chunk would cost more than the chunk.
        self._next = 0.0
        first = profile.first_token if stream else profile.first_token * WHOLE_ANSWER_FACTOR
        self.clock = asyncio.timeout_at(_moment(min(now + first if first else _NEVER, self._ends)))

    def heard(self) -> None:
        """A part of the answer has come: from here on only silence counts."""
        now = self._loop.time()
        if now >= self._next:
            grain = min(1.0, self._idle / 4) if self._idle else 1.0
            self._next = now + grain
            self.clock.reschedule(_moment(min(now + self._idle + grain if self._idle else _NEVER, self._ends)))


def _moment(seconds: float) -> float | None:
    return None if seconds == _NEVER else seconds


def address(instance: Instance, path: str) -> URL:
    """Where a request for `path` goes: /v1/… to the OpenAI interface wherever it is, all others as they are."""
    if path.startswith("/v1/"):
        path = instance.api_path + path[3:]
    return _url(instance.base_url + path, tuple(instance.query.items()))


@functools.lru_cache(maxsize=4096)
def _url(text: str, query: tuple[tuple[str, str], ...]) -> URL:
    url = URL(text)
    return url.update_query(query) if query else url


@functools.lru_cache(maxsize=256)
def _connect_limit(seconds: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=None, sock_connect=seconds or None)


def _session(connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
    """A session that asks the backend for what the client asked for: nothing is added, and nothing is unpacked."""
    return aiohttp.ClientSession(
        connector=connector, auto_decompress=False, skip_auto_headers=_OWN, cookie_jar=aiohttp.DummyCookieJar()
    )


def passed_on(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """The headers of a backend's answer that its client gets."""
    return [
        (name.lower().encode("latin-1"), value.encode("latin-1"))
        for name, value in headers.items()
        if name.lower() not in _NOT_PASSED_ON
    ]


# Headers that belong to one connection, and those that are set here.
_NOT_PASSED_ON = frozenset(
    ("connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "proxy-authenticate",
     "proxy-authorization", "proxy-connection", "server", "date", "access-control-allow-origin", "set-cookie")
)  # fmt: skip
