"""The fixes of drift: previews, and changes with what is needed to take them back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import JsonValue

from quarterdeck.diagnosis.drift import git
from quarterdeck.diagnosis.drift.applying import Applier, write
from quarterdeck.diagnosis.drift.files import ConfigFile
from quarterdeck.diagnosis.drift.plans import Plan, Way, plan
from quarterdeck.errors import AppError
from quarterdeck.schemas.problems import Change, Fix, FixKind, FixPreview

KINDS = (FixKind.CONFIG_FILE, FixKind.GIT)

Files = Callable[[], Awaitable[Sequence[ConfigFile]]]
Undo = dict[str, JsonValue]


class Done(NamedTuple):
    """What was done; `undo` goes to `ConfigFixes.undo`, None where there is nothing to take back."""

    sentence: str
    changes: list[Change]
    undo: Undo | None


class ConfigFixes:
    """Fixes of the kinds CONFIG_FILE and GIT. `files` looks at the configuration files as they are now."""

    def __init__(self, files: Files, applier: Applier) -> None:
        self._files = files
        self._applier = applier

    async def preview(self, fix: Fix) -> FixPreview:
        """What the fix would do. Raises AppError."""
        if fix.kind is FixKind.GIT:
            return await self._preview_git(fix)
        made = await self._plan(fix)
        changes = made.changes() or [Change(what=name, before="runs", after="restarted") for name in made.servers]
        return FixPreview(title=made.title, changes=changes, consequence=made.consequence, undoable=bool(made.after))

    async def apply(self, fix: Fix) -> Done:
        """Do it. Raises AppError; `rolled_back` says that everything is as it was."""
        if fix.kind is FixKind.GIT:
            return await self._apply_git(fix)
        made = await self._plan(fix)
        applied = await self._applier.apply(made)
        undo: Undo | None = None
        if applied.backups:
            undo = {
                "backups": {str(path): None if copy is None else str(copy) for path, copy in applied.backups.items()},
                "servers": list(applied.servers),
            }
        return Done(applied.sentence, made.changes(), undo)

    async def undo(self, undo: Undo) -> str:
        """Take a change back; answers a sentence. Raises AppError."""
        match undo:
            case {"backups": dict(backups), "servers": list(servers)}:
                copies = {Path(path): None if copy is None else Path(str(copy)) for path, copy in backups.items()}
                await self._applier.undo(copies, [str(name) for name in servers])
                return "The files are as they were."
            case {"stash": str(id), "root": str(root)}:
                await git.unstash(Path(root), id)
                return "The change is back."
            case {"path": str(path), "text": str(text)}:
                await asyncio.to_thread(write, Path(path), text)
                return "The change is back."
        raise AppError("not_undoable", "This cannot be taken back.", "", status=409)

    async def _plan(self, fix: Fix) -> Plan:
        files = await self._files()
        used = _at(files, fix.target)
        named = fix.patch.get("file")
        try:
            way = Way(str(fix.patch.get("action")))
        except ValueError:
            raise AppError("unknown_fix", "There is no such change of a file.", "") from None
        return plan(way, used, _at(files, named) if isinstance(named, str) else None)

    async def _preview_git(self, fix: Fix) -> FixPreview:
        path = Path(fix.target)
        patch = await git.difference(path)
        added, taken = _lines(patch, "+"), _lines(patch, "-")
        action = fix.patch.get("action")
        change = Change(what=str(path), before=taken, after=added)
        if action == "commit":
            words = "The file stays as it is; git keeps a copy of it. Other files are not touched."
        else:
            change = Change(what=str(path), before=added, after=taken)
            words = "A gateway that uses the file goes on with what it has read until it is restarted."
        return FixPreview(title=fix.title, changes=[change], consequence=words, undoable=action != "commit")

    async def _apply_git(self, fix: Fix) -> Done:
        path = Path(fix.target)
        preview = await self._preview_git(fix)
        match fix.patch.get("action"):
            case "commit":
                return Done(f"{path.name} is committed as {await git.commit([path])}.", preview.changes, None)
            case "revert":
                file = _at(await self._files(), fix.target)
                await git.revert([path])
                undo: Undo = {"path": str(path), "text": file.text}
                return Done(f"{path.name} is as it was committed last.", preview.changes, undo)
            case "stash":
                root = (await git.state_of(path)).root
                id = await git.stash([path])
                return Done(
                    f"The change of {path.name} is set aside.", preview.changes, {"stash": id, "root": str(root)}
                )
        raise AppError("unknown_fix", "There is no such change of a file.", "")


def _at(files: Sequence[ConfigFile], path: str) -> ConfigFile:
    found = next((file for file in files if str(file.path) == path), None)
    if found is None:
        raise AppError("unknown_file", f"{path} is no known configuration file.", "Import it and follow it.",
                       status=404)  # fmt: skip
    return found


def _lines(patch: str, mark: str) -> str:
    found = [line[1:] for line in patch.splitlines() if line.startswith(mark) and not line.startswith(mark * 3)]
    return "\n".join(found)
