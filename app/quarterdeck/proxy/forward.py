"""Forwards a request to the engine of its model and passes the answer on, byte for byte, as it arrives."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
from starlette.types import Receive, Scope, Send

from quarterdeck.backends.base import Instance
from quarterdeck.errors import AppError
from quarterdeck.proxy.disconnect import until_disconnect
from quarterdeck.proxy.errors import error_event, error_response
from quarterdeck.proxy.requests import RequestRecord
from quarterdeck.scheduling.scheduler import Scheduler
from quarterdeck.tasks import spawn

KEEP_ALIVE = b": the model is loading\n\n"
EVENT_STREAM = "text/event-stream"
_STREAM_TYPE = EVENT_STREAM.encode()

# A larger body is handed over in parts, so that other requests are served meanwhile.
SENT_AT_ONCE = 256 * 1024

# Headers that belong to one connection, and those that the engine sets for itself.
_NOT_PASSED_ON = frozenset(
    ("connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "proxy-authenticate",
     "proxy-authorization", "proxy-connection", "server", "date", "access-control-allow-origin")
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One request on its way: where to (`path` such as /v1/chat/completions), what, and under which conditions.

    `fields` is what `body` says as JSON; `model` is our name of the model, which need not be the one in `fields`.
    """

    path: str
    model: str
    fields: Mapping[str, Any]
    body: bytes
    content_type: str
    stream: bool
    force: bool
    route: str


class Forward:
    """An ASGI answer that waits for the model, forwards and streams."""

    def __init__(
        self,
        outgoing: Outgoing,
        *,
        scheduler: Scheduler,
        http: aiohttp.ClientSession,
        record: RequestRecord,
        keep_alive: float,
    ) -> None:
        self._out = outgoing
        self._scheduler = scheduler
        self._http = http
        self._record = record
        self._keep_alive = keep_alive
        self._started = False
        self._is_stream = False
        self._open_event = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        completed = False
        try:
            completed = await until_disconnect(receive, self._answer(scope, receive, send))
        finally:
            self._record.finish(client_left=not completed)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with contextlib.AsyncExitStack() as stack:
                instance = await self._wait_for_model(stack, send)
                await self._pass_on(instance, send)
        except AppError as error:
            self._record.failed(error.status, error.sentence)
            if self._started:
                end = b"\n\n" if self._open_event else b""
                await send({"type": "http.response.body", "body": end + error_event(error)})
            else:
                await error_response(error)(scope, receive, send)

    async def _wait_for_model(self, stack: contextlib.AsyncExitStack, send: Send) -> Instance:
        """The model's instance; a stream that has to wait is kept open with comments."""
        lease = self._scheduler.lease(self._out.model, force=self._out.force)
        entering = spawn(stack.enter_async_context(lease), name=f"wait for {self._out.model}")
        try:
            while not entering.done():
                await asyncio.wait({entering}, timeout=self._keep_alive if self._out.stream else None)
                if not entering.done():
                    await self._comment(send)
        finally:
            entering.cancel()
        return await entering

    async def _comment(self, send: Send) -> None:
        if not self._started:
            headers = [(b"content-type", _STREAM_TYPE), (b"cache-control", b"no-cache"), *self._own_headers()]
            await self._start(send, 200, headers)
        await send({"type": "http.response.body", "body": KEEP_ALIVE, "more_body": True})

    async def _pass_on(self, instance: Instance, send: Send) -> None:
        accept = EVENT_STREAM if self._out.stream else "*/*"
        headers = {"content-type": self._out.content_type, "accept": accept, **instance.headers}
        url = instance.base_url + instance.api_path + self._out.path.removeprefix("/v1")
        body, query = self._body(instance), instance.query
        try:
            async with self._http.post(url, data=body, params=query, headers=headers, allow_redirects=False) as answer:
                self._record.status = answer.status
                if self._started and answer.status != 200:
                    raise _refused_in_stream(answer.status, await answer.text())
                if not self._started:
                    await self._start(send, answer.status, [*_passed_on(answer.headers), *self._own_headers()])
                await self._pump(answer, send)
        except (aiohttp.ClientError, TimeoutError, ConnectionResetError) as error:
            failure = self._engine_lost(error)
            if self._started and not self._is_stream:
                # A plain answer that breaks off cannot be mended; left incomplete, its connection is closed.
                self._record.failed(failure.status, failure.sentence)
                return
            raise failure from error
        await send({"type": "http.response.body", "body": b""})

    def _body(self, instance: Instance) -> bytes | io.BytesIO:
        """The client's own bytes, unless the engine knows the model under another id."""
        body = self._out.body
        if instance.served_id not in ("", self._out.fields["model"]):
            body = json.dumps({**self._out.fields, "model": instance.served_id}).encode()
        return body if len(body) <= SENT_AT_ONCE else io.BytesIO(body)

    async def _pump(self, answer: aiohttp.ClientResponse, send: Send) -> None:
        async for chunk in answer.content.iter_any():
            self._record.saw(chunk)
            self._open_event = not chunk.endswith((b"\n\n", b"\r\n\r\n"))
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        if self._is_stream and answer.status == 200 and not self._record.stream_ended:
            # Ollama closes a stream in order when its runner has died.
            raise ConnectionResetError

    async def _start(self, send: Send, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self._started = True
        self._is_stream = any(name == b"content-type" and value.startswith(_STREAM_TYPE) for name, value in headers)
        await send({"type": "http.response.start", "status": status, "headers": headers})

    def _engine_lost(self, error: Exception) -> AppError:
        if self._scheduler.closing:
            return AppError(
                "closing",
                "Quarterdeck was closed while the answer was being written.",
                "Start Quarterdeck again, then send the request again.",
                status=503,
            )
        return AppError(
            "engine_lost",
            f"The engine of “{self._out.model}” stopped answering ({type(error).__name__}).",
            "What happened is told at the model and in the log of its backend. Then send the request again.",
            status=502,
        )

    def _own_headers(self) -> list[tuple[bytes, bytes]]:
        return [
            (b"x-quarterdeck-route", self._out.route.encode("latin-1", "replace")),
            (b"x-request-id", self._record.id.encode()),
        ]


def _passed_on(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [
        (name.lower().encode("latin-1"), value.encode("latin-1"))
        for name, value in headers.items()
        if name.lower() not in _NOT_PASSED_ON
    ]


def _refused_in_stream(status: int, text: str) -> AppError:
    return AppError("upstream_error", f"The engine answered {status}: {text[:500]}", "", status=status)
