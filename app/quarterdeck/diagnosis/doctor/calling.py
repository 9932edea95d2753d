"""HTTP as the doctor speaks it: no proxies, no redirects, no shared connections; every mishap has a name."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import IO, Any

import aiohttp
from multidict import MultiMapping

from quarterdeck.diagnosis.doctor.findings import StepError

MOST_BODY = 1024 * 1024
"""Bytes of an answer that are looked at."""

CUT_FIX = (
    "Look at the server's log for a crash. A web server in front has time limits too: "
    "in nginx proxy_read_timeout 3600s; in Apache ProxyTimeout 3600."
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; `seconds` until all of it was there."""

    status: int
    body: bytes
    headers: MultiMapping[str]
    seconds: float
    http10: bool

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    @property
    def media_type(self) -> str:
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    @property
    def is_page(self) -> bool:
        return self.media_type == "text/html" or self.text[:200].lstrip().lower().startswith(("<!doctype", "<html"))

    def json(self) -> Any:
        """None where it is none."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None


class Caller:
    """Requests to one server. `limit` is in seconds, for the whole answer."""

    def __init__(self, trust: ssl.SSLContext, limit: float, connect: float) -> None:
        self._trust, self._limit, self._connect = trust, limit, connect

    async def ask(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        fields: Mapping[str, Any] | None = None,
        data: IO[bytes] | None = None,
        limit: float | None = None,
    ) -> Answer:
        """The whole answer. Raises StepError."""
        began = time.perf_counter()
        async with self.open(method, url, headers=headers, fields=fields, data=data, limit=limit) as answer:
            body = bytearray()
            async for piece in answer.content.iter_any():
                body += piece
                if len(body) > MOST_BODY:
                    break
            http10 = answer.version == aiohttp.HttpVersion10
            return Answer(answer.status, bytes(body), answer.headers, time.perf_counter() - began, http10)

    @asynccontextmanager
    async def open(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        fields: Mapping[str, Any] | None = None,
        data: IO[bytes] | None = None,
        limit: float | None = None,
        quiet: float | None = None,
        read_until_eof: bool = True,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """An answer while it comes; with `quiet`, that many seconds without a byte are too many."""
        allowed = limit or self._limit
        timeout = aiohttp.ClientTimeout(total=allowed, sock_connect=self._connect, sock_read=quiet)
        try:
            async with self.session(timeout) as http:
                asked = http.request(method, url, headers=headers, json=fields, data=data, allow_redirects=False,
                                     read_until_eof=read_until_eof)  # fmt: skip
                async with asked as answer:
                    yield answer
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            raise _trouble(
                error, quiet if isinstance(error, aiohttp.SocketTimeoutError) and quiet else allowed
            ) from error

    def session(self, timeout: aiohttp.ClientTimeout) -> aiohttp.ClientSession:
        # Connections are kept open until it ends, which cuts them off and waits; closing at once would end in the
        # background.
        connector = aiohttp.TCPConnector(ssl=self._trust)
        return aiohttp.ClientSession(connector=connector, timeout=timeout, trust_env=False)


def _trouble(error: Exception, limit: float) -> StepError:
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return StepError("connect_timeout", "The connection was not made in time.", "Look for a firewall on the way.")
    if isinstance(error, TimeoutError):
        return StepError(
            "no_answer_in_time",
            f"The server took the request and did not finish its answer within {limit:g} s.",
            "It may be busy or hang: look at its log, or restart it.",
        )
    if isinstance(error, aiohttp.ClientConnectorError):
        return StepError("not_connected", "The connection could not be made this time.", "Check that the server runs.")
    if isinstance(
        error, (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, ConnectionError, asyncio.IncompleteReadError)
    ):
        return StepError("closed_without_answer", "The server closed the connection without an answer.",
                       "Look at its log; it may have crashed, or another kind of program listens there.")  # fmt: skip
    if isinstance(error, aiohttp.ClientPayloadError):
        return StepError("answer_cut", "The answer broke off before its end.", CUT_FIX)
    return StepError("not_http", "What answers there does not speak HTTP.",
                   "Check the port: another program may listen on it.")  # fmt: skip
