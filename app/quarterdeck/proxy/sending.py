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
from quarterdeck.proxy.unpacking import unpacked
from quarterdeck.proxy.wire import Broken, Connection, Headers
from quarterdeck.schemas.access import Profile
from quarterdeck.schemas.backends import BackendKind

IDLE_CONNECTION_SECONDS = 2.0
CROSSING_SECONDS = 1.0
"""A kept connection that ends so soon after a request, without a word, was being closed when the request was sent."""
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
        """The body as it comes, unpacked. Raises wire.Broken when it breaks off, Garbled when it cannot be unpacked."""
        packing = self.header(b"content-encoding")
        return unpacked(self._connection.parts(), packing) if packing else self._connection.parts()


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
        head = b"%scontent-length: %d\r\n\r\n" % (head, len(body))
        return Posted(self, place, head, body, connect, keeps, asks_again=instance.record is None)

    def kept(self, place: Place) -> Connection | None:
        """A connection that is open already, if there is one."""
        kept = self._kept.get(place)
        oldest = asyncio.get_running_loop().time() - IDLE_CONNECTION_SECONDS
        while kept:
            since, connection = kept.pop()
            if connection.reusable and since > oldest:
                return connection
            connection.close()
        return None

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
    """One request under way; left before its answer is whole, the connection is closed and the backend notices.

    With `asks_again` the request is sent once more where a kept connection turns out to be closed.
    """

    sender: Sender
    place: Place
    head: bytes
    body: bytes
    connect: float
    keeps: bool
    asks_again: bool
    _connection: Connection | None = None

    async def __aenter__(self) -> Answer:
        kept = self.sender.kept(self.place)
        if kept is not None:
            sent = asyncio.get_running_loop().time()
            try:
                return await self._ask(kept)
            except Broken:
                # Its server closed it meanwhile, which is nobody's fault. Engines of ours do not, they have crashed;
                # and whoever has worked on the request before is not asked again.
                late = asyncio.get_running_loop().time() - sent > CROSSING_SECONDS
                if kept.heard or late or not self.asks_again:
                    raise
        return await self._ask(await _connect(self.place, self.connect))

    async def _ask(self, connection: Connection) -> Answer:
        self._connection = connection
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
        self._heard = False
        # Moving the deadline at every chunk would cost more than the chunk.
        self._next = 0.0
        first = profile.first_token if stream else profile.first_token * WHOLE_ANSWER_FACTOR
        self.clock = asyncio.timeout_at(_moment(min(now + first if first else _NEVER, self._ends)))

    def heard(self) -> None:
        """A part of the answer has come: from here on only silence counts."""
        now = self._loop.time()
        if now >= self._next:
            self._heard = True
            grain = min(1.0, self._idle / 4) if self._idle else 1.0
            self._next = now + grain
            self.clock.reschedule(_moment(min(now + self._idle + grain if self._idle else _NEVER, self._ends)))

    @property
    def lost_by(self) -> str:
        """What the backend did when patience ended, as the rest of a sentence about it."""
        if self._loop.time() >= self._ends:
            return "took longer than a whole answer may take"
        return "went silent in the middle of its answer" if self._heard else "did not begin to answer in time"


def _moment(seconds: float) -> float | None:
    return None if seconds == _NEVER else seconds


# Headers that belong to one connection, and those that are set here.
_NOT_PASSED_ON = frozenset(
    (b"connection", b"keep-alive", b"transfer-encoding", b"te", b"trailer", b"upgrade", b"proxy-authenticate",
     b"proxy-authorization", b"proxy-connection", b"proxy-status", b"via", b"server", b"x-powered-by", b"date", b"age",
     b"content-length", b"content-encoding", b"cache-control", b"expires", b"etag", b"last-modified",
     b"accept-ranges", b"set-cookie", b"set-cookie2", b"location", b"refresh", b"link", b"alt-svc", b"www-authenticate",
     b"clear-site-data", b"strict-transport-security", b"content-security-policy", b"permissions-policy",
     b"referrer-policy", b"x-content-type-options", b"x-frame-options", b"x-download-options",
     b"x-permitted-cross-domain-policies", b"x-accel-buffering", b"x-request-id", b"vary")
)  # fmt: skip
_NOT_PASSED_PREFIXES = (b"access-control-", b"cross-origin-", b"x-quarterdeck-")


def passed_on(headers: Headers) -> Headers:
    """The headers of a backend's answer that its client gets: what is said of the answer, not of the connection."""
    return [header for header in headers if _passes(header[0])]


@functools.lru_cache(maxsize=1024)
def _passes(name: bytes) -> bool:
    return name not in _NOT_PASSED_ON and not name.startswith(_NOT_PASSED_PREFIXES)
