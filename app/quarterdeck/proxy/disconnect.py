"""Ends work for a client that has gone away."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from starlette.types import Receive

from quarterdeck.tasks import spawn


async def until_disconnect(receive: Receive, work: Coroutine[Any, Any, None]) -> bool:
    """Run `work`; cancel it as soon as the client leaves. True if it ran to its end. The body must be read before."""
    task = spawn(work, name="answer", awaited=True)
    watch = spawn(_gone(receive), name="watch client")
    try:
        await asyncio.wait({task, watch}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            await task
            return True
        return False
    finally:
        watch.cancel()
        task.cancel()
        await asyncio.wait({task, watch})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
