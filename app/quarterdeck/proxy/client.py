"""One client: its request in, our answer out, and a watch over whether it is still there."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from starlette.types import Receive, Scope, Send

from quarterdeck.errors import AppError
from quarterdeck.proxy.access.access import principal_of
from quarterdeck.tasks import spawn

Header = tuple[bytes, bytes]

_HEADERS = "quarterdeck.headers"

WATCH_AFTER = 0.02
"""Seconds after which a request that is not answered yet is worth a task that waits for its client to leave."""


def headers_of(scope: Scope) -> dict[str, str]:
    """The headers of a request, names in small letters, the first of several of one name; read once per request."""
    headers: dict[str, str] | None = scope.get(_HEADERS)
    if headers is None:
        raw = reversed(scope["headers"])
        headers = scope[_HEADERS] = {name.decode("latin-1"): value.decode("latin-1") for name, value in raw}
    return headers


class Client:
    """The connection of one request.

    `headers` have names in small letters. `started` is set when the status line is gone, `begun` when a part of the
    answer itself is; `line_end` is what the last event sent lacks to be whole. `blocked` while
    the client does not take what is sent.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.path: str = scope["path"]
        self.method: str = scope["method"]
        self.headers = headers_of(scope)
        self.address: str | None = scope["client"][0] if scope.get("client") else None
        self.principal = principal_of(scope)
        self.started = False
        self.begun = False
        self.line_end = b""
        self.blocked = False
        self._receive = receive
        self._send = send

    async def body(self, limit: int) -> bytes:
        """The whole body. Raises AppError `body_too_large` (413) before more than `limit` bytes are held."""
        message = await self._receive()
        data: bytes = message.get("body", b"")
        if len(data) <= limit and not message.get("more_body"):
            return data
        parts, size = [data], len(data)
        while size <= limit and message.get("more_body"):
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise AppError("client_left", "The client went away while sending.", status=499)
            parts.append(message.get("body", b""))
            size += len(parts[-1])
        if size > limit:
            raise AppError(
                "body_too_large",
                f"The request is larger than {limit // 1024 // 1024} MiB.",
                "Send smaller images or a shorter history, or raise “Largest request” in Settings.",
                status=413,
            )
        return b"".join(parts)

    async def start(self, status: int, headers: Iterable[Header]) -> None:
        self.started = True
        await self._send({"type": "http.response.start", "status": status, "headers": list(headers)})

    async def send(self, data: bytes) -> None:
        """A part of the answer; returns when the connection takes more."""
        self.begun = self.blocked = True
        await self._send({"type": "http.response.body", "body": data, "more_body": True})
        self.blocked = False

    async def comment(self, data: bytes) -> None:
        """Something that keeps the connection open and is no part of the answer."""
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self, data: bytes = b"") -> None:
        """The last part of the answer."""
        self.begun = True
        await self._send({"type": "http.response.body", "body": data})

    async def gone(self) -> None:
        """Return when the client has left. The body must be read before."""
        while (await self._receive())["type"] != "http.disconnect":
            pass


class Watch:
    """Cancels the task that made it when its client leaves; `left` tells that from other cancelling."""

    def __init__(self, client: Client) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.left = False
        self._work = task
        self._client = client
        self._watch: asyncio.Task[None] | None = None
        # Most requests are over before, and need no second task.
        self._timer = asyncio.get_running_loop().call_later(WATCH_AFTER, self._begin)

    def close(self) -> None:
        self._timer.cancel()
        if self._watch is not None:
            self._watch.cancel()

    def _begin(self) -> None:
        self._watch = spawn(self._wait(), name="watch client")

    async def _wait(self) -> None:
        await self._client.gone()
        self.left = True
        self._work.cancel()
