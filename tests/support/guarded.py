"""The guard on a real listener, over an application that tells what it was asked."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

from access_room import AccessRoom
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from quarterdeck.control.listeners import Listener, bind
from quarterdeck.control.security import Guard
from quarterdeck.proxy.access.access import principal_of

OLLAMA_PATHS = ("/api/tags", "/api/chat", "/api/blobs/{digest}")
QUIET_SECONDS = 20


class Guarded:
    """Where the guard listens, and which requests came through: method, path, headers and body of each."""

    def __init__(self, room: AccessRoom) -> None:
        self.room = room
        self.seen: list[dict[str, Any]] = []
        self.port = 0
        self.url = ""

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
        with contextlib.suppress(KeyError):
            scope["who"] = principal_of(scope).name
        self.seen.append(
            {
                "method": scope["method"],
                "path": scope["path"],
                "body": body.decode("latin-1"),
                "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]],
                "who": scope.get("who"),
            }
        )
        answer: Response = JSONResponse(self.seen[-1])
        if scope["path"] == "/v1/stream":
            answer = Response(b"data: 1\n\n", media_type="text/event-stream")
        await answer(scope, receive, send)

    async def raw(self, *pieces: bytes, eof: bool = False) -> bytes:
        """Send bytes as they are, with `eof` close our side, and return all that came until the other side closed."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            for piece in pieces:
                writer.write(piece)
                with contextlib.suppress(ConnectionError):
                    await writer.drain()
            if eof:
                with contextlib.suppress(OSError):
                    writer.write_eof()
            return await _all(reader)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def ask(self, line: str = "GET /v1/models", headers: dict[str, str] | None = None, body: bytes = b"") -> Any:
        """One well-formed request; its status, headers (lower case) and body (read as JSON where it is)."""
        named = {"Host": "localhost", "Connection": "close", **(headers or {})}
        if body:
            named["Content-Length"] = str(len(body))
        head = "".join(f"{name}: {value}\r\n" for name, value in named.items())
        answer = await self.raw(f"{line} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body)
        return parsed(answer)


async def _all(reader: asyncio.StreamReader) -> bytes:
    parts = []
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(QUIET_SECONDS):
            while part := await reader.read(65536):
                parts.append(part)
    return b"".join(parts)


class Answer:
    def __init__(self, status: int, headers: dict[str, str], text: str) -> None:
        self.status, self.headers, self.text = status, headers, text

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def code(self) -> str:
        """The code of an error, in any of our forms."""
        error = self.json.get("error")
        return str(error["code"] if isinstance(error, dict) else self.json["code"])


def parsed(answer: bytes) -> Answer:
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        key = name.lower()
        headers[key] = f"{headers[key]}, {value}" if key in headers else value
    return Answer(int(status.split()[1]), headers, body.decode("utf-8", "replace"))


@contextlib.asynccontextmanager
async def guarded(room: AccessRoom, host: str = "127.0.0.1") -> AsyncIterator[Guarded]:
    made = Guarded(room)
    guard = Guard(made.app, access=room.access, settings=lambda: room.settings, ollama_paths=OLLAMA_PATHS)
    listener = Listener(guard, bind(host, 0))
    await listener.ready()
    made.url = listener.url
    made.port = urlsplit(listener.url).port or 0
    try:
        yield made
    finally:
        await listener.stop()
