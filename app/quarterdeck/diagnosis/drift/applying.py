"""Carries plans out: back up, write, restart, look whether it works, and put everything back where it does not."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import tempfile
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from quarterdeck.diagnosis.drift.plans import Plan
from quarterdeck.errors import AppError

KEPT_BACKUPS = 10
TRIES = 30
PAUSE_S = 1.0

Restart = Callable[[str], Awaitable[object]]
"""Restarts a server by name; raises AppError when it does not start."""

Models = Callable[[str], Awaitable[Collection[str]]]
"""What a server offers now, by its name; raises AppError while it does not answer."""


@dataclass(frozen=True)
class Applied:
    """What was written. `backups` are the copies of what was there before, None for files that are new."""

    sentence: str
    backups: Mapping[Path, Path | None]
    servers: tuple[str, ...]


class Applier:
    """`backups` is the folder for copies; `pause` the seconds between two looks at a server, of which there are TRIES.

    One plan at a time.
    """

    def __init__(self, backups: Path, *, restart: Restart, models: Models, pause: float = PAUSE_S) -> None:
        self._backups = backups
        self._restart = restart
        self._models = models
        self._pause = pause
        self._turn = asyncio.Lock()

    async def apply(self, plan: Plan) -> Applied:
        """Raises AppError: `file_changed`, or `rolled_back` when the servers did not come back well."""
        async with self._turn:
            await asyncio.to_thread(_check_unchanged, plan)
            backups = await asyncio.to_thread(self._write, plan)
            try:
                await self._restarted(plan.servers, plan.expected)
            except asyncio.CancelledError:
                await asyncio.to_thread(_restore, backups)
                raise
            except AppError as error:
                await asyncio.to_thread(_restore, backups)
                again = await self._back(plan.servers)
                raise AppError(
                    "rolled_back",
                    f"It did not work and was put back: {error.sentence}",
                    f"{again} {error.hint}".strip(),
                    status=424,
                ) from error
        return Applied(_sentence(plan), backups, plan.servers)

    async def undo(self, backups: Mapping[Path, Path | None], servers: Collection[str]) -> None:
        """Put back what was there before, and restart. Raises AppError `backup_gone`, or what a restart does."""
        async with self._turn:
            await asyncio.to_thread(_restore, backups, keep_time=not servers)
            await self._restarted(servers, frozenset())

    async def _restarted(self, servers: Collection[str], expected: Collection[str]) -> None:
        for server in servers:
            await self._restart(server)
            await self._healthy(server, expected)

    async def _healthy(self, server: str, expected: Collection[str]) -> None:
        """Wait until the server offers all of `expected`, and at least one model."""
        missing: list[str] = []
        said = f"{server} does not answer."
        for attempt in range(TRIES):
            if attempt:
                await asyncio.sleep(self._pause)
            try:
                offered = await self._models(server)
            except AppError as error:
                said = error.sentence
                continue
            missing = sorted(set(expected) - set(offered))
            if offered and not missing:
                return
            said = f"{server} does not offer {', '.join(missing) or 'any model'}."
        raise AppError("not_healthy", said, "Look at its log.", status=424)

    async def _back(self, servers: Collection[str]) -> str:
        try:
            await self._restarted(servers, frozenset())
        except AppError as error:
            return f"With the earlier files it does not run either: {error.sentence}"
        return ""

    def _write(self, plan: Plan) -> dict[Path, Path | None]:
        """Copy what is there, then write all files; a write that fails puts the others back."""
        backups = {path: self._back_up(path) for path in plan.after}
        try:
            for path, text in plan.after.items():
                write(path, text, keep_time=not plan.servers)
        except OSError as error:
            _restore(backups)
            raise AppError(
                "cannot_write", f"{error.filename} cannot be written: {error.strerror}.", "Check who owns it.",
                status=409,
            ) from None  # fmt: skip
        return backups

    def _back_up(self, path: Path) -> Path | None:
        if not path.exists():
            return None
        self._backups.mkdir(parents=True, exist_ok=True, mode=0o700)
        stem = re.sub(r"[^\w.-]+", "_", str(path)).strip("_")
        copy = self._backups / f"{stem}.{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
        copy.write_bytes(path.read_bytes())
        copy.chmod(0o600)
        for old in sorted(self._backups.glob(f"{stem}.2*"))[:-KEPT_BACKUPS]:
            old.unlink(missing_ok=True)
        return copy


def write(path: Path, text: str, *, keep_time: bool = False) -> None:
    """Replace a file as a whole; a link stays one, and the permissions stay. Raises OSError.

    With `keep_time` it counts as old as it was: what changes means nothing to the server that has read it.
    """
    real = path.resolve()
    before = real.stat() if real.exists() else None
    handle, name = tempfile.mkstemp(dir=real.parent, prefix=f".{real.name}.")
    new = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        new.chmod(before.st_mode & 0o7777 if before else 0o644)
        if keep_time and before:
            os.utime(new, ns=(before.st_atime_ns, before.st_mtime_ns))
        new.replace(real)
    except BaseException:
        with contextlib.suppress(OSError):
            new.unlink()
        raise


def _check_unchanged(plan: Plan) -> None:
    for path, text in plan.before.items():
        try:
            now: str | None = path.read_text(encoding="utf-8-sig")
        except FileNotFoundError:
            now = None
        except (OSError, UnicodeDecodeError):
            now = ""
        if now != text:
            raise AppError("file_changed", f"{path} has changed in the meantime.", "Look at the change again.",
                           status=409)  # fmt: skip


def _restore(backups: Mapping[Path, Path | None], *, keep_time: bool = False) -> None:
    gone = [copy for copy in backups.values() if copy is not None and not copy.is_file()]
    if gone:
        raise AppError("backup_gone", f"The copy {gone[0]} is no longer there.", "", status=409)
    for path, copy in backups.items():
        if copy is None:
            path.unlink(missing_ok=True)
        else:
            write(path, copy.read_text(encoding="utf-8"), keep_time=keep_time)


def _sentence(plan: Plan) -> str:
    files = ", ".join(path.name for path in plan.after)
    parts = [
        f"{files} written." if files else "",
        f"{' and '.join(plan.servers)} runs with it." if plan.servers else "",
    ]
    return " ".join(part for part in parts if part)
