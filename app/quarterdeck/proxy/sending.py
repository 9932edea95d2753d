"""Sends requests to backends, and keeps the connections to them."""

from __future__ import annotations

import asyncio
import base64
import functools
import math
import ssl
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from types import TracebackType
from typing import NamedTuple
from urllib.parse import quote, unquote, urlencode, urlsplit

import aiohttp

from quarterdeck.backends.base import Instance
from quarterdeck.proxy.wire import Connection, Headers
from quarterdeck.schemas.access import Profile
from quarterdeck.schemas.backends import BackendKind

IDLE_CONNECTION_SECONDS = 2.0
WHOLE_ANSWER_FACTOR = 12
"""The first byte of an answer that is not streamed comes after its last token, so it may take so much longer."""

_NEVER = math.inf
_CLOSES_AFTER_STREAM = frozenset({BackendKind.EMBEDDED, BackendKind.LLAMA_SERVER})
_IN_PATH = "/%:@!$&'()*+,;=-._~"
_EVENT_STREAM = "text/event-stream"


class NotReached(Exception):  # noqa: N818 - reads as the event it is
    """No connection to a backend came about; `why` completes the sentence “it cannot be reached: …”."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Place(NamedTuple):
    """Where a backend listens."""

    host: str
    port: int
    tls: bool


class Answer:
    """The answer of a backend, whose body comes in `parts`. `headers` have names in small letters."""

    __slots__ = ("_connection", "headers", "status")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.status = connection.status
        self.headers: Headers = connection.headers

    def header(self, name: bytes) -> str:
        """The first value of a header, empty where there is none."""
        return next((value.decode("latin-1") for known, value in self.headers if known == name), "")

    @property
    def content_type(self) -> str:
        """The media type without its parameters, in small letters."""
        return self.header(b"content-type").partition(";")[0].strip().lower()

    def parts(self) -> AsyncIterator[bytes]:
        """The body as it comes. Raises wire.Broken when it breaks off."""
        return self._connection.parts()


class Sender:
    """The connections to all backends. Core loop only; `open` before use, `close` at the end.

    `pages` is for everything that is no backend, such as pictures on the web.
    """

    def __init__(self) -> None:
        self._kept: dict[Place, deque[tuple[float, Connection]]] = {}
        self._sweep: asyncio.TimerHandle | None = None

    async def open(self) -> None:
        self.pages = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())

    async def close(self) -> None:
        if self._sweep is not None:
            self._sweep.cancel()
        for kept in self._kept.values():
            for _, connection in kept:
                connection.close()
        self._kept.clear()
        await self.pages.close()

    def post(
        self, instance: Instance, kind: str, path: str, body: bytes, *, content_type: str, stream: bool, connect: float
    ) -> Posted:
        """The request as a context that gives an Answer. `connect` in seconds, 0 for no limit.

        Entering it raises NotReached, or wire.Broken where the connection ends before the answer begins.
        """
        query, headers = tuple(instance.query.items()), tuple(instance.headers.items())
        wanted = _Wanted(instance.base_url, instance.api_path, path, query, headers, content_type, stream)
        place, head = _head(wanted)
        # After a stream llama.cpp closes the connection without a word; a further request on it would be lost.
        keeps = not (stream and kind in _CLOSES_AFTER_STREAM)
        return Posted(self, place, b"%scontent-length: %d\r\n\r\n" % (head, len(body)), body, connect, keeps)

    async def connection(self, place: Place, connect: float) -> Connection:
        """One that is open already, or a new one. Raises NotReached."""
        kept = self._kept.get(place)
        oldest = asyncio.get_running_loop().time() - IDLE_CONNECTION_SECONDS
        while kept:
            since, connection = kept.pop()
            if connection.reusable and since > oldest:
                return connection
            connection.close()
        return await _connect(place, connect)

    def keep(self, place: Place, connection: Connection) -> None:
        """Have a connection at hand for the next request."""
        loop = asyncio.get_running_loop()
        self._kept.setdefault(place, deque()).append((loop.time(), connection))
        if self._sweep is None:
            self._sweep = loop.call_later(IDLE_CONNECTION_SECONDS, self._close_idle)

    def _close_idle(self) -> None:
        # llama.cpp closes idle connections after 5 s; ours end first, so that no request meets a closing one.
        loop = asyncio.get_running_loop()
        oldest = loop.time() - IDLE_CONNECTION_SECONDS
        for place, kept in list(self._kept.items()):
            while kept and kept[0][0] <= oldest:
                kept.popleft()[1].close()
            if not kept:
                del self._kept[place]
        self._sweep = loop.call_later(IDLE_CONNECTION_SECONDS, self._close_idle) if self._kept else None


@dataclass(slots=True)
class Posted:
    """One request under way; left before its answer is whole, the connection is closed and the backend notices."""

    sender: Sender
    place: Place
    head: bytes
    body: bytes
    connect: float
    keeps: bool
    _connection: Connection | None = None

    async def __aenter__(self) -> Answer:
        self._connection = connection = await self.sender.connection(self.place, self.connect)
        try:
            await connection.ask(self.head, self.body)
        except BaseException:
            connection.close()
            raise
        return Answer(connection)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._connection is not None:
            if self.keeps and self._connection.reusable:
                self.sender.keep(self.place, self._connection)
            else:
                self._connection.close()


async def _connect(place: Place, limit: float) -> Connection:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(limit or None):
            _, connection = await loop.create_connection(
                Connection, place.host, place.port, ssl=_tls() if place.tls else None
            )
    except TimeoutError:
        raise NotReached("it did not answer in time") from None
    except ssl.SSLCertVerificationError as error:
        raise NotReached(f"its certificate is not trusted ({error.verify_message})") from None
    except OSError as error:
        raise NotReached(error.strerror or "nothing answers there") from None
    return connection


@functools.cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


class _Wanted(NamedTuple):
    """All that the beginning of a request is made of."""

    base_url: str
    api_path: str
    path: str
    query: tuple[tuple[str, str], ...]
    headers: tuple[tuple[str, str], ...]
    content_type: str
    stream: bool


@functools.lru_cache(maxsize=1024)
def _head(wanted: _Wanted) -> tuple[Place, bytes]:
    """Where a request goes and how it begins. Raises NotReached for what is no header."""
    path = wanted.path
    if path.startswith("/v1/"):
        path = wanted.api_path + path[3:]
    url = urlsplit(wanted.base_url + path)
    tls = url.scheme == "https"
    place = Place(url.hostname or "", url.port or (443 if tls else 80), tls)
    target = quote(url.path, safe=_IN_PATH) + (f"?{urlencode(wanted.query)}" if wanted.query else "")
    who, _, host = url.netloc.rpartition("@")
    login = [f"authorization: Basic {base64.b64encode(unquote(who).encode()).decode()}"] if who else []
    lines = [
        f"POST {target} HTTP/1.1", f"host: {host}", *login, f"content-type: {wanted.content_type}",
        f"accept: {_EVENT_STREAM if wanted.stream else '*/*'}", *(f"{name}: {value}" for name, value in wanted.headers),
    ]  # fmt: skip
    if any("\r" in line or "\n" in line or "\0" in line for line in lines):
        raise NotReached("its key or another header for it has a line break")
    return place, "".join(f"{line}\r\n" for line in lines).encode("latin-1", "replace")


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


# Headers that belong to one connection, and those that are set here.
_NOT_PASSED_ON = frozenset(
    (b"connection", b"keep-alive", b"transfer-encoding", b"te", b"trailer", b"upgrade", b"proxy-authenticate",
     b"proxy-authorization", b"proxy-connection", b"server", b"date", b"access-control-allow-origin", b"set-cookie")
)  # fmt: skip


def passed_on(headers: Headers) -> Headers:
    """The headers of a backend's answer that its client gets."""
    return [header for header in headers if header[0] not in _NOT_PASSED_ON]
