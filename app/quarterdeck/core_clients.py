"""Builds what answers clients: keys, routes, the proxy and the records of it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from starlette.requests import Request
from starlette.routing import Route

from quarterdeck.errors import AppError
from quarterdeck.hardware.sampler import Sampler
from quarterdeck.proxy.access.access import Access, Principal, principal_of
from quarterdeck.proxy.access.keys import KeyStore
from quarterdeck.proxy.exchange import Means
from quarterdeck.proxy.health import health_routes
from quarterdeck.proxy.listing import ModelList
from quarterdeck.proxy.mitigations.speech_cache import SpeechCache
from quarterdeck.proxy.ollama_routes import OllamaRoutes
from quarterdeck.proxy.records import routes as record_routes
from quarterdeck.proxy.records.access_log import AccessLog
from quarterdeck.proxy.records.log import Keeping, RequestLog
from quarterdeck.proxy.records.metrics import Metrics, State
from quarterdeck.proxy.records.telemetry import Telemetry
from quarterdeck.proxy.routes import Proxy
from quarterdeck.proxy.routing.health import Health
from quarterdeck.proxy.routing.router import Router
from quarterdeck.proxy.routing.rules import RuleBook
from quarterdeck.proxy.sending import Sender
from quarterdeck.scheduling.issues import Issues
from quarterdeck.scheduling.scheduler import Scheduler
from quarterdeck.schemas.requests import RequestView
from quarterdeck.schemas.system import IssueView
from quarterdeck.settings import Settings
from quarterdeck.storage.database import Database

MIB = 1024 * 1024
LOG_ISSUE = "access_log_problem"
TELEMETRY_ISSUE = "telemetry_problem"


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
        look_around: Callable[[], Awaitable[object]],
    ) -> None:
        """`logs` is the folder of log files."""
        self._scheduler = scheduler
        self._settings = settings
        self._sampler = sampler
        self._issues = issues
        self.keys = KeyStore(database)
        self.rules = RuleBook(database)
        self.access = Access(self.keys, settings, token=token)
        health = Health(settings)
        self.router = Router(scheduler.catalog, health, settings=settings, rules=self.rules)
        self._access_log = AccessLog(logs, settings=settings, problem=lambda error: self._problem(LOG_ISSUE, error))
        self._telemetry = Telemetry(settings=settings, problem=lambda error: self._problem(TELEMETRY_ISSUE, error))
        self.metrics = Metrics(lambda: self.requests.running)
        self.requests = RequestLog(
            on_request,
            sinks=(self._access_log.add, self.metrics.add, self._telemetry.add),
            keeping=lambda: Keeping(settings().capture_requests, settings().log_prompts),
        )
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
        for close in (self._access_log.close, self._telemetry.close, self._sender.close, self._ollama.close):
            stack.push_async_callback(close)
        stack.callback(self.requests.close)

    def routes(self) -> list[Route]:
        """What clients may GET, and the management of Ollama; `proxy` answers what is asked of models."""
        return [
            *health_routes(time.monotonic()),
            *record_routes.routes(self.metrics, self.requests, settings=self._settings, state=self._state),
            *ModelList(self._scheduler.catalog, principal=_principal).routes(),
            *self._ollama.routes(),
        ]

    async def _state(self) -> State:
        scheduler = self._scheduler
        loaded = [(each.name, each.view.backend) for each in scheduler.loaded.values()]
        return State(loaded, len(scheduler.queue), self._sampler.latest().gpus)

    def _problem(self, code: str, error: AppError | None) -> None:
        if error is None:
            self._issues.clear(code)
        else:
            self._issues.raise_issue(IssueView(code=code, sentence=error.sentence, hint=error.hint))


def _principal(request: Request) -> Principal:
    return principal_of(request.scope)
