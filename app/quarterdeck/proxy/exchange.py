"""One request from its first byte to its last: who asks, what for, which model, and what if that one fails."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote

import aiohttp

from quarterdeck.backends.base import Instance
from quarterdeck.errors import AppError
from quarterdeck.proxy import failures
from quarterdeck.proxy.access.access import Access
from quarterdeck.proxy.client import Client, Header, Watch
from quarterdeck.proxy.dialects.base import Asked, Dialect
from quarterdeck.proxy.dialects.openai import retry_after
from quarterdeck.proxy.media import check_media
from quarterdeck.proxy.mitigations import Mitigated, mitigate
from quarterdeck.proxy.mitigations.speech_cache import SpeechCache, Spoken
from quarterdeck.proxy.ollama_loading import load_or_unload, only_loads
from quarterdeck.proxy.outlet import Outlet, json_headers
from quarterdeck.proxy.passing import Passage, is_fault, own_words
from quarterdeck.proxy.probes import is_probe, probe_answer
from quarterdeck.proxy.questions import Received, put
from quarterdeck.proxy.reading import read
from quarterdeck.proxy.records.log import RequestLog
from quarterdeck.proxy.records.record import RequestRecord
from quarterdeck.proxy.routing import capabilities
from quarterdeck.proxy.routing.health import Health
from quarterdeck.proxy.routing.router import Router
from quarterdeck.proxy.sending import Patience, Sender
from quarterdeck.proxy.turns import Turns
from quarterdeck.scheduling.scheduler import Scheduler
from quarterdeck.schemas.models import ModelView
from quarterdeck.schemas.requests import Operation
from quarterdeck.settings import Settings
from quarterdeck.tasks import spawn

MIB = 1024 * 1024
FORCE = "x-quarterdeck-force"
PROBE = "probe answered"
FROM_CACHE = "speech from the cache"

# What a header may hold as it is; everything else is written as %XX.
_SHOWN = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Means:
    """What all exchanges share."""

    scheduler: Scheduler
    router: Router
    health: Health
    access: Access
    log: RequestLog
    sender: Sender
    speech: SpeechCache
    settings: Callable[[], Settings]


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
        except asyncio.CancelledError:
            if watch is None or not watch.left:
                raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the client is told
            _log.exception("%s failed", self._client.path)
            await self._fail(failures.defect(error))
        finally:
            if watch is not None:
                watch.close()
            self._record.finish(client_left=watch is not None and watch.left)

    async def _read(self) -> Received:
        client, record = self._client, self._record
        principal = client.principal
        record.key = principal.name
        body = await client.body(self._settings.body_limit * MIB)
        record.original(body)
        content_type = client.headers.get("content-type", "")
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
                try:
                    await self._ask(received, view)
                    means.health.answered(view.name)
                    break
                except AppError as error:
                    if is_fault(error):
                        means.health.failed(view.name, gone=error.code == failures.UNREACHABLE)
                    again = turns.again(error)
                    if self._client.begun or not again:
                        raise turns.error or error from error
                    self._record.tried.append(view.name)

    async def _ask(self, received: Received, view: ModelView) -> None:
        """Have one model answer, which is loaded if needed."""
        means, record = self._means, self._record
        capabilities.check(view, received.needs, received.asked, means.scheduler.catalog.all)
        check_media(view, received.asked.operation)
        mitigated = await mitigate(received.asked, view, settings=self._settings, http=means.sender.kept)
        record.applied, record.warnings = mitigated.applied, mitigated.warnings
        asked = mitigated.asked
        self._outlet = Outlet(self._client, self._dialect, self._dialect.writer(asked), asked, record, self._headers)
        if await self._answered_here(received.asked, view):
            return
        held = means.scheduler.enter(view.name)
        if held is None:
            async with contextlib.AsyncExitStack() as stack:
                instance = await self._wait_for_model(stack, view, self._outlet)
                await self._send(received, view, instance, mitigated)
            return
        try:
            await self._send(received, view, held.instance, mitigated)
        finally:
            means.scheduler.leave(held)

    async def _answered_here(self, asked: Asked, view: ModelView) -> bool:
        """Whether the request, as it came, was one that no engine has to answer."""
        assert self._outlet is not None
        scheduler = self._means.scheduler
        if only_loads(asked):
            await self._outlet.own(await load_or_unload(scheduler, asked, view.name, force=self._forced))
            return True
        if self._settings.shield_probes and is_probe(asked) and view.name not in scheduler.loaded:
            self._record.applied = [*self._record.applied, PROBE]
            await self._outlet.give(probe_answer(asked, view))
            return True
        spoken = self._speech_key(asked, view)
        if spoken is not None and (known := self._means.speech.get(spoken)) is not None:
            self._record.applied = [*self._record.applied, FROM_CACHE]
            await self._outlet.start(200, [(b"content-type", known.content_type.encode("latin-1"))])
            await self._outlet.end(known.data)
            return True
        return False

    def _speech_key(self, asked: Asked, view: ModelView) -> str | None:
        if asked.operation is not Operation.SPEECH or not self._settings.speech_cache_mib:
            return None
        return SpeechCache.key(asked.fields, view)

    @property
    def _forced(self) -> bool:
        return self._client.headers.get(FORCE, "").lower() == "true"

    async def _wait_for_model(self, stack: contextlib.AsyncExitStack, view: ModelView, outlet: Outlet) -> Instance:
        """The model's instance; a stream that has to wait is kept open with comments."""
        lease = self._means.scheduler.lease(view.name, force=self._forced)
        entering = spawn(stack.enter_async_context(lease), name=f"wait for {view.name}")
        comment = self._dialect.keep_alive if outlet.asked.stream else None
        try:
            while not entering.done():
                await asyncio.wait({entering}, timeout=self._settings.keep_alive_delay if comment else None)
                if comment and not entering.done():
                    await outlet.start_stream()
                    await self._client.comment(comment)
        finally:
            entering.cancel()
        return await entering

    async def _send(self, received: Received, view: ModelView, instance: Instance, mitigated: Mitigated) -> None:
        """Send the request to an instance and pass its answer on."""
        assert self._outlet is not None
        sent = put(received, self._dialect, view, instance, mitigated)
        asked, record, profile = mitigated.asked, self._record, received.principal.profile
        record.dropped = sent.dropped
        record.converted(sent.body)
        record.sent()
        stream = asked.stream and not mitigated.whole
        passage = Passage(self._outlet, sent, mitigated, view, self._keeper(asked, view))
        patience = Patience(profile, stream=stream)
        request = self._means.sender.post(
            instance, view.backend, sent.path, sent.body,
            content_type=sent.content_type, stream=stream, connect=profile.connect,
        )  # fmt: skip
        try:
            async with patience.clock, request as answer:
                await passage.pass_on(answer, patience)
        except (aiohttp.ClientError, TimeoutError, ConnectionResetError) as error:
            if self._means.scheduler.closing:
                raise failures.closing() from error
            raise failures.of_connection(view.name, error, begun=self._client.begun) from error

    def _keeper(self, asked: Asked, view: ModelView) -> Callable[[str, bytes], None] | None:
        """Keeps what was spoken, where that is wanted."""
        key = self._speech_key(asked, view)
        if key is None:
            return None
        return lambda content_type, sound: self._means.speech.put(key, Spoken(sound, content_type))

    async def _fail(self, error: AppError) -> None:
        """Tell the client of an error, in whatever way is left."""
        client = self._client
        self._record.failed(error.status, error.sentence, error.code)
        if not client.started:
            await self._refuse(error)
        elif self._record.stream and self._outlet is not None:
            line_end = b"\n\n" if client.unfinished_line else b""
            await self._outlet.end(line_end + self._outlet.writer.error(error))
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
                headers.append((name, _in_header(value)))
        return headers


@functools.lru_cache(maxsize=1024)
def _in_header(value: str) -> bytes:
    return quote(value, safe=_SHOWN).encode()
