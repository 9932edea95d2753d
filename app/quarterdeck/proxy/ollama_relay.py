"""Hands a management call on to an Ollama server and its answer back, byte for byte."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

import aiohttp
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from quarterdeck.errors import AppError
from quarterdeck.proxy.dialects.ollama_answer import error_body
from quarterdeck.proxy.disconnect import until_disconnect
from quarterdeck.proxy.json_answer import JsonAnswer
from quarterdeck.tasks import spawn

CONNECT_SECONDS = 5.0
LOOK_SECONDS = 5.0
_PASSED_BACK = ("content-type", "allow")

Changed = Callable[[], Awaitable[object]]
"""Looks which models there are now."""


def error_response(error: AppError) -> JsonAnswer:
    return JsonAnswer(error_body(error), status_code=error.status)


class Relay:
    """An ASGI answer: the one that the server at `url` gives.

    `body` is bytes, or parts of the request as they come in (then nobody watches for the client's end but them).
    After a success `changed` is awaited before the answer ends, so that the client sees the models as they are then;
    for at most LOOK_SECONDS.
    """

    def __init__(
        self,
        http: aiohttp.ClientSession,
        method: str,
        url: str,
        *,
        body: bytes | AsyncIterator[bytes],
        headers: Mapping[str, str],
        changed: Changed | None,
    ) -> None:
        self._http = http
        self._method = method
        self._url = url
        self._body = body
        self._headers = headers
        self._changed = changed
        self._began = False
        self._line_ended = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = self._answer(scope, receive, send)
        if isinstance(self._body, bytes):
            await until_disconnect(receive, answer)
        else:
            await answer

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._pass(send)
        except ClientDisconnect:
            return
        except (aiohttp.ClientError, OSError, TimeoutError) as problem:
            error = unreachable(self._url, problem)
            if not self._began:
                await error_response(error)(scope, receive, send)
            else:
                line = json.dumps(error_body(error)).encode() + b"\n"
                await send({"type": "http.response.body", "body": line if self._line_ended else b"\n" + line})

    async def _pass(self, send: Send) -> None:
        async with self._http.request(
            self._method, self._url, data=self._body, headers=self._headers, allow_redirects=False
        ) as answer:
            kept = [(key.encode(), answer.headers[key].encode()) for key in _PASSED_BACK if key in answer.headers]
            self._began = True
            await send({"type": "http.response.start", "status": answer.status, "headers": kept})
            async for part in answer.content.iter_any():
                self._line_ended = part.endswith(b"\n")
                await send({"type": "http.response.body", "body": part, "more_body": True})
            if answer.status < 300 and self._changed is not None:
                await _look(self._changed)
        await send({"type": "http.response.body", "body": b""})


async def _look(changed: Changed) -> None:
    async def look() -> None:
        await changed()

    looking = spawn(look(), name="look at Ollama's models")
    await asyncio.wait([looking], timeout=LOOK_SECONDS)


def unreachable(url: str, problem: Exception) -> AppError:
    where = url.partition("/api/")[0]
    refused = isinstance(problem, aiohttp.ClientConnectorError)
    return AppError(
        "ollama_down",
        f"Ollama does not answer at {where}: {'nothing listens there' if refused else 'the connection broke'}.",
        "Start it on the Backends page or with “quarterdeck backends restart ollama”.",
        status=503,
    )
