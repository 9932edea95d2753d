"""A router over a real catalog and database, with a clock of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gguf_writer import CHAT_FACTS, gguf_bytes

from quarterdeck.compatibility.journal import Journal
from quarterdeck.proxy.routing.health import Health
from quarterdeck.proxy.routing.router import Router
from quarterdeck.proxy.routing.rules import RuleBook
from quarterdeck.registry.models import Registry
from quarterdeck.scheduling.catalog import Catalog
from quarterdeck.schemas.backends import BackendKind
from quarterdeck.schemas.discovery import FoundModel
from quarterdeck.schemas.models import ConfigPatch
from quarterdeck.schemas.requests import RouteQuestion, RouteReport, RoutingRules
from quarterdeck.settings import Folders, Settings
from quarterdeck.storage.database import Database
from quarterdeck.storage.events import EventLog

OLLAMA = "http://127.0.0.1:11434"


class RoutingRoom:
    """`at` is the time in seconds; `settings` may be replaced."""

    def __init__(self, folder: Path) -> None:
        self.folders = Folders(folder, folder)
        self.database = Database(self.folders)
        self.database.open()
        self.events = EventLog(self.database)
        self.catalog = Catalog(Registry(self.database), Journal(self.database), self.events)
        self.settings = Settings()
        self.at = 0.0
        self.health = Health(lambda: self.settings, clock=lambda: self.at)
        self.rules = RuleBook(self.database)
        self.router = Router(self.catalog, self.health, settings=lambda: self.settings, rules=self.rules)

    async def open(self) -> None:
        await self.catalog.open()
        await self.rules.open()

    async def close(self) -> None:
        await self.events.flush()
        self.events.close()
        self.database.close()

    def set(self, **values: Any) -> None:
        self.settings = self.settings.model_copy(update=values)

    async def find(self, *names: str, url: str = OLLAMA, backend: str = "ollama", **facts: Any) -> None:
        """Models on one server, as a look around finds them."""
        kind = BackendKind(backend)
        found = [FoundModel(name=name, source="server", backend=kind, url=url, **facts) for name in names]
        await self.catalog.reconcile(found, sources=())

    async def find_file(self, name: str, path: Path, backend: str = "embedded", **facts: Any) -> None:
        """A file on disk."""
        path.write_bytes(gguf_bytes(facts=CHAT_FACTS))
        found = FoundModel(name=name, source="folder", backend=BackendKind(backend), path=str(path), **facts)
        await self.catalog.reconcile([found], sources=())

    async def decide(self, name: str, **decisions: Any) -> None:
        """What a person decides about a model."""
        await self.catalog.patch(name, ConfigPatch(**decisions))

    async def rule(self, **rules: Any) -> None:
        await self.rules.replace(RoutingRules.model_validate(rules))

    def lead(self, name: str, *needs: str) -> tuple[str, list[str]]:
        """The rule and the models for a name."""
        route = self.router.route(name, frozenset(needs))
        return route.rule, [view.name for view in route.models]

    def test(self, name: str, **question: Any) -> RouteReport:
        return self.router.explain(RouteQuestion(model=name, **question))


def share(model: str, weight: float = 1.0) -> dict[str, Any]:
    return {"model": model, "weight": weight}
