"""Takes a plan of an import into the registry, or says what it would do. Runs on the database's thread."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from sqlmodel import Session

from quarterdeck.errors import AppError
from quarterdeck.registry import layers, rows
from quarterdeck.registry.addresses import target_of
from quarterdeck.registry.importers.plan import ImportPlan, PlannedModel
from quarterdeck.registry.names import clean_name, fold
from quarterdeck.schemas.backends import BackendKind
from quarterdeck.schemas.discovery import ImportAction, ImportEntry, ImportPreview
from quarterdeck.schemas.jsontext import config_hash
from quarterdeck.storage.tables import Model

IMPORT = "import"


class Importing:
    """One import. `looked_up` holds what the files of the entries say, by path; a path without facts is not there."""

    def __init__(self, session: Session, backends: Collection[str], looked_up: Mapping[str, dict[str, Any]]) -> None:
        self._session = session
        self._backends = backends
        self._looked_up = looked_up
        known = rows.everything(session)
        self._models = {row.name: row for row in known}
        self._reach = rows.reach(known)
        self._targets: dict[tuple[str, ...], list[str]] = {}
        for row in known:
            self._register(row)
        self._mine: dict[tuple[str, ...], str] = {}

    def run(self, plan: ImportPlan, names: Collection[str] | None) -> ImportPreview:
        """Change the rows of the session, and say what was changed."""
        preview = ImportPreview(
            format=plan.format, title=plan.title, servers=list(plan.servers), warnings=list(plan.warnings)
        )
        met: set[str] = set()
        for planned in plan.models:
            if names is None or planned.name in names:
                preview.entries.append(self._entry(planned, met))
        return preview

    def _entry(self, planned: PlannedModel, met: set[str]) -> ImportEntry:
        backend = planned.values.get("backend")
        entry = ImportEntry(
            name=planned.name,
            action=ImportAction.SKIP,
            backend=BackendKind(backend) if backend in set(BackendKind) else None,
            where=planned.where,
            dropped=list(planned.dropped),
        )
        try:
            name = clean_name(planned.name)
            entry.reason = planned.problem or self._refusal(planned, name, met)
        except AppError as error:
            entry.reason = error.sentence
        if entry.reason is None:
            met.add(fold(name))
            twin = self._mine.get(self._identity(planned))
            if twin is None:
                self._take(planned, name, entry)
            else:
                # Still the name of a model, so that clients that use it go on working.
                self._alias(self._models[twin], name, None)
                entry.reason = f"It has the same source and settings as “{twin}” and becomes another name for it."
        return entry

    def _refusal(self, planned: PlannedModel, name: str, met: set[str]) -> str | None:
        """Why an entry cannot be taken."""
        if planned.values.get("backend") not in self._backends:
            return f"There is no backend named “{planned.values.get('backend')}”."
        if fold(name) in met:
            return f"“{name}” is in the file twice; only the first is taken."
        if not planned.where:
            return "It says neither where its files are nor which server has it."
        return None

    def _take(self, planned: PlannedModel, name: str, entry: ImportEntry) -> None:
        row = self._known(planned, name)
        owner = self._reach.get(fold(name))
        if row is None and owner is not None:
            entry.reason = f"Clients already reach the model “{owner}” under the name “{name}”."
            return
        if row is None:
            row = self._add(planned, name, entry)
        else:
            self._change(planned, name, row, entry)
        for alias in planned.values.get("aliases", []):
            self._alias(row, alias, entry)
        if row.locked is False and planned.locked:
            row.locked = True
            entry.changes["locked"] = (False, True)
        if entry.action is ImportAction.SAME and entry.changes:
            entry.action = ImportAction.CHANGE
        self._mine.setdefault(self._identity(planned), row.name)

    def _add(self, planned: PlannedModel, name: str, entry: ImportEntry) -> Model:
        path = planned.values.get("path")
        curated = {key: value for key, value in planned.values.items() if key != "aliases"}
        discovered = {"source": IMPORT, **planned.facts, **self._looked_up.get(path or "", {})}
        row = rows.make(name, curated, discovered, installed=not path or path in self._looked_up)
        if path and not row.installed:
            entry.reason = f"“{path}” is not there, so that the model cannot be loaded yet."
        self._session.add(row)
        self._models[name] = row
        self._reach |= dict.fromkeys(rows.strong_names(row), name)
        self._register(row)
        entry.action = ImportAction.ADD
        return row

    def _change(self, planned: PlannedModel, name: str, row: Model, entry: ImportEntry) -> None:
        entry.action = ImportAction.SAME
        if fold(name) != fold(row.name):
            if fold(name) not in map(fold, row.aliases):
                entry.reason = f"The registry knows it as “{row.name}”; “{name}” becomes another name for it."
            self._alias(row, name, entry)
        before = layers.effective(row.name, row.discovered, row.curated)
        said = {key: value for key, value in planned.values.items() if key != "aliases"}
        if "roles" in said:
            said["roles"] = list(dict.fromkeys([*row.roles, *said["roles"]]))
        # What is the same already needs no word of a person's, so that later scans may still change it.
        new = {key: value for key, value in said.items() if value is not None and before.get(key) != value}
        facts = {key: value for key, value in planned.facts.items() if row.discovered.get(key) is None}
        rows.restate(row, curated={**row.curated, **new}, discovered={**row.discovered, **facts})
        after = layers.effective(row.name, row.discovered, row.curated)
        entry.changes |= layers.changed(before, after)

    def _alias(self, row: Model, alias: str, entry: ImportEntry | None) -> None:
        """Give the model another name, unless it is taken."""
        owner = self._reach.get(fold(alias))
        if owner == row.name:
            return
        if owner is not None:
            if entry is not None:
                entry.dropped.append(f"the name “{alias}”, under which clients reach “{owner}”")
            return
        before = list(row.aliases)
        rows.restate(row, curated={**row.curated, "aliases": [*row.aliases, alias]})
        self._reach[fold(alias)] = row.name
        if entry is not None and entry.action is not ImportAction.ADD:
            first = entry.changes.get("aliases", (before, None))[0]
            entry.changes["aliases"] = (first, list(row.aliases))

    def _known(self, planned: PlannedModel, name: str) -> Model | None:
        """The model that an entry speaks of: by its name, or by its source when nobody curated that one otherwise."""
        owner = self._reach.get(fold(name))
        if owner is not None and fold(owner) == fold(name):
            return self._models[owner]
        same = [self._models[each] for each in self._targets.get(self._target(planned), [])]
        if owner is not None:
            return next((row for row in same if row.name == owner), None)
        config = planned.values.get("load_config") or {}
        return next((row for row in same if not row.curated or row.load_config == config), None)

    def _register(self, row: Model) -> None:
        self._targets.setdefault(_target_of(row.path, row.url, row.served_name), []).append(row.name)

    def _target(self, planned: PlannedModel) -> tuple[str, ...]:
        values = planned.values
        return _target_of(values.get("path"), values.get("url"), values.get("served_name") or planned.name)

    def _identity(self, planned: PlannedModel) -> tuple[str, ...]:
        return (*self._target(planned), config_hash(planned.values.get("load_config") or {}))


def _target_of(path: str | None, url: str | None, served_name: str | None) -> tuple[str, ...]:
    return ("path", path) if path else ("url", *(target_of(url, served_name) or ("", "")))
