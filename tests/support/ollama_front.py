"""Ollama's interface as Quarterdeck offers it, in front of an Ollama server, without a core around it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Collection
from datetime import UTC, datetime
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request

from quarterdeck.backends.base import ExitReport, Instance
from quarterdeck.backends.ollama_api import OllamaApi
from quarterdeck.backends.ollama_library import OllamaLibrary
from quarterdeck.backends.remote import Remote
from quarterdeck.control.listeners import Listener, bind
from quarterdeck.proxy.access.access import Principal
from quarterdeck.proxy.health import health_routes
from quarterdeck.proxy.listing import ModelList
from quarterdeck.proxy.ollama_routes import OllamaRoutes
from quarterdeck.scheduling.catalog import Catalog
from quarterdeck.scheduling.state import Loaded, now
from quarterdeck.schemas.access import Profile
from quarterdeck.schemas.models import ModelView
from quarterdeck.settings import Settings

CREATED = datetime(2026, 11, 21, 2, 23, 44, 986584, tzinfo=UTC)
ANYBODY = Principal(
    None,
    admin=False,
    models=frozenset(),
    profile=Profile(name="default", connect=5, first_token=300, idle=120, total=0, retries=1),
)


def model(name: str, backend: str = "embedded", **fields: Any) -> ModelView:
    known = {"served_name": name, "layer": "curated", "created_at": CREATED}
    return ModelView(name=name, backend=backend, **{**known, **fields})


class _Registry:
    def __init__(self) -> None:
        self.views: dict[str, ModelView] = {}

    async def list(self) -> list[ModelView]:
        return list(self.views.values())

    async def some(self, names: Collection[str]) -> list[ModelView]:
        return [self.views[name] for name in names if name in self.views]


class _Events:
    def publish(self, *_: Any) -> None:
        """Nobody listens."""


class _Scheduler:
    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.loaded: dict[str, Loaded] = {}


class Front:
    """`principal` is who asks; `looks` counts how often somebody wanted to know what the server has now."""

    def __init__(self, ollama_url: str, **settings: Any) -> None:
        self.ollama_url = ollama_url
        self.settings = Settings(**{"ollama_url": ollama_url, **settings})
        self.principal = ANYBODY
        self.looks = 0
        self.url = ""
        self._registry = _Registry()
        registry: Any = self._registry
        events: Any = _Events()
        self.catalog = Catalog(registry, registry, events)
        self.scheduler = _Scheduler(self.catalog)
        self._remote = Remote()
        self._library = OllamaLibrary(lambda url: OllamaApi(self._remote, url or ollama_url), lambda: [ollama_url])
        scheduler: Any = self.scheduler
        self.ollama = OllamaRoutes(
            scheduler, settings=lambda: self.settings, changed=self.look, principal=self._who
        )  # fmt: skip
        listing = ModelList(self.catalog, principal=self._who)
        routes = [*self.ollama.routes(), *listing.routes(), *health_routes(time.monotonic())]
        self.app = Starlette(routes=routes)

    async def add(self, *views: ModelView) -> None:
        self._registry.views.update({view.name: view for view in views})
        await self.catalog.reload()

    async def look(self) -> None:
        """Take over what the server has, as a scan does; models of other engines stay."""
        self.looks += 1
        found = await self._library.models_at(self.ollama_url) or []
        kept = {name: view for name, view in self._registry.views.items() if view.backend != "ollama"}
        fields = ("size_bytes", "format", "architecture", "parameter_count", "quantization", "context_length", "family",
                  "capabilities")  # fmt: skip
        theirs = {
            each.name: model(each.name, "ollama", url=each.url, **{field: getattr(each, field) for field in fields})
            for each in found
        }
        self._registry.views = {**kept, **theirs}
        await self.catalog.reload()

    def load(self, name: str, *, config: dict[str, Any] | None = None, idle: float = 0.0) -> Loaded:
        """Let a model be in memory, unused for `idle` seconds."""
        exited: asyncio.Future[ExitReport] = asyncio.get_running_loop().create_future()
        instance = Instance(name, "http://127.0.0.1:9", None, None, exited, 0.0)
        backend: Any = None
        self.scheduler.loaded[name] = loaded = Loaded(
            self.catalog.get(name), backend, instance, config or {}, False, 1, True, 0.0, now() - idle
        )
        return loaded

    async def close(self) -> None:
        await self.ollama.close()
        await self._remote.close()

    def _who(self, _request: Request) -> Principal:
        return self.principal


@contextlib.asynccontextmanager
async def ollama_front(ollama_url: str, **settings: Any) -> AsyncIterator[Front]:
    front = Front(ollama_url, **settings)
    listener = Listener(front.app, bind("127.0.0.1", 0))
    await listener.ready()
    front.url = listener.url
    try:
        yield front
    finally:
        await listener.stop()
        await front.close()
