"""A server program of ours: started at an address, stopped with us; one that a killed run left is taken over."""

from __future__ import annotations

import asyncio
import os
import shlex
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from quarterdeck.backends.base import EngineFailed, ExitReport
from quarterdeck.backends.following import follow, size_of
from quarterdeck.backends.logs import LineSplitter, LogBook
from quarterdeck.backends.process import EngineProcess, find_program, guarded, resident_memory, stop_leftover
from quarterdeck.processes import SAME_START, is_alive
from quarterdeck.tasks import spawn

POLL_SECONDS = 0.1
STARTING = "starting "
"""How the line of the log begins after which the output of a new server comes."""
ADOPT_SECONDS = 10.0
CLEARING_SECONDS = 10.0

Remember = Callable[[dict[str, Any] | None], Awaitable[None]]
"""Awaited with what `adopt` needs after a restart, and with None when there is nothing to adopt any more."""

Ready = Callable[[], Awaitable[bool]]


async def forget(_trace: dict[str, Any] | None) -> None:
    """For who keeps nothing between runs."""


@dataclass(frozen=True, slots=True)
class Start:
    """How to start a server: its arguments, the address where it will answer and how to tell that it does.

    `install` says how to get its program, should it be missing. A guard ends a `guarded` one when Quarterdeck is gone.
    """

    argv: Sequence[str]
    url: str
    ready: Ready
    install: str
    env: Mapping[str, str] | None = None
    guarded: bool = False


@dataclass(frozen=True, slots=True)
class _Trace:
    """How to find a server of ours again: pid, create time (seconds since the epoch), address, command line."""

    pid: int
    create_time: float
    url: str
    command: str


