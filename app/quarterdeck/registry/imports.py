"""Imports lists of models of other programs, and follows their files."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quarterdeck.errors import AppError
from quarterdeck.registry.caches import cached_model
from quarterdeck.registry.facts import read_facts
from quarterdeck.registry.following import Followed, Following, stamp_of
from quarterdeck.registry.importers import ImportPlan, PlannedModel, preview
from quarterdeck.registry.importers.arguments import Engines
from quarterdeck.registry.importers.texts import LONGEST_TEXT
from quarterdeck.registry.sources import absolute
from quarterdeck.schemas.discovery import ImportAction, ImportPreview
from quarterdeck.storage.database import Database

if TYPE_CHECKING:
    from sqlmodel import Session


class Imports:
    """See `Registry` for the arguments."""

    def __init__(
        self,
        database: Database,
        backends: Collection[str],
        usual_url: Callable[[str], str | None],
        engines: Callable[[], Engines],
    ) -> None:
        self._database = database
        self._backends = backends
        self._usual_url = usual_url
        self._engines = engines
        self.following = Following(database)

    def read(self, text: str, *, name: str, format: str | None = None) -> ImportPlan:
        """See `importers.preview`."""
        return preview(text, name=name, format=format, engines=self._engines())

    async def take(self, plan: ImportPlan, names: Collection[str] | None, *, apply: bool) -> ImportPreview:
        """Take the entries in `names` (None: all) into the curated layer; else only say what would happen."""
        wanted = [each for each in plan.models if names is None or each.name in names]
        for each in wanted:
            self._complete(each)
        looked_up = await asyncio.to_thread(_look_up, wanted, read=apply)

        def work(session: Session) -> ImportPreview:
            from quarterdeck.registry.importing import Importing

            done = Importing(session, self._backends, looked_up).run(plan, names)
            if not apply:
                session.expunge_all()
            return done

        return await self._database.run(work)

    async def follow(self, path: Path, format: str | None) -> None:
        """Follow a file. Entries that the registry does not have now were not wanted, and are left out later too."""
        path = absolute(str(path))
        stamp = await asyncio.to_thread(stamp_of, path)
        plan = await asyncio.to_thread(self._read_file, path, format)
        fingerprints = {each.name: each.fingerprint for each in plan.models}
        now = await self.take(plan, None, apply=False)
        unwanted = [entry.name for entry in now.entries if entry.action is ImportAction.ADD]
        followed = Followed(stamp, plan.format, plan.title, fingerprints, unwanted)
        await self.following.put(path, followed)

    async def again(self, path: Path) -> ImportPreview:
        """Read a followed file again, and take what changed in it."""
        path = absolute(str(path))
        followed = (await self.following.all()).get(str(path))
        if followed is None:
            raise AppError("not_followed", f"“{path}” is not followed.", "Import it first.", status=404)
        followed.stamp = await asyncio.to_thread(stamp_of, path)
        try:
            plan = await asyncio.to_thread(self._read_file, path, followed.format)
        except AppError as error:
            followed.error = error.sentence
            await self.following.put(path, followed)
            raise
        news, lost = followed.news(plan), followed.lost(plan)
        back = [name for name in followed.gone if any(each.name == name for each in plan.models)]
        followed.take(plan)
        done = await self.take(plan, news, apply=True)
        await self._database.run(lambda session: _mark(session, lost, back))
        await self.following.put(path, followed)
        return done

    def _complete(self, planned: PlannedModel) -> None:
        """Fill in where a model is when the file leaves it to custom (blocking, quick)."""
        values = planned.values
        if planned.where or "backend" not in values:
            return
        if hf_path := values.get("hf_path"):
            if cached := cached_model(hf_path):
                values["path"] = str(cached)
            else:
                planned.problem = planned.problem or f"“{hf_path}” is not in the Hugging Face cache. Download it first."
        elif url := self._usual_url(values["backend"]):
            values["url"] = url

    def _read_file(self, path: Path, format: str | None) -> ImportPlan:
        return self.read(read_text(path), name=str(path), format=format)


def read_text(path: Path) -> str:
    """The text of a file (blocking). Raises AppError `file_unreadable` or `import_too_large`."""
    try:
        if path.stat().st_size > LONGEST_TEXT:
            raise AppError("import_too_large", f"“{path.name}” is too large to be a list of models.", "Choose another.")
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise AppError(
            "file_unreadable", f"“{path}” cannot be read: {reason}.", "Check the path and its permissions."
        ) from None


def _look_up(planned: Sequence[PlannedModel], *, read: bool) -> dict[str, dict[str, Any]]:
    """The facts of the entries' files by path, empty unless they are to be read (blocking); missing ones are not in it.

    A file that is broken counts as there: what is wrong with it is said when it is loaded.
    """
    found: dict[str, dict[str, Any]] = {}
    for each in planned:
        path = each.values.get("path")
        if path is None or path in found or not Path(path).exists():
            continue
        found[path] = {}
        if read:
            try:
                found[path] = read_facts(Path(path))
            except AppError as error:
                each.dropped.append(f"the facts of its file ({error.sentence})")
    return found


def _mark(session: Session, lost: Iterable[str], back: Iterable[str]) -> None:
    """Deprecate what a file no longer has, and take the mark off what came back. Nothing is stopped or removed."""
    from quarterdeck.registry import rows
    from quarterdeck.registry.names import fold

    known = {row.name: row for row in rows.everything(session)}
    reach = rows.reach(known.values())
    for names, deprecated in ((lost, True), (back, False)):
        for name in names:
            row = known.get(reach.get(fold(name), ""))
            # A name that stands beside the model's own was given by the file alone; the model itself stays.
            if row is not None and fold(row.name) == fold(name):
                rows.restate(row, curated={**row.curated, "deprecated": deprecated})
