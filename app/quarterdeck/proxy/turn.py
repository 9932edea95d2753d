"""One model's turn at a request: what is changed for it, the wait until it is loaded, the question and the answer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass

from quarterdeck.backends.base import Instance
from quarterdeck.proxy import failures
from quarterdeck.proxy.access.access import Access
from quarterdeck.proxy.client import Client, Header
from quarterdeck.proxy.dialects.base import Asked, Dialect
from quarterdeck.proxy.media import check_media
from quarterdeck.proxy.mitigations import Mitigated, learn, mitigate
from quarterdeck.proxy.mitigations.speech_cache import SpeechCache, Spoken
from quarterdeck.proxy.ollama_loading import load_or_unload, only_loads
from quarterdeck.proxy.outlet import Outlet
from quarterdeck.proxy.passing import Passage, Refused
from quarterdeck.proxy.probes import is_probe, probe_answer
from quarterdeck.proxy.questions import Received, put
from quarterdeck.proxy.records.log import RequestLog
from quarterdeck.proxy.records.record import RequestRecord
from quarterdeck.proxy.routing import capabilities
from quarterdeck.proxy.routing.health import Health
from quarterdeck.proxy.routing.router import Router
from quarterdeck.proxy.sending import NotReached, Patience, Sender
from quarterdeck.proxy.wire import Broken
from quarterdeck.scheduling.scheduler import Scheduler
from quarterdeck.schemas.models import ModelView
from quarterdeck.schemas.requests import Operation
from quarterdeck.settings import Settings
from quarterdeck.tasks import spawn

FORCE = "x-quarterdeck-force"
PROBE = "probe answered"
FROM_CACHE = "speech from the cache"


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


@dataclass(slots=True)
class Turn:
    """Has the model `view` answer what was `received`. `headers` are those that we add to every answer.

    `outlet` is where the answer goes, once it is known.
    """

    means: Means
    client: Client
    dialect: Dialect
    record: RequestRecord
    received: Received
    view: ModelView
    headers: Callable[[], list[Header]]
    outlet: Outlet | None = None

    async def take(self) -> None:
        """Returns when the client has the whole answer. Raises AppError."""
        view, asked = self.view, self.received.asked
        capabilities.check(view, self.received.needs, asked, self.means.scheduler.catalog.all)
        check_media(view, asked.operation)
        try:
            await self._ask()
        except Refused as error:
            # Some models say only then what they cannot take; what is learned is mended from now on.
            if self.client.begun or not learn(view, error.sentence):
                raise
            await self._ask()

    async def _ask(self) -> None:
        scheduler, view = self.means.scheduler, self.view
        mitigated = await mitigate(
            self.received.asked, view, settings=self.means.settings(), http=self.means.sender.pages
        )
        asked = mitigated.asked
        self.record.applied, self.record.warnings = mitigated.applied, mitigated.warnings
        self.outlet = outlet = Outlet(
            self.client, self.dialect, self.dialect.writer(asked), asked, self.record, self.headers
        )
        if await self._answered_here(outlet):
            return
        held = scheduler.enter(view.name)
        if held is None:
            async with contextlib.AsyncExitStack() as stack:
                await self._send(await self._wait_for_model(stack, outlet), mitigated, outlet)
            return
        try:
            await self._send(held.instance, mitigated, outlet)
        finally:
            scheduler.leave(held)

    async def _answered_here(self, outlet: Outlet) -> bool:
        """Whether the request was one that no engine has to answer."""
        scheduler, view, record = self.means.scheduler, self.view, self.record
        # As it came: what is filled in for the model would make a question out of none.
        asked = self.received.asked
        if only_loads(asked):
            await outlet.own(await load_or_unload(scheduler, asked, view.name, force=self._forced))
            return True
        if self.means.settings().shield_probes and is_probe(asked) and view.name not in scheduler.loaded:
            record.applied.append(PROBE)
            await outlet.give(probe_answer(asked, view))
            return True
        key = self._speech_key(outlet.asked)
        known = None if key is None else self.means.speech.get(key)
        if known is not None:
            record.applied.append(FROM_CACHE)
            await outlet.start(200, [(b"content-type", known.content_type.encode("latin-1"))])
            await outlet.end(known.data)
        return known is not None

    @property
    def _forced(self) -> bool:
        return self.client.headers.get(FORCE, "").lower() == "true"

    async def _wait_for_model(self, stack: contextlib.AsyncExitStack, outlet: Outlet) -> Instance:
        """The model's instance; a stream that has to wait is kept open with comments."""
        name = self.view.name
        lease = self.means.scheduler.lease(name, force=self._forced)
        entering = spawn(stack.enter_async_context(lease), name=f"wait for {name}")
        comment = self.dialect.keep_alive if outlet.asked.stream else None
        try:
            while not entering.done():
                await asyncio.wait({entering}, timeout=self.means.settings().keep_alive_delay if comment else None)
                if comment and not entering.done():
                    await outlet.start_stream()
                    await self.client.comment(comment)
        finally:
            entering.cancel()
        return await entering

    async def _send(self, instance: Instance, mitigated: Mitigated, outlet: Outlet) -> None:
        """Send the request to an instance and pass its answer on."""
        view, record, profile = self.view, self.record, self.received.principal.profile
        sent = put(self.received, self.dialect, view, instance, mitigated)
        record.left_out(sent.dropped)
        record.converted(sent.body)
        record.sent()
        stream = mitigated.asked.stream and not mitigated.whole
        passage = Passage(outlet, sent, mitigated, view, self._keeper(mitigated.asked))
        patience = Patience(profile, stream=stream)
        try:
            request = self.means.sender.post(
                instance, view.backend, sent.path, sent.body,
                content_type=sent.content_type, stream=stream, connect=profile.connect,
            )  # fmt: skip
            async with patience.clock, request as answer:
                await passage.pass_on(answer, patience)
        except (NotReached, Broken, TimeoutError) as error:
            if self.means.scheduler.closing:
                raise failures.closing() from error
            if self.client.blocked:
                raise failures.client_stuck() from error
            raise failures.of_connection(view.name, error, patience.lost_by) from error

    def _speech_key(self, asked: Asked) -> str | None:
        if asked.operation is not Operation.SPEECH or not self.means.settings().speech_cache_mib:
            return None
        return SpeechCache.key(asked.fields, self.view)

    def _keeper(self, asked: Asked) -> Callable[[str, bytes], None] | None:
        """Keeps what was spoken, where that is wanted."""
        key = self._speech_key(asked)
        if key is None:
            return None
        return lambda content_type, sound: self.means.speech.put(key, Spoken(sound, content_type))