class OwnServer:
    """At most one running server. Core loop only."""

    def __init__(
        self,
        log: LogBook,
        file: Path | None = None,
        *,
        patience: Callable[[], float],
        remember: Remember = forget,
        on_end: Callable[[ExitReport], None] | None = None,
    ) -> None:
        """With `file` its output goes there first, so that it can outlive us. `on_end` hears how it ended."""
        self.log = log
        self.last_error: str | None = None
        self.starting = False
        self._file = file
        self._patience = patience
        self._remember = remember
        self._on_end = on_end
        self._trace: _Trace | None = None
        self._process: EngineProcess | None = None
        self._ended = asyncio.Event()
        self._since = 0.0

    @property
    def running(self) -> bool:
        if self._process is not None:
            return not self._process.exited.done()
        return self._trace is not None and is_alive(self._trace.pid, self._trace.create_time)

    @property
    def url(self) -> str | None:
        """Where it runs; None when it does not."""
        return self._trace.url if self._trace is not None and self.running else None

    @property
    def last_url(self) -> str | None:
        """Where it runs, or ran until it ended by itself."""
        return self._trace.url if self._trace is not None else None

    @property
    def pid(self) -> int | None:
        return self._trace.pid if self._trace is not None and self.running else None

    @property
    def command(self) -> str | None:
        return self._trace.command if self._trace is not None and self.running else None

    @property
    def uptime(self) -> float | None:
        """Seconds since it was started or taken over."""
        return time.monotonic() - self._since if self.running else None

    @property
    def memory_bytes(self) -> int | None:
        return resident_memory(self.pid) if self.pid is not None else None

    @property
    def output(self) -> list[str]:
        """The newest lines it has printed."""
        return self._process.output if self._process is not None else []

    def owns(self, url: str) -> bool:
        """Whether the server at `url` is ours, or was until it ended by itself."""
        return self.last_url == url

    async def exit_report(self, within: float) -> ExitReport | None:
        """How it ended; None while it runs, and where only its first run could tell.

        Waits up to `within` seconds for an end that is under way; one whose process is gone has ended for certain, and
        only what it started has to be cleared away.
        """
        if self._process is None:
            return None
        done, _ = await asyncio.wait([self._process.exited], timeout=within)
        if not done and not is_alive(self._process.pid, self._process.create_time):
            done, _ = await asyncio.wait([self._process.exited], timeout=CLEARING_SECONDS)
        return self._process.exited.result() if done else None

    async def wait_end(self, at_most: float) -> None:
        """Return when it ends, after `at_most` seconds at the latest."""
        if self._process is not None and not self._process.exited.done():
            await asyncio.wait([self._process.exited], timeout=at_most)
        else:
            await asyncio.sleep(at_most)

    async def start(self, start: Start, *, timeout: float) -> None:
        """Start and wait until it answers. Raises AppError `engine_missing`, or EngineFailed; cancelling stops it."""
        find_program(start.argv[0], start.install)
        self.log.add([f"{STARTING}{shlex.join(start.argv)}"], "info")
        self.last_error, self.starting = None, True
        try:
            process = await EngineProcess.start(
                guarded(start.argv) if start.guarded else start.argv,
                env=start.env or os.environ,
                log=self.log,
                file=self._file,
            )  # fmt: skip
            self._keep(_Trace(process.pid, process.create_time, start.url, shlex.join(start.argv)), process)
            await self._remember(asdict(self._trace) if self._trace else None)
            await self._until_ready(process, start, timeout)
        except BaseException:
            await self.stop()
            raise
        finally:
            self.starting = False

    async def adopt(self, trace: Mapping[str, Any], ready: Ready) -> bool:
        """Take over the server that an earlier run remembered. One that does not answer is stopped; True if it does."""
        left = _Trace(int(trace["pid"]), float(trace["create_time"]), str(trace["url"]), str(trace.get("command", "")))
        if is_alive(left.pid, left.create_time) and await _answers(ready):
            self.log.add([f"took over the server of an earlier run, process {left.pid}"], "info")
            self._keep(left, None)
            if self._file is not None:
                position = await asyncio.to_thread(size_of, self._file)
                reading = follow(self._file, self._ended, self._reader(), position=position)
                spawn(reading, name=f"read {self._file.name}")
            return True
        await self._end(left)
        await self._remember(None)
        return False

    async def stop(self) -> None:
        """End it and everything it started; returns when it is gone."""
        trace, process = self._trace, self._process
        if trace is None:
            return
        if process is not None:
            await process.stop(self._patience())
        else:
            await self._end(trace)
        self._ended.set()
        self._trace = self._process = None
        await self._remember(None)

    def _keep(self, trace: _Trace, process: EngineProcess | None) -> None:
        self._ended.set()
        self._trace, self._process, self._ended, self._since = trace, process, asyncio.Event(), time.monotonic()
        if process is not None:
            process.exited.add_done_callback(lambda exited: self._died(exited.result()))

    def _reader(self) -> Callable[[bytes], None]:
        splitter = LineSplitter()

        def read(part: bytes) -> None:
            self.log.add(splitter.feed(part))

        return read

    def _died(self, report: ExitReport) -> None:
        if self._on_end is not None:
            self._on_end(report)
        if not report.asked_for:
            how = f"by {report.signal}" if report.signal else f"with exit code {report.exit_code}"
            self.last_error = next(iter(self.output[-1:]), f"The server ended {how}.")

    async def _until_ready(self, process: EngineProcess, start: Start, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while not await start.ready():
            if process.exited.done():
                raise EngineFailed(process.exited.result(), process.output)
            if time.monotonic() > deadline:
                raise EngineFailed(None, process.output, timed_out=timeout)
            await asyncio.wait([process.exited], timeout=POLL_SECONDS)
        if process.exited.done():
            # Somebody else answers there: ours could not take the port.
            raise EngineFailed(process.exited.result(), process.output)

    async def _end(self, trace: _Trace) -> None:
        await stop_leftover(trace.pid, trace.create_time, self._patience())
        await asyncio.to_thread(_end_session, trace.pid, trace.create_time)


async def _answers(ready: Ready) -> bool:
    """Whether a server that is there answers; one that is busy gets ADOPT_SECONDS."""
    deadline = time.monotonic() + ADOPT_SECONDS
    while not await ready():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(POLL_SECONDS)
    return True


def _end_session(leader: int, create_time: float) -> None:
    """Kill what a server of ours left when it ended: processes of the session that it led.

    As long as one of them runs, the system gives the leader's number to no other process.
    """
    if not hasattr(os, "getsid") or psutil.pid_exists(leader):
        return
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == leader and process.create_time() > create_time - SAME_START:
                process.kill()
        except (psutil.Error, OSError):
            continue
