"""SIGINT and SIGTERM as calls on the Qt thread."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

NUMBERS = (signal.SIGINT, signal.SIGTERM)


class Termination:
    """Notes a request to end from its construction on, and calls for it once there is a loop to end in order."""

    def __init__(self) -> None:
        self.requested = False
        for number in NUMBERS:
            signal.signal(number, self._note)

    def hand_over(self, loop: asyncio.AbstractEventLoop, wanted: Callable[[], None]) -> None:
        """Call `wanted` for each request from now on, and at once for one that came before."""
        for number in NUMBERS:
            if sys.platform == "win32":
                signal.signal(number, lambda *_: loop.call_soon_threadsafe(wanted))
            else:
                # The loop's wake-up pipe gets through to Python even while Qt waits for events.
                loop.add_signal_handler(number, wanted)
        if self.requested:
            wanted()

    def _note(self, *_: object) -> None:
        self.requested = True
