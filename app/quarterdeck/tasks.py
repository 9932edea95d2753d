"""Starting asyncio tasks so that none is garbage-collected early and no error is lost."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

from quarterdeck.errors import AppError

T = TypeVar("T")

_running: set[asyncio.Task[Any]] = set()
_log = logging.getLogger(__name__)


def spawn(coroutine: Coroutine[Any, Any, T], *, name: str, awaited: bool = False) -> asyncio.Task[T]:
    """Run `coroutine` as a named task on the running loop; an error is logged once.

    The errors of an `awaited` task are left to whoever awaits it, and so is every AppError: it is an answer.
    """
    task = asyncio.get_running_loop().create_task(coroutine, name=name)
    _running.add(task)
    task.add_done_callback(_forget if awaited else _finished)
    return task


def _forget(task: asyncio.Task[Any]) -> None:
    _running.discard(task)


def _finished(task: asyncio.Task[Any]) -> None:
    _forget(task)
    if task.cancelled():
        return
    error = task.exception()
    if error is not None and not isinstance(error, AppError):
        _log.error("task %s failed", task.get_name(), exc_info=error)
