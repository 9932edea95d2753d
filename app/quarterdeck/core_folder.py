"""The data folder of a running core: one core per folder, its token, and the file that says where the core is."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Iterator
from typing import Any

import filelock
import psutil

from quarterdeck.control.security import local_token
from quarterdeck.errors import AppError
from quarterdeck.settings import Folders
from quarterdeck.storage.failures import from_os

LOCK_PATIENCE = 3.0
# A full disk still makes empty files, so the probe has a size.
PROBE_BYTES = 4096


def prepare(folders: Folders) -> str:
    """Make the data folder, see that it can be written, and return its token. Raises AppError when it cannot."""
    probe = folders.data / ".writable"
    with _writing(folders):
        folders.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            probe.write_bytes(bytes(PROBE_BYTES))
        finally:
            probe.unlink(missing_ok=True)
        return local_token(folders.token_file)


@contextlib.contextmanager
def _writing(folders: Folders) -> Iterator[None]:
    """Turn what keeps us from writing in the data folder into an AppError."""
    try:
        yield
    except OSError as error:
        raise from_os(error, folders.data) from None


async def take(folders: Folders, stack: contextlib.AsyncExitStack) -> None:
    """One core per data folder, held by a lock that the system releases however we end. AppError `core_running`.

    A command that works without a running core holds it for a moment, so that we wait that long.
    """
    lock = filelock.FileLock(folders.data / "core.lock", timeout=LOCK_PATIENCE, thread_local=False)
    try:
        await asyncio.to_thread(lock.acquire)
    except filelock.Timeout:
        raise AppError(
            "core_running",
            f"Another Quarterdeck already works with the data folder {folders.data}.",
            "Use that one, or choose another folder with --data-dir.",
            status=409,
        ) from None
    stack.callback(lock.release)


def tell_where(folders: Folders, *, control_url: str, public_url: str | None) -> None:
    """Write the file by which commands and windows find this core."""
    path = folders.lock_file
    content: dict[str, Any] = {
        "pid": os.getpid(),
        "create_time": psutil.Process().create_time(),
        "control_url": control_url,
        "public_url": public_url,
    }
    temporary = path.with_suffix(".new")
    with _writing(folders):
        temporary.write_text(json.dumps(content), encoding="utf-8")
        temporary.replace(path)
