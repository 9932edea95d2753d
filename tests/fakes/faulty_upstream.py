"""A server of raw sockets that misbehaves: the model that is asked for names the behaviour (see upstream_faults)."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import NamedTuple

from upstream_words import DONE, NATIVE_LINES, NATIVE_WHOLE, OPENAI_EVENTS, OPENAI_WHOLE

CHUNKED = "Transfer-Encoding: chunked"
# Headers that are nobody's business but the upstream's.
OWN_HEADERS = (
    "Server: faulty/1.0",
    "X-Powered-By: faults",
    "Set-Cookie: session=upstream-secret",
    "Keep-Alive: timeout=5",
    "X-Request-Id: upstream-request",
    "X-Quarterdeck-Model: forged",
    "Access-Control-Allow-Origin: *",
    "Access-Control-Allow-Credentials: true",
    "Alt-Svc: h3=\":443\"",
    "Strict-Transport-Security: max-age=1",
    "Cache-Control: public",
)  # fmt: skip
# One that clients may want.
WELCOME_HEADER = ("openai-processing-ms", "12")


class Closed(Exception):  # noqa: N818 - reads as the event it is
    """The behaviour has ended its connection."""


class Asked(NamedTuple):
    """One request as it came. `connection` counts connections, `number` the requests of that connection, from 1."""

    behaviour: str
    path: str
    headers: dict[str, str]
    connection: int
    number: int


class Talk:
    """One request, and the means to answer it badly."""

    def __init__(
        self, server: FaultyUpstream, streams: tuple[asyncio.StreamReader, asyncio.StreamWriter], asked: Asked,
        *, stream: bool,
    ) -> None:  # fmt: skip
        self.server = server
        self.asked = asked
        self.reader, self.writer = streams
        self.stream = stream
        native = asked.path.startswith("/api/")
        self.pieces = NATIVE_LINES if native else OPENAI_EVENTS
        self.whole = NATIVE_WHOLE if native else OPENAI_WHOLE
        self.stream_type = "application/x-ndjson" if native else "text/event-stream"

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def head(self, status: int, *headers: str) -> None:
        lines = [f"HTTP/1.1 {status} Status", *headers, *OWN_HEADERS, ": ".join(WELCOME_HEADER)]
        await self.send("".join(f"{line}\r\n" for line in lines).encode("latin-1") + b"\r\n")

    async def answer(self, body: bytes, kind: str = "application/json", *headers: str, status: int = 200) -> None:
        await self.head(status, f"Content-Type: {kind}", f"Content-Length: {len(body)}", *headers)
        await self.send(body)

    async def begin(self) -> None:
        """The head of the answer that was asked for, whose body comes in chunks."""
        await self.head(200, f"Content-Type: {self.stream_type if self.stream else 'application/json'}", CHUNKED)

    async def chunk(self, data: bytes) -> None:
        await self.send(b"%x\r\n%s\r\n" % (len(data), data))

    async def last(self, trailers: bytes = b"") -> None:
        await self.send(b"0\r\n" + trailers + b"\r\n")

    @property
    def parts(self) -> list[bytes]:
        """The body that was asked for, in parts."""
        return self.pieces if self.stream else [self.whole[:40], self.whole[40:]]

    async def right(self) -> None:
        """The answer as it should be."""
        await self.begin()
        for part in self.parts:
            await self.chunk(part)
        await self.last()

    async def close(self) -> None:
        """End the connection in order (FIN)."""
        raise Closed

    async def reset(self) -> None:
        """Break the connection (RST)."""
        linger = struct.pack("ii", 1, 0)
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.writer.transport.abort()
        raise Closed

    async def hang(self) -> None:
        """Say nothing more until the other side leaves."""
        while await self.reader.read(65536):
            pass
        self.server.left.release()
        raise Closed


Behaviour = Callable[[Talk], Awaitable[None]]
BEHAVIOURS: dict[str, Behaviour] = {}
"""All that are known, by name; filled by upstream_faults and upstream_refusals."""


def behaviour(function: Behaviour) -> Behaviour:
    """Make a function a behaviour of its own name."""
    BEHAVIOURS[function.__name__] = function
    return function


async def three(talk: Talk) -> None:
    """The answer as far as its third token."""
    await talk.begin()
    first = 1 if talk.pieces[-1] == DONE else 0
    for part in talk.pieces[: first + 3] if talk.stream else [talk.whole[:40]]:
        await talk.chunk(part)


class FaultyUpstream:
    """Answers POST by BEHAVIOURS, and lists their names as its models. Runs on a thread of its own.

    `left` counts the times that the other side went away while it was kept waiting.
    """

    def __init__(self) -> None:
        self.url = ""
        self.refusing_url = ""
        self.asked: list[Asked] = []
        self.left = threading.Semaphore(0)
        self.blocked = threading.Event()
        self.sent = 0
        self._numbers = itertools.count(1)
        self._ready = threading.Event()
        self._held = socket.socket()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="faulty upstream")

    def start(self) -> None:
        self._thread.start()
        self._ready.wait()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()
        self._held.close()

    def refuse(self) -> None:
        """From now on nothing listens at `refusing_url`."""
        refusing = threading.Event()

        def close() -> None:
            place = self._second.sockets[0].getsockname()
            self._second.close()
            # Bound, but not listening: nobody else gets the port meanwhile.
            self._held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._held.bind(place)
            refusing.set()

        self._loop.call_soon_threadsafe(close)
        assert refusing.wait(20)

    def count(self, behaviour: str) -> int:
        """How often a behaviour was asked for."""
        return sum(asked.behaviour == behaviour for asked in self.asked)

    async def _serve(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        first = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self._second = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{first.sockets[0].getsockname()[1]}"
        self.refusing_url = f"http://127.0.0.1:{self._second.sockets[0].getsockname()[1]}"
        self._ready.set()
        await self._stopping.wait()
        first.close()
        self._second.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._requests(reader, writer, next(self._numbers))
        except (Closed, ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: int) -> None:
        for number in itertools.count(1):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.strip().split("\r\n")
            method, path, _version = first.split(" ")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            fields = json.loads(body) if body else {}
            behaviour = str(fields.get("model", "")).partition("@")[0]
            asked = Asked(behaviour, path, headers, connection, number)
            # An Ollama streams unless it is told not to.
            talk = Talk(self, (reader, writer), asked, stream=fields.get("stream", path.startswith("/api/")) is True)
            if method != "POST":
                await self._list(talk)
            else:
                self.asked.append(asked)
                await BEHAVIOURS[behaviour](talk)

    async def _list(self, talk: Talk) -> None:
        if not talk.asked.path.endswith("/v1/models"):
            await talk.answer(b'{"error": "not found"}', status=404)
            return
        entries = [{"id": name, "object": "model", "owned_by": "faults"} for name in BEHAVIOURS]
        await talk.answer(json.dumps({"object": "list", "data": entries}).encode())


@contextlib.contextmanager
def faulty_upstream() -> Iterator[FaultyUpstream]:
    upstream = FaultyUpstream()
    upstream.start()
    try:
        yield upstream
    finally:
        upstream.stop()
