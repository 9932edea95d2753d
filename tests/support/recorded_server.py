"""A server that repeats what a real one was recorded to answer, and remembers what it was asked."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from aiohttp import web

_SECTION = re.compile(r"^##### (\S+)\n", re.MULTILINE)
_KEPT = ("server", "content-type")


class Reply(NamedTuple):
    """One answer."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = {}


class RecordedServer:
    """Answers `replies` by path, 404 elsewhere. `silent` accepts requests and never answers."""

    def __init__(self, replies: Mapping[str, Reply]) -> None:
        self.replies = dict(replies)
        self.asked: list[str] = []
        self.keys: list[str | None] = []
        self.silent = False
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path)
        self.keys.append(request.headers.get("authorization"))
        if self.silent:
            await asyncio.Event().wait()
        reply = self.replies.get(request.path, Reply(404, b'{"detail":"Not Found"}', {}))
        return web.Response(status=reply.status, body=reply.body, headers=dict(reply.headers))


def recorded(path: Path) -> dict[str, Reply]:
    """The answers of a recording: sections that begin with “##### PATH”, as `curl -i` prints them."""
    parts = _SECTION.split(path.read_text(encoding="utf-8"))[1:]
    return {path: _reply(text) for path, text in zip(parts[::2], parts[1::2], strict=True)}


def reply(body: object, status: int = 200, **headers: str) -> Reply:
    """An answer: bytes and text as they are, everything else as JSON."""
    if isinstance(body, str):
        return Reply(status, body.encode(), headers)
    return Reply(status, json.dumps(body).encode(), {"Content-Type": "application/json", **headers})


def models(*entries: str | dict[str, Any], owned_by: str | None = None) -> Reply:
    """An OpenAI model list."""
    owner = {} if owned_by is None else {"owned_by": owned_by}
    listed = [{"id": each, "object": "model", **owner} if isinstance(each, str) else each for each in entries]
    return reply({"object": "list", "data": listed})


@asynccontextmanager
async def serve(replies: Mapping[str, Reply], port: int = 0) -> AsyncIterator[RecordedServer]:
    server = RecordedServer(replies)
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", server.answer)
    runner = web.AppRunner(application, shutdown_timeout=0.01, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    server.port = runner.addresses[0][1]
    try:
        yield server
    finally:
        await runner.cleanup()


def _reply(text: str) -> Reply:
    head, _, body = text.partition("\n\n")
    status, *lines = head.splitlines()
    headers = dict(line.split(": ", 1) for line in lines if line.split(":")[0].lower() in _KEPT)
    return Reply(int(status.split()[1]), body.strip().encode(), headers)
