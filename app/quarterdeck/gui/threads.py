"""Blocking work beside the Qt loop: a plain thread whose result is awaited. No QThread, no executor to shut down."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def in_thread(name: str, work: Callable[[], T]) -> T:
    """Run `work` in a thread of its own and give its result or raise its error here.

    Cancelling the caller does not stop the thread; a result that nobody awaits any more is dropped.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, error = None, None
        try:
            result = work()
        except BaseException as raised:  # noqa: BLE001 - raised again where it is awaited
            error = raised
        # The loop may be gone when a thread outlives the window that was forced to close.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, result, error)

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    try:
        return await future
    finally:
        if future.done() and not future.cancelled():
            # The thread is on its way out of Qt. If the interpreter ended now, Python would unwind it through C++
            # frames, and the process would abort ("terminate called without an active exception").
            thread.join()
