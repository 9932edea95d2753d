"""Following a file that another process writes: its output, when it may outlive us."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from pathlib import Path

LOOK_SECONDS = 0.3
FILE_LIMIT = 5_000_000
"""Bytes after which the file is emptied; the writer appends, so it goes on at the start."""


async def follow(file: Path, ended: asyncio.Event, take: Callable[[bytes], None], *, position: int = 0) -> None:
    """Hand every new part of `file` to `take`, until `ended` is set and the rest is read."""
    last_look = False
    while not last_look:
        last_look = ended.is_set()
        part, position = await asyncio.to_thread(_read_on, file, position)
        if part:
            take(part)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), LOOK_SECONDS)


def size_of(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0


def _read_on(file: Path, position: int) -> tuple[bytes, int]:
    try:
        with file.open("rb") as opened:
            opened.seek(position)
            part = opened.read()
        position += len(part)
        if position > FILE_LIMIT:
            os.truncate(file, 0)
            position = 0
    except OSError:
        return b"", position
    return part, position
