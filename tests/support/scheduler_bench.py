"""A scheduler over a real database, with a scripted engine and small model files."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fake_backend import FakeBackend
from gguf_writer import CHAT_FACTS, gguf_bytes
from sqlmodel import Session

from quarterdeck.compatibility.journal import Journal
from quarterdeck.registry.models import Registry
from quarterdeck.scheduling.catalog import Catalog
from quarterdeck.scheduling.issues import Issues
from quarterdeck.scheduling.scheduler import Scheduler
from quarterdeck.scheduling.settling import Settling
from quarterdeck.schemas.events import DEFAULT_TOPICS, Event, Topic
from quarterdeck.schemas.models import AttemptView, ModelCreate, ModelView, Phase
from quarterdeck.settings import Folders, Settings
from quarterdeck.storage.database import Database
from quarterdeck.storage.events import EventLog
from quarterdeck.storage.tables import Model

LEGAL = {
    Phase.UNLOADED: {Phase.QUEUED},
    Phase.QUEUED: {
        Phase.LOADING, Phase.CANCELLING, Phase.UNLOADED, Phase.UNLOADING, Phase.LOADED, Phase.SLEEPING,
    },
    Phase.LOADING: {Phase.LOADED, Phase.CANCELLING, Phase.UNLOADED, Phase.UNLOADING},
    Phase.CANCELLING: {Phase.UNLOADED, Phase.LOADED, Phase.UNLOADING, Phase.SLEEPING},
    Phase.LOADED: {Phase.UNLOADING, Phase.UNLOADED, Phase.QUEUED},
    Phase.SLEEPING: {Phase.QUEUED, Phase.UNLOADING, Phase.UNLOADED},
    Phase.UNLOADING: {Phase.UNLOADED, Phase.LOADED, Phase.QUEUED, Phase.CANCELLING, Phase.SLEEPING},
}  # fmt: skip


# Facts that adding a model takes; its backend is not among them, since only engines that exist are accepted there.
_CREATED = set(ModelCreate.model_fields) - {"backend", "path", "url"}


class Bench:
    """The scheduler under test and everything around it."""

    def __init__(self, folder: Path, *more: FakeBackend, **hooks: Any) -> None:
        """`more` backends beside the embedded one; `hooks` go to the scheduler (memory, estimator …)."""
        self.folder = folder
        # Nothing waits, nobody overtakes and failures are forgiven at once, unless a test says so.
        self.settings = Settings(load_timeout=7, minimum_residence=0, overtake_limit=0, cooldown=0, desktop_reserve=0)
        self.database = Database(Folders(folder, folder))
        self.database.open()
        self.events = EventLog(self.database)
        self.issues = Issues(self.events)
        registry, self.journal = Registry(self.database), Journal(self.database)
        self.catalog = Catalog(registry, self.journal, self.events)
        self.backend = FakeBackend()
        self.backend_changes = 0
        self.settling = Settling(self.catalog, self.events, self.issues)
        self.scheduler = Scheduler(
            self.catalog,
            {each.name: each for each in (self.backend, *more)},
            self.settling,
            self.events,
            settings=lambda: self.settings,
            hardware=self._hardware,
            on_backend=self._backend_changed,
            **hooks,
        )
        self.heard: list[Event] = []

    async def _hardware(self) -> str:
        return "this machine"

    def _backend_changed(self, _backend: object) -> None:
        self.backend_changes += 1

    async def listen(self) -> None:
        async for event in self.events.subscribe(DEFAULT_TOPICS):
            self.heard.append(event)

    def set(self, **values: Any) -> None:
        """Change settings."""
        self.settings = self.settings.model_copy(update=values)
        self.scheduler.update()

    async def add(self, name: str, data: bytes | None = None, **fields: Any) -> ModelView:
        """Register a model; fields that are no part of ModelCreate (group, pinned …) are written as they are."""
        path = self.folder / f"{name}.gguf"
        path.write_bytes(gguf_bytes(facts=CHAT_FACTS))
        given = {key: value for key, value in fields.items() if key in _CREATED}
        view = await self.catalog.add(ModelCreate(model_name=name, path=str(path), **given))
        if data is not None:
            path.write_bytes(data)
        if given == fields:
            return view
        return await self.change(name, **{key: value for key, value in fields.items() if key not in _CREATED})

    async def change(self, name: str, **fields: Any) -> ModelView:
        """Write columns of a model past every check."""

        def work(session: Session) -> None:
            row = session.get_one(Model, name)
            for field, value in fields.items():
                setattr(row, field, value)

        await self.database.run(work)
        view = await self.catalog.refresh(name)
        self.scheduler.update()
        return view

    def get(self, name: str) -> ModelView:
        return self.catalog.get(name)

    async def attempts(self, name: str) -> list[AttemptView]:
        return await self.journal.attempts(name)

    def phases(self, name: str) -> list[Phase]:
        """What the model did, as it was published; repetitions left out."""
        seen: list[Phase] = []
        for event in self.heard:
            if (event.topic, event.type) == (Topic.MODEL, "changed") and event.data["name"] == name:
                phase = Phase(event.data["phase"])
                if not seen or seen[-1] is not phase:
                    seen.append(phase)
        return seen

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                await asyncio.sleep(0.005)

    async def until_phase(self, name: str, phase: Phase) -> None:
        await self.until(lambda: self.get(name).phase is phase)

    async def until_waiting(self, name: str) -> None:
        """Until the engine of a waiting load has been started."""
        await self.until(lambda: any(target.name == name for target in self.backend.loads))
        await self.until(lambda: self.get(name).progress and self.get(name).progress.fraction)

    def illegal_steps(self) -> list[str]:
        """Published changes of phase that must not be."""
        found = []
        for name in {event.data["name"] for event in self.heard if event.topic is Topic.MODEL}:
            steps = itertools.pairwise(self.phases(name))
            found += [f"{name}: {before} → {after}" for before, after in steps if after not in LEGAL[before]]
        return found
