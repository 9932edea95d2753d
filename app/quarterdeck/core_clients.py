"""Builds what answers clients: keys, routes, the proxy and the records of it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from starlette.requests import Request
from starlette.routing import Route

from quarterdeck.hardware.sampler import Sampler
from quarterdeck.proxy.access.access import Access, Principal, principal_of
from quarterdeck.proxy.access.keys import KeyStore
from quarterdeck.proxy.health import health_routes
from quarterdeck.proxy.listing import ModelList
from quarterdeck.proxy.mitigations.speech_cache import SpeechCache
from quarterdeck.proxy.ollama_routes import OllamaRoutes
from quarterdeck.proxy.records.records import Records
from quarterdeck.proxy.routes import Proxy
from quarterdeck.proxy.routing.health import Health
from quarterdeck.proxy.routing.router import Router
from quarterdeck.proxy.routing.rules import RuleBook
from quarterdeck.proxy.sending import Sender
from quarterdeck.proxy.turn import Means
from quarterdeck.scheduling.issues import Issues
from quarterdeck.scheduling.scheduler import Scheduler
from quarterdeck.schemas.requests import RequestView
from quarterdeck.settings import Settings
from quarterdeck.storage.database import Database

MIB = 1024 * 1024


class ClientSide:
    """Everything between the public address and the scheduler. Core loop only; `open` before use."""

    def __init__(
        self,
        database: Database,
        scheduler: Scheduler,
        *,
        settings: Callable[[], Settings],
        token: str,
        sampler: Sampler,
        issues: Issues,
        logs: Path,
        on_request: Callable[[RequestView], None],
        on_passed_over: Callable[[int], None],
        look_around: Callable[[], Awaitable[object]],
    ) -> None:
        """`logs` is the folder of log files."""
        self._scheduler = scheduler
        self._sampler = sampler
        self.keys = KeyStore(database)
        self.rules = RuleBook(database)
        self.access = Access(self.keys, settings, token=token)
        health = Health(settings)
        self.router = Router(scheduler.catalog, health, settings=settings, rules=self.rules)
        self._records = Records(
            logs, settings=settings, issues=issues, on_request=on_request, on_passed_over=on_passed_over
        )
        self.requests = self._records.log
        self._sender = Sender()
        self._ollama = OllamaRoutes(scheduler, settings=settings, changed=look_around, principal=_principal)
        speech = SpeechCache(lambda: settings().speech_cache_mib * MIB)
        self.proxy = Proxy(
            Means(scheduler, self.router, health, self.access, self.requests, self._sender, speech, settings)
        )

    async def open(self, stack: contextlib.AsyncExitStack) -> None:
        """Read what is stored, and connect; `stack` gets what has to be closed."""
        await self.keys.open()
        await self.rules.open()
        await self._sender.open()
        for close in (self._records.close, self._sender.close, self._ollama.close):
            stack.push_async_callback(close)

    def routes(self) -> list[Route]:
        """What clients may GET, and the management of Ollama; `proxy` answers what is asked of models."""
        return [
            *health_routes(time.monotonic()),
            *self._records.routes(self._scheduler, self._sampler),
            *ModelList(self._scheduler.catalog, principal=_principal).routes(),
            *self._ollama.routes(),
        ]


def _principal(request: Request) -> Principal:
    return principal_of(request.scope)
