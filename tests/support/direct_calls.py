"""Calls a running core's application without a socket, as its server would: thousands of requests a second."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

from malformed import Sent
from scripted_core import ScriptedCore

SECONDS = 20.0


class Answer(NamedTuple):
    """What came back; `headers` as they were sent."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class DirectCalls:
    """Asks the application of `core` on its own loop."""

    def __init__(self, core: ScriptedCore) -> None:
        loop = core.thread._loop
        assert loop is not None
        self._loop = loop
        self._app = core.core._app

    def __call__(self, sent: Sent) -> Answer:
        """The whole answer. Raises TimeoutError after SECONDS, and what the application lets through."""
        asking = asyncio.run_coroutine_threadsafe(self._ask(sent), self._loop)
        return asking.result(SECONDS)

    async def _ask(self, sent: Sent) -> Answer:
        left = asyncio.Event()
        parts = list(sent.parts) or [b""]
        start: dict[str, Any] = {}
        body = bytearray()

        async def receive() -> dict[str, Any]:
            if parts:
                return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                assert not start, "a second answer"
                start.update(message)
            else:
                assert start, "an answer without a beginning"
                body.extend(message.get("body", b""))

        await self._app(_scope(sent), receive, send)
        left.set()
        return Answer(start["status"], [(bytes(name), bytes(value)) for name, value in start["headers"]], bytes(body))


def _scope(sent: Sent) -> dict[str, Any]:
    """As uvicorn makes it."""
    raw_path, _, query = sent.target.partition(b"?")
    named = {name for name, _ in sent.headers}
    headers = [] if b"host" in named else [(b"host", b"localhost")]
    headers += sent.headers
    if b"content-length" not in named:
        headers.append((b"content-length", b"%d" % len(sent.body)))
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "server": ("127.0.0.1", 8100),
        "client": ("127.0.0.1", 50_000),
        "scheme": "http",
        "method": sent.method,
        "root_path": "",
        "path": sent.path,
        "raw_path": raw_path,
        "query_string": query,
        "headers": headers,
        "state": {},
    }
