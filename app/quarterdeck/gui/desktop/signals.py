"""SIGINT and SIGTERM as calls on the Qt thread."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable


def on_termination(loop: asyncio.AbstractEventLoop, wanted: Callable[[], None]) -> None:
    """Call `wanted` for each SIGINT or SIGTERM from now on."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if sys.platform == "win32":
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(wanted))
        else:
            # The loop's wake-up pipe gets through to Python even while Qt waits for events.
            loop.add_signal_handler(number, wanted)
