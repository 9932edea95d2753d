"""What every client sees of the models: stored facts joined with what each model does right now."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from quarterdeck.compatibility.journal import Journal
from quarterdeck.errors import AppError
from quarterdeck.registry.layers import POLICIES
from quarterdeck.registry.models import Registry
from quarterdeck.registry.names import NameIndex
from quarterdeck.schemas.discovery import FoundModel, ScanResult
from quarterdeck.schemas.events import Topic
from quarterdeck.schemas.jsontext import parse_load_config
from quarterdeck.schemas.models import ConfigPatch, LoadProgress, ModelCreate, ModelView, Phase
from quarterdeck.storage.events import EventLog

PROGRESS_SECONDS = 0.25
PUBLISHED_SINGLY = 200
"""So many changes at once are told one by one; above, readers are asked to fetch the whole list again."""


@dataclass(slots=True)
class RunState:
    """The part of a ModelView that lives in memory only."""

    phase: Phase = Phase.UNLOADED
    progress: LoadProgress | None = None
    last_error: str | None = None
    queue_position: int | None = None
    cooldown_until: datetime | None = None
    vram_bytes: int | None = None
    alarm: str | None = None
    published_at: float = 0.0


class Catalog:
    """A cache of ModelViews that publishes every change. Core loop only."""

    def __init__(self, registry: Registry, journal: Journal, events: EventLog) -> None:
        self.registry = registry
        self.journal = journal
        self._events = events
        self._stored: dict[str, ModelView] = {}
        self._names = NameIndex()
        self._runs: dict[str, RunState] = {}
        # Joining costs more than all the rest of a look, and each request looks.
        self._joined: dict[str, ModelView] = {}
        self.revision = 0
        """Grows whenever stored facts changed; what models do right now does not count."""

    async def open(self) -> None:
        self._stored = {view.name: view for view in await self.registry.list()}
        self._joined = {}
        self._names = NameIndex()
        for view in self._stored.values():
            self._names.put(view)
        self.revision += 1

    def stored(self) -> Collection[ModelView]:
        """The stored facts of all models, without what each does right now."""
        return self._stored.values()

    def all(self) -> list[ModelView]:
        return [self._join(view) for view in self._stored.values()]

    def get(self, name: str) -> ModelView:
        """The model called `name`, or by the id it is served under. Raises AppError `unknown_model` (404)."""
        known = name if name in self._stored else self._names.served_as(name)
        if known is None:
            raise _unknown(name)
        return self._join(self._stored[known])

    def resolve(self, name: str) -> tuple[ModelView, str]:
        """The model that a client means by `name`, and the rule that found it. Raises AppError `unknown_model` (404).

        `exact` is its name or the id it is served under; `alias` another name, or its own written differently: case
        does not count, nor Ollama's tag “latest”, but every other sign does.
        """
        found = self._names.find(name)
        if found is None:
            raise _unknown(name)
        return self._join(self._stored[found[0]]), found[1]

    async def reload(self, names: Collection[str] | None = None) -> None:
        """Read stored facts again, of all models or those in `names`, and publish what changed."""
        views = await (self.registry.list() if names is None else self.registry.some(names))
        fresh = {view.name: view for view in views}
        looked_at = self._stored.keys() | fresh.keys() if names is None else set(names)
        gone = [name for name in looked_at if name in self._stored and name not in fresh]
        changed = [view for view in fresh.values() if self._stored.get(view.name) != view]
        for name in gone:
            self._forget(name)
        for view in changed:
            self._keep(view)
        if len(gone) + len(changed) > PUBLISHED_SINGLY:
            self._events.publish(Topic.STREAM, "reset", {})
            return
        for name in gone:
            self._events.publish(Topic.MODEL, "removed", {"name": name})
        for view in changed:
            self.publish(view.name)

    async def reconcile(self, found: Sequence[FoundModel], *, sources: Collection[str]) -> ScanResult:
        """Take what a look around found into the registry, and publish what it changed; see `Registry.reconcile`."""
        result = await self.registry.reconcile(found, sources=sources)
        await self.reload({*result.added, *result.changed, *result.gone})
        return result

    async def add(self, new: ModelCreate) -> ModelView:
        view = await self.registry.add(new)
        return await self.refresh(view.name)

    async def remove(self, name: str) -> None:
        view = self.get(name)
        if view.phase is not Phase.UNLOADED:
            raise AppError(
                "model_busy", f"“{name}” is {view.phase.value}.", "Unload it first, then remove it.", status=409
            )
        await self.registry.remove(view.name)
        self._forget(view.name)
        self._events.publish(Topic.MODEL, "removed", {"name": view.name})

    async def patch(self, name: str, patch: ConfigPatch) -> ModelView:
        """A person's change of status, notes, load_config or policies; fields that were not given stay."""
        view = self.get(name)
        if view.phase in (Phase.LOADING, Phase.CANCELLING) and patch.compatibility_status is not None:
            raise AppError(
                "model_busy", f"“{name}” is being tested.", "Wait for the load to end, or cancel it.", status=409
            )
        config = None if patch.load_config is None else parse_load_config(patch.load_config)
        decides = bool(patch.model_fields_set & POLICIES)
        if decides:
            await self.registry.check_facts(view.name, patch)
        await self.journal.set_by_person(view.name, patch.compatibility_status, patch.compatibility_notes, config)
        if decides:
            await self.registry.set_facts(view.name, patch)
        return await self.refresh(view.name)

    async def refresh(self, name: str) -> ModelView:
        """Read a model's stored facts again and publish it."""
        self._keep(await self.registry.get(name))
        return self.publish(name)

    def set_phase(self, name: str, phase: Phase, *, error: str | None = None) -> None:
        run = self._run(name)
        run.phase = phase
        run.last_error = error
        if phase not in (Phase.LOADING, Phase.CANCELLING):
            run.progress = None
        self.publish(name)

    def set_progress(self, name: str, progress: LoadProgress) -> None:
        """Keep the progress of a load; publishes at most every PROGRESS_SECONDS unless the stage changed."""
        run = self._run(name)
        same_stage = run.progress is not None and run.progress.stage == progress.stage
        run.progress = progress
        if not same_stage or time.monotonic() - run.published_at >= PROGRESS_SECONDS:
            self.publish(name)

    def set_queue_position(self, name: str, position: int | None) -> None:
        """Where a model's load stands in the queue, 0 when it runs; published when it changed."""
        run = self._run(name)
        if run.queue_position != position:
            run.queue_position = position
            self._publish_known(name)

    def set_cooldown(self, name: str, until: datetime | None) -> None:
        """Until when a model that failed is not loaded for clients."""
        run = self._run(name)
        if run.cooldown_until != until:
            run.cooldown_until = until
            self._publish_known(name)

    def set_memory(self, name: str, vram_bytes: int | None, alarm: str | None) -> bool:
        """What of a loaded model is in GPU memory, and what is wrong about it; whether that is news."""
        known = self._runs.get(name)
        if known is None or (known.vram_bytes, known.alarm) == (vram_bytes, alarm):
            return False
        run = self._run(name)
        run.vram_bytes, run.alarm = vram_bytes, alarm
        self._publish_known(name)
        return True

    def publish(self, name: str) -> ModelView:
        view = self.get(name)
        self._run(name).published_at = time.monotonic()
        self._events.publish(Topic.MODEL, "changed", view)
        return view

    def _publish_known(self, name: str) -> None:
        if name in self._stored:
            self.publish(name)

    def _keep(self, view: ModelView) -> None:
        self._stored[view.name] = view
        self._joined.pop(view.name, None)
        self._names.put(view)
        self.revision += 1

    def _forget(self, name: str) -> None:
        self.revision += 1
        self._stored.pop(name, None)
        self._names.drop(name)
        self._runs.pop(name, None)
        self._joined.pop(name, None)

    def _run(self, name: str) -> RunState:
        """The state of a model, to be changed."""
        self._joined.pop(name, None)
        return self._runs.setdefault(name, RunState())

    def _join(self, view: ModelView) -> ModelView:
        joined = self._joined.get(view.name)
        # A pause ends without anybody saying so.
        if joined is None or joined.cooldown_until is not None:
            run = self._runs.get(view.name)
            joined = view if run is None else _with_state(view, run)
            self._joined[view.name] = joined
        return joined


def _with_state(view: ModelView, run: RunState) -> ModelView:
    return view.model_copy(
        update={
            "phase": run.phase,
            "loaded": run.phase is Phase.LOADED,
            "progress": run.progress,
            "last_error": run.last_error or view.last_error,
            "queue_position": run.queue_position,
            "cooldown_until": _still_to_come(run.cooldown_until),
            "vram_bytes": run.vram_bytes,
            "alarm": run.alarm,
        }
    )


def _unknown(name: str) -> AppError:
    return AppError(
        "unknown_model",
        f"There is no model named “{name}”.",
        "List the models with `quarterdeck models`, or add it with `quarterdeck models add`.",
        status=404,
    )


def _still_to_come(moment: datetime | None) -> datetime | None:
    return moment if moment is not None and moment > datetime.now(UTC) else None
