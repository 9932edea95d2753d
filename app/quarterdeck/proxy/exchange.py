"""One request from its first byte to its last: who asks, what for, which model, and what if that one fails."""

from __future__ import annotations

import asyncio
import functools
import json
import logging
from urllib.parse import quote

from quarterdeck.errors import AppError
from quarterdeck.proxy import failures
from quarterdeck.proxy.client import Client, Header, Watch
from quarterdeck.proxy.dialects.base import Dialect
from quarterdeck.proxy.dialects.openai import retry_after
from quarterdeck.proxy.outlet import Outlet, json_headers
from quarterdeck.proxy.passing import is_fault, own_words
from quarterdeck.proxy.questions import Received
from quarterdeck.proxy.reading import MARK, read
from quarterdeck.proxy.records.record import RequestRecord
from quarterdeck.proxy.routing import capabilities
from quarterdeck.proxy.turn import Means, Turn
from quarterdeck.proxy.turns import Turns

MIB = 1024 * 1024
HEADER_SIGNS = 1000
"""What is said in one header of an answer is cut here; clients do not take larger ones."""

# What a header may hold as it is; everything else is written as %XX.
_SHOWN = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")

_log = logging.getLogger(__name__)


class Exchange:
    """Answers one request of one client."""

    def __init__(self, means: Means, dialect: Dialect, client: Client) -> None:
        self._means = means
        self._dialect = dialect
        self._client = client
        self._settings = means.settings()
        self._record = RequestRecord(means.log, path=client.path, dialect=dialect.name, client=client.address)
        self._outlet: Outlet | None = None

    async def run(self) -> None:
        """Answer; whatever happens, the client gets a proper end and the record is closed."""
        watch = None
        try:
            received = await self._read()
            watch = Watch(self._client)
            await self._answer(received)
        except AppError as error:
            await self._fail(error)
        except RecursionError:
            await self._fail(failures.too_deep())
        except asyncio.CancelledError:
            if watch is None or not watch.left:
                raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the client is told
            _log.exception("%s failed", self._client.path)
            await self._fail(failures.defect(error))
        finally:
            if watch is not None:
                watch.close()
            # After the answer went out: what is written down takes longer than sending it.
            asyncio.get_running_loop().call_soon(self._close, watch is not None and watch.left)

    def _close(self, client_left: bool) -> None:
        self._record.finish(client_left=client_left)
        self._means.access.spent(self._client.principal, self._record.tokens)

    async def _read(self) -> Received:
        client, record = self._client, self._record
        principal = client.principal
        record.key = principal.name
        body = await client.body(self._settings.body_limit * MIB)
        record.original(body)
        content_type = client.headers.get("content-type", "")
        body = body.removeprefix(MARK)
        fields, asked = read(self._dialect, client.path, content_type, body)
        record.asks(asked.operation, asked.model, stream=asked.stream)
        return Received(client.path, body, content_type, fields, asked, capabilities.needs(asked), principal)

    async def _answer(self, received: Received) -> None:
        means, principal = self._means, received.principal
        route = means.router.route(received.asked.model, received.needs)
        with means.access.admit(principal):
            turns = Turns(route, principal, means.scheduler.catalog.get)
            for view, rule in turns:
                self._record.routed(view.name, view.backend, rule)
                turn = Turn(means, self._client, self._dialect, self._record, received, view, self._headers)
                try:
                    await turn.take()
                    means.health.answered(view.name)
                    break
                except AppError as error:
                    self._outlet = turn.outlet
                    if is_fault(error):
                        means.health.failed(view.name, gone=error.code == failures.UNREACHABLE)
                    if self._client.begun:
                        raise
                    if not turns.again(error):
                        raise turns.error or error from error
                    self._record.tried.append(view.name)

    async def _fail(self, error: AppError) -> None:
        """Tell the client of an error, in whatever way is left."""
        client = self._client
        self._record.failed(error.status, error.sentence, error.code)
        if not client.started:
            await self._refuse(error)
        elif self._record.stream and self._outlet is not None and not client.blocked:
            await self._outlet.end(client.line_end + self._outlet.writer.error(error))
        # A plain answer that breaks off cannot be mended; left incomplete, its connection is closed.

    async def _refuse(self, error: AppError) -> None:
        body = own_words(self._dialect, error) or json.dumps(self._dialect.error(error)).encode()
        self._record.answer(body)
        more = [(name.lower().encode(), value.encode()) for name, value in retry_after(error).items()]
        await self._client.start(error.status, [*json_headers(body), *more, *self._headers()])
        await self._client.end(body)

    def _headers(self) -> list[Header]:
        """What we say of the answer in its headers."""
        record = self._record
        headers = [(b"x-request-id", record.id.encode())]
        for name, value in (
            (b"x-quarterdeck-route", record.route),
            (b"x-quarterdeck-model", record.model),
            (b"x-quarterdeck-dropped", ", ".join(record.dropped)),
            (b"x-quarterdeck-applied", ", ".join(record.applied)),
            (b"x-quarterdeck-warning", " ".join(record.warnings)),
        ):
            if value:
                headers.append((name, _in_header(value[:HEADER_SIGNS])))
        return headers


@functools.lru_cache(maxsize=1024)
def _in_header(value: str) -> bytes:
    return quote(value, safe=_SHOWN, errors="replace").encode()
