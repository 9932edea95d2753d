"""Reads followed import files again when they change; a model that is loaded goes on as it was loaded."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from pathlib import Path

from quarterdeck.errors import AppError
from quarterdeck.registry.sources import absolute
from quarterdeck.scheduling.catalog import Catalog
from quarterdeck.scheduling.issues import Issues
from quarterdeck.schemas.discovery import FollowedFile
from quarterdeck.schemas.system import IssueView
from quarterdeck.tasks import spawn

LOOK_SECONDS = 3.0

_log = logging.getLogger(__name__)


class Follower:
    """The followed files. Core loop only; `open` before use, `close` at the end.

    It looks every LOOK_SECONDS while there is a file to follow. `on_change` is called when models may have changed.
    """

    def __init__(self, catalog: Catalog, issues: Issues, *, on_change: Callable[[], None] = lambda: None) -> None:
        self._catalog = catalog
        self._registry = catalog.registry
        self._issues = issues
        self._on_change = on_change
        # A file that is being read must not come back after it was dropped.
        self._turn = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Begin to look, and say again what could not be read the last time."""
        files = await self._registry.followed()
        for each in files:
            if each.error is not None:
                self._complain(Path(each.path), each.error)
        self._look_on(files)

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def files(self) -> list[FollowedFile]:
        return await self._registry.followed()

    async def follow(self, path: Path, format: str | None) -> None:
        """Follow an imported file from now on. Raises AppError when it cannot be read."""
        path = absolute(str(path))
        async with self._turn:
            await self._registry.follow(path, format)
        self._issues.clear(_code(path))
        self._look_on([path])

    async def unfollow(self, path: Path) -> None:
        """Follow a file no longer; its models stay. Raises AppError `not_followed` (404)."""
        path = absolute(str(path))
        async with self._turn:
            known = [each.path for each in await self._registry.followed()]
            if str(path) not in known:
                raise AppError(
                    "not_followed",
                    f"“{path}” is not followed.",
                    f"Followed: {', '.join(known)}." if known else "No file is followed.",
                    status=404,
                )
            await self._registry.unfollow(path)
        self._issues.clear(_code(path))
        if known == [str(path)] and self._task is not None:
            self._task.cancel()
            self._task = None

    async def look(self) -> None:
        """Read the files that changed, and take what changed in them."""
        async with self._turn:
            changed = await self._registry.changed_files()
            for path in changed:
                await self._read(path)
            if changed:
                await self._catalog.reload()
        if changed:
            self._on_change()

    async def _read(self, path: Path) -> None:
        try:
            await self._registry.reimport(path)
        except AppError as error:
            self._complain(path, error.sentence)
        else:
            self._issues.clear(_code(path))
            _log.info("%s has changed and was read again", path)

    def _look_on(self, files: Collection[object]) -> None:
        if files and (self._task is None or self._task.done()):
            self._task = spawn(self._watch(), name="follow imported files")

    async def _watch(self) -> None:
        while True:
            try:
                await self.look()
            except AppError as error:
                _log.warning("the followed files could not be looked at: %s", error.sentence)
            await asyncio.sleep(LOOK_SECONDS)

    def _complain(self, path: Path, reason: str) -> None:
        self._issues.raise_issue(
            IssueView(
                code=_code(path),
                sentence=f"The followed file “{path}” cannot be used. {reason}",
                hint="Correct the file, or follow it no longer. Its models stay as they were.",
            )
        )


def _code(path: Path) -> str:
    return f"followed_file:{path}"
