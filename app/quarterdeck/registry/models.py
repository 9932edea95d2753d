"""The registry: which models exist, with the facts that people, files and servers state."""

from __future__ import annotations

import asyncio
import builtins
import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quarterdeck.errors import AppError
from quarterdeck.registry import absences, scan, sources, starter
from quarterdeck.registry.facts import FILE_FACTS, file_facts, read_facts
from quarterdeck.registry.importers import ImportPlan
from quarterdeck.registry.importers.arguments import Engines
from quarterdeck.registry.imports import Imports
from quarterdeck.registry.locks import Locks, Progress
from quarterdeck.registry.names import clean_name
from quarterdeck.registry.parts import read_model
from quarterdeck.registry.starter import starter_file
from quarterdeck.registry.views import Views
from quarterdeck.schemas.backends import BackendKind
from quarterdeck.schemas.discovery import (
    Absence,
    FollowedFile,
    FoundModel,
    ImportPreview,
    PassedOver,
    ScanResult,
)
from quarterdeck.schemas.jsontext import parse_load_config
from quarterdeck.schemas.models import ConfigPatch, ModelCreate, ModelView
from quarterdeck.storage.database import Database

if TYPE_CHECKING:
    from sqlmodel import Session

    from quarterdeck.storage.tables import Model

_log = logging.getLogger(__name__)


