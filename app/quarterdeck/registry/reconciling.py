"""Brings the registry into line with what a look around found, in one transaction. Runs on the database's thread."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlmodel import Session

from quarterdeck.errors import AppError
from quarterdeck.registry import rows
from quarterdeck.registry.addresses import base_url, target_of
from quarterdeck.registry.names import clean_name, unique
from quarterdeck.schemas.backends import BackendKind
from quarterdeck.schemas.discovery import FoundModel, PassedOver, ScanResult
from quarterdeck.schemas.models import Status
from quarterdeck.storage.tables import Model


class Disk:
    """What the disk says about paths (blocking): which are there, and which are one file under two names."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._folders: dict[str, str] = {}
        self._real: dict[str, str] = {}
        self._gone: set[str] = set()
        for path in paths:
            if path not in self._real:
                self._look(path)

    def real(self, path: str) -> str:
        return self._real.get(path, path)

    def is_gone(self, path: str) -> bool:
        """True only when it is certain: a folder that may not be read hides its files, but they are there."""
        return path in self._gone

    def _look(self, path: str) -> None:
        folder, name = os.path.split(path)
        if folder not in self._folders:
            self._folders[folder] = os.path.realpath(folder)
        real = os.path.join(self._folders[folder], name)  # noqa: PTH118 (thousands of them)
        try:
            os.stat(path)  # noqa: PTH116
            if os.path.islink(real):  # noqa: PTH114
                real = os.path.realpath(real)
        except (FileNotFoundError, NotADirectoryError):
            self._gone.add(path)
        except (OSError, ValueError):
            pass
        self._real[path] = real


def reconcile(session: Session, found: Sequence[FoundModel], sources: Collection[str], disk: Disk) -> ScanResult:
    """Add, update and remove models. `sources` were looked at completely: words, base addresses and folders."""
    known = rows.everything(session)
    work = _Work(session, known, disk, _Sources(sources))
    for each in work.each_once(found):
        work.take(each)
    work.add_new(rows.reach(known))
    tried = rows.tried(session)
    for row in known:
        if row.name not in work.seen:
            work.miss(row, untouched=_is_untouched(row) and row.name not in tried)
    return work.result


class _Sources:
    """Which places were looked at completely."""

    def __init__(self, sources: Collection[str]) -> None:
        self._words = {source for source in sources if "/" not in source}
        self._servers = {base_url(source) for source in sources if "://" in source}
        self._folders = [Path(source) for source in sources if source.startswith("/")]

    def cover(self, row: Model) -> bool:
        if row.source in self._words or (row.url and base_url(row.url) in self._servers):
            return True
        return bool(row.path) and any(Path(row.path or "").is_relative_to(folder) for folder in self._folders)


class _Work:
    def __init__(self, session: Session, known: list[Model], disk: Disk, sources: _Sources) -> None:
        self.result = ScanResult()
        self.seen: set[str] = set()
        self._session = session
        self._disk = disk
        self._sources = sources
        self._new: list[FoundModel] = []
        self._by: dict[tuple[str, ...], list[Model]] = {}
        for row in known:
            for key in self._keys(row.path, row.url, row.served_name, row.discovered):
                self._by.setdefault(key, []).append(row)

    def each_once(self, found: Iterable[FoundModel]) -> Iterable[FoundModel]:
        """The same file or the same id of a server counts once, whichever way it was found."""
        met: set[tuple[str, ...]] = set()
        for each in found:
            key = next(iter(self._keys(each.path, each.url, each.name, {})), None)
            if key is not None and key not in met:
                met.add(key)
                yield each

    def take(self, each: FoundModel) -> None:
        matched = self._match(each)
        facts = _facts(each)
        for row in matched:
            self.seen.add(row.name)
            changed = False if row.discovered == facts else rows.restate(row, discovered=facts)
            if not row.installed:
                row.installed, changed = True, True
            if changed:
                self.result.changed.append(row.name)
        if not matched:
            self._new.append(each)

    def add_new(self, taken: dict[str, str]) -> None:
        for each in self._new:
            try:
                name = unique(clean_name(each.name), each.backend.value, taken)
            except AppError as error:
                where = each.path or f"{each.name} at {each.url}"
                self.result.passed_over.append(PassedOver(where=where, reason=error.sentence, hint=error.hint))
                continue
            row = rows.make(name, {}, _facts(each))
            self._session.add(row)
            taken |= dict.fromkeys(rows.strong_names(row), name)
            self.result.added.append(name)

    def miss(self, row: Model, *, untouched: bool) -> None:
        """A known model that was not found."""
        covered = self._sources.cover(row)
        gone = self._disk.is_gone(row.path) if row.path else covered
        offered_elsewhere = not row.path and bool(row.curated) and row.backend != BackendKind.OLLAMA
        if covered and untouched and not row.curated:
            self._session.delete(row)
            self.result.gone.append(row.name)
        elif gone and row.installed and not offered_elsewhere:
            row.installed = False
            self.result.gone.append(row.name)
        elif row.path and not gone and not row.installed:
            row.installed = True
            self.result.changed.append(row.name)

    def _match(self, each: FoundModel) -> list[Model]:
        facts = {"hf_path": each.hf_path, "digest": each.digest}
        certain, *likely = self._keys(each.path, each.url, each.name, facts)
        if rows_there := self._by.get(certain):
            return rows_there
        moved = (row for key in likely for row in self._by.get(key, []) if self._may_follow(row, key))
        return [row for row in moved if row.name not in self.seen][:1]

    def _may_follow(self, row: Model, key: tuple[str, ...]) -> bool:
        """Whether a model may be given another path: never one that a person named."""
        if not row.path or row.curated.get("path"):
            return False
        return key[0] == "hf" or self._disk.is_gone(row.path)

    def _keys(
        self, path: str | None, url: str | None, served_name: str, facts: Mapping[str, Any]
    ) -> list[tuple[str, ...]]:
        """What a model is recognised by, the certain mark first."""
        target = target_of(url, served_name)
        keys: list[tuple[str, ...]] = []
        if path:
            keys.append(("path", self._disk.real(path)))
        elif target:
            keys.append(("url", *target))
        if path and facts.get("hf_path"):
            keys.append(("hf", str(facts["hf_path"])))
        if path and facts.get("digest"):
            keys.append(("digest", str(facts["digest"])))
        return keys


def _facts(found: FoundModel) -> dict[str, Any]:
    """What the discovered layer says; `id` is the name under which the source knows the model."""
    facts = found.model_dump(mode="json", exclude={"name"}, exclude_none=True)
    if not facts["capabilities"]:
        del facts["capabilities"]
    if found.url:
        facts["served_name"] = found.name
    return {**facts, "id": found.name}


def _is_untouched(row: Model) -> bool:
    """Whether nobody has done anything with the model that would be lost with it."""
    return row.total_loads == 0 and row.status is Status.UNKNOWN and not row.notes and not row.locked
