"""Running a core: on a thread of its own for the window and for commands, or as the whole program."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
from collections.abc import Callable
from typing import Any

from quarterdeck.compatibility.journal import Recovered
from quarterdeck.core import Core
from quarterdeck.settings import Loaded

JOIN_SECONDS = 15.0


class CoreThread:
    """A core on its own thread with its own loop, for the window and for commands that need one."""

    def __init__(
        self, loaded: Loaded, *, public: bool, on_recovered: Callable[[list[Recovered]], None] | None = None
    ) -> None:
        self.core = Core(loaded)
        self._public = public
        self._on_recovered = on_recovered
        self._ready = threading.Event()
        self._error: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, name="core")

    @property
    def control_url(self) -> str:
        return self.core.control_url

    @property
    def token(self) -> str:
        return self.core.token

    def start(self) -> CoreThread:
        """Start and wait until it answers. Raises what kept it from starting."""
        self._thread.start()
        self._ready.wait()
        if self._error is not None:
            self._thread.join()
            raise self._error
        if self._on_recovered is not None and self.core.recovered:
            self._on_recovered(self.core.recovered)
        return self

    def stop(self) -> None:
        """Stop in order and join the thread. Raises RuntimeError if it does not end within JOIN_SECONDS.

        Raises also what went wrong while it stopped.
        """
        if self._loop is not None and self._stopping is not None and not self._loop.is_closed():
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(JOIN_SECONDS)
        if self._thread.is_alive():
            raise RuntimeError("the core thread did not end")
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            run(self._main())
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits in start()
            self._error = error
        finally:
            self._ready.set()

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        await self.core.start(public=self._public)
        try:
            _settle()
            self._ready.set()
            await self._stopping.wait()
        finally:
            await self.core.stop()


def run(main: Any) -> Any:
    """Run a coroutine on the fastest loop there is (uvloop where it exists)."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


async def serve(loaded: Loaded, announce: Callable[[Core], None]) -> None:
    """The core without a window: runs until SIGTERM or SIGINT. Raises AppError when it cannot start."""
    import signal

    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, stopping.set)
    core = Core(loaded)
    await core.start(public=True, strict_port=True)
    try:
        _settle()
        announce(core)
        await stopping.wait()
    finally:
        await core.stop()


def _settle() -> None:
    """What lives as long as the program is not looked through again for garbage: a fifth of the time of a request."""
    gc.collect()
    gc.freeze()