class Registry:
    """The models a person has. `hardware` is the fingerprint of this machine, set by the core once it is known.

    `backends` are the kinds that a model may have. `include_non_installed` says whether models without files are shown
    to clients, `usual_url` where the server of a backend normally is (None: nowhere), `engines` what options they have.
    """

    def __init__(
        self,
        database: Database,
        backends: Collection[str] = tuple(BackendKind),
        *,
        include_non_installed: Callable[[], bool] = lambda: False,
        usual_url: Callable[[str], str | None] = lambda backend: None,
        engines: Callable[[], Engines] = dict,
    ) -> None:
        self._database = database
        self._backends = tuple(map(str, backends))
        self._views = Views(include_non_installed)
        self._usual_url = usual_url
        self._imports = Imports(database, self._backends, usual_url, engines)
        self._locks = Locks(database)
        self._passed_over: builtins.list[PassedOver] = []
        self._primed = False

    @property
    def hardware(self) -> str:
        return self._views.hardware

    @hardware.setter
    def hardware(self, fingerprint: str) -> None:
        self._views.hardware = fingerprint

    async def list(self) -> list[ModelView]:
        """All models in the order of their names; a model whose file is gone is listed all the same."""

        def work(session: Session) -> list[ModelView]:
            from quarterdeck.registry import rows

            return [self._views.of(row) for row in rows.everything(session)]

        return await self._database.run(work)

    async def some(self, names: Iterable[str]) -> builtins.list[ModelView]:
        """Those of the models in `names` that exist."""
        wanted = [*names]

        def work(session: Session) -> builtins.list[ModelView]:
            from quarterdeck.registry import rows

            return [self._views.of(row) for row in rows.some(session, wanted)]

        return await self._database.run(work)

    async def get(self, name: str) -> ModelView:
        """Raises AppError `unknown_model` (404)."""

        def work(session: Session) -> ModelView:
            from quarterdeck.registry import rows

            return self._views.of(rows.get(session, name))

        return await self._database.run(work)

    async def add(self, new: ModelCreate) -> ModelView:
        """Register a model. Raises AppError: `duplicate_model` (409), or what is wrong with name, file or config."""
        name = clean_name(new.model_name)
        curated: dict[str, Any] = {
            "served_name": clean_name(new.served_name) if new.served_name and new.served_name.strip() else name,
            "hf_path": new.hf_path,
            "cache_location": new.cache_location,
            "load_config": None if new.load_config is None else parse_load_config(new.load_config),
        }
        backend, url = self._backend(new)
        if url is not None:
            return await self._insert(name, {**curated, "backend": backend, "url": url}, {})
        await self._check_free(name, curated["served_name"])
        backend, path, facts = await asyncio.to_thread(_local, new, backend, self._backends)
        return await self._insert(name, {**curated, "backend": backend, "path": str(path)}, facts)

    async def remove(self, name: str) -> None:
        """Forget a model and its attempts; its file stays. Raises AppError `unknown_model` (404)."""

        def work(session: Session) -> None:
            from quarterdeck.registry import rows

            session.delete(rows.get(session, name))

        await self._database.run(work)

    async def set_facts(self, name: str, patch: ConfigPatch) -> ModelView:
        """A person's aliases, roles, capabilities, group, pin, idle timeout, deprecation and load_config.

        Only what was given changes; null takes it back. Raises AppError `unknown_model`, `duplicate_model` (409),
        `bad_name`.
        """

        def work(session: Session) -> ModelView:
            from quarterdeck.registry import policies

            return self._views.of(policies.apply(session, name, patch))

        return await self._database.run(work)

    async def check_facts(self, name: str, patch: ConfigPatch) -> None:
        """Raise what `set_facts` would raise; nothing changes."""

        def work(session: Session) -> None:
            from quarterdeck.registry import policies

            policies.apply(session, name, patch)
            session.expunge_all()

        await self._database.run(work)

    async def look(
        self, folders: Sequence[Path], *, caches: bool
    ) -> tuple[builtins.list[FoundModel], builtins.list[PassedOver], set[str]]:
        """Find models on disk; the third value are the folders that were looked through.

        Files that are as an earlier run read them are not read again.
        """
        if not self._primed:
            self._primed = True
            scan.remember(await self._database.run(_known_files))
        wanted = [*dict.fromkeys(sources.absolute(str(folder)) for folder in folders)]
        found, self._passed_over = await asyncio.to_thread(scan.find_models, wanted, caches=caches)
        return found, self._passed_over, await asyncio.to_thread(scan.looked_at, wanted, caches=caches)

    async def reconcile(self, found: Sequence[FoundModel], *, sources: Collection[str]) -> ScanResult:
        """Bring the discovered layer into line with what was found; rows that stay as they are are not touched.

        `sources` are the places that were looked at completely: words such as `hf_cache`, base addresses of servers,
        folders. A model that is no longer there becomes not installed, or is removed when nobody ever used it.
        """
        paths = await self._database.run(_paths)
        from quarterdeck.registry.reconciling import Disk, reconcile

        disk = await asyncio.to_thread(Disk, [*paths, *(each.path for each in found if each.path)])
        return await self._database.run(lambda session: reconcile(session, found, sources, disk))

    async def absences(self) -> builtins.list[Absence]:
        """Why models are not listed to clients, or not under their own name, and what the last look passed over."""
        followed = await self._imports.following.all()

        def work(session: Session) -> builtins.list[Absence]:
            from quarterdeck.registry import rows

            return absences.explain(rows.everything(session), self._views, followed)

        return [*await self._database.run(work), *map(absences.passed_over, self._passed_over)]

    def read_import(self, text: str, *, name: str, format: str | None = None) -> ImportPlan:
        """Read a list of models of another program; see `importers.preview`."""
        return self._imports.read(text, name=name, format=format)

    async def import_plan(self, plan: ImportPlan, names: Collection[str] | None, apply: bool) -> ImportPreview:
        """Take the entries in `names` (None: all) into the curated layer; without `apply` only say what would be."""
        return await self._imports.take(plan, names, apply=apply)

    async def followed(self) -> builtins.list[FollowedFile]:
        """The imported files that are read again when they change."""
        return await self._imports.following.views()

    async def follow(self, path: Path, format: str | None = None) -> None:
        """Follow an imported file from now on. Raises AppError when it cannot be read.

        Entries that the registry does not have now were not wanted, and are left out later too.
        """
        await self._imports.follow(path, format)

    async def unfollow(self, path: Path) -> None:
        """Follow a file no longer; its models stay."""
        await self._imports.following.drop(sources.absolute(str(path)))

    async def changed_files(self) -> builtins.list[Path]:
        """The followed files that changed since they were read; cheap."""
        return await self._imports.following.changed()

    async def reimport(self, path: Path) -> ImportPreview:
        """Read a followed file again; only entries that changed in it are taken.

        Models whose entries are gone are marked as deprecated until the entry comes back; a loaded one goes on. Raises
        AppError when the file cannot be read; then nothing changes, and it is not tried again before it changes.
        """
        return await self._imports.again(path)

    async def lock(self, name: str) -> ModelView:
        """Lock a model to its version; the next `verify` records which that is. Raises AppError `unknown_model`."""
        await self._locks.lock(name)
        return await self.get(name)

    async def unlock(self, name: str) -> ModelView:
        await self._locks.unlock(name)
        return await self.get(name)

    async def verify(self, name: str, progress: Progress | None = None) -> ModelView:
        """Compare a model's files with those that are expected; see `Locks.verify`."""
        await self._locks.verify(name, progress)
        return await self.get(name)

    async def check_lock(self, name: str) -> None:
        """Before a load: raise AppError `version_lock_violation` (409) when a locked model has changed."""
        await self._locks.check(name)

    async def seed_starter(self) -> ModelView | None:
        """Offer the starter model once, and follow it when the installation moved; the view if anything changed."""
        path = await asyncio.to_thread(starter_file)
        if path is None:
            return None
        if await self._database.run(starter.was_offered):
            return await self._database.run(lambda session: self._view(starter.follow(session, path)))
        try:
            facts = file_facts(await asyncio.to_thread(read_model, path))
        except AppError as error:
            _log.warning("the starter model is not offered: %s", error.sentence)
            return None
        return await self._database.run(lambda session: self._view(starter.offer(session, path, facts)))

    def _view(self, row: Model | None) -> ModelView | None:
        return None if row is None else self._views.of(row)

    def _backend(self, new: ModelCreate) -> tuple[str, str | None]:
        """The backend, empty where the file decides it, and the address of the server that has the model."""
        url = sources.server_address(new)
        backend = (new.backend or "").strip()
        if backend:
            sources.known_backend(backend, self._backends)
        if url is None and new.path is None and new.hf_path is None and backend:
            url = self._usual_url(backend)
        if url is None:
            return backend, None
        sources.check_server_backend(backend)
        return sources.known_backend(backend or sources.OPENAI_COMPATIBLE, self._backends), url

    async def _check_free(self, name: str, served_name: str) -> None:
        """Say that a name is taken before a large file is read."""

        def work(session: Session) -> None:
            from quarterdeck.registry import rows

            rows.check_free(session, rows.make(name, {"served_name": served_name}, {}))

        await self._database.run(work)

    async def _insert(self, name: str, curated: dict[str, Any], discovered: dict[str, Any]) -> ModelView:
        def work(session: Session) -> ModelView:
            from quarterdeck.registry import rows

            row = rows.make(name, curated, discovered)
            rows.check_free(session, row)
            session.add(row)
            session.flush()
            return self._views.of(row)

        return await self._database.run(work)


def _local(new: ModelCreate, wanted: str, known: Collection[str]) -> tuple[str, Path, dict[str, Any]]:
    """The engine for a model on disk, where it is and what its files say (blocking). Raises AppError."""
    path = sources.local_path(new)
    backend = sources.known_backend(sources.backend_for(path, wanted), known)
    return backend, path, file_facts(read_model(path)) if backend in sources.READS_FILES else read_facts(path)


def _paths(session: Session) -> builtins.list[str]:
    from sqlmodel import col, select

    from quarterdeck.storage.tables import Model

    return [path for path in session.exec(select(Model.path).where(col(Model.path).is_not(None))) if path]


def _known_files(session: Session) -> builtins.list[tuple[str, str, dict[str, Any]]]:
    """What earlier scans read: path, signature, facts."""
    from sqlmodel import col, select

    from quarterdeck.storage.tables import Model

    stored = session.exec(select(Model.discovered).where(col(Model.path).is_not(None)))
    return [
        (each["path"], each["signature"], {key: each[key] for key in FILE_FACTS if key in each})
        for each in stored
        if each.get("signature") and each.get("path")
    ]
