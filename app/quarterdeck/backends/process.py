"""Engine processes: started in a group of their own, watched, and stopped by pid and group, never by name."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

import psutil

from quarterdeck.backends.base import ExitReport
from quarterdeck.backends.following import follow
from quarterdeck.backends.logs import LineSplitter, LogBook
from quarterdeck.errors import AppError
from quarterdeck.processes import end_family, is_alive
from quarterdeck.tasks import spawn

_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)
_LAST_WORDS_SECONDS = 1.0
_LINES_KEPT = 2000
_REST_SECONDS = 2.0
"""How long what an engine leaves behind when it ends gets to end by itself."""
_REST_LOOK_SECONDS = 0.02
_CLEANER = "multiprocessing.resource_tracker"
"""Part of the command line of the helper that removes the shared memory of a Python program after its end."""
_LAUNCHER = Path(__file__).with_name("launcher.py")


class EngineProcess:
    """One running engine process. `exited` is set with its report; its output goes to `log`."""

    def __init__(self, transport: asyncio.SubprocessTransport, output: _Output) -> None:
        self.pid = transport.get_pid()
        self.create_time = _create_time(self.pid)
        self.exited: asyncio.Future[ExitReport] = asyncio.get_running_loop().create_future()
        self._transport = transport
        self._output = output
        self._stopping = False
        self._oom_kills = _oom_kills()
        spawn(self._watch(), name=f"watch engine {self.pid}")

    @classmethod
    async def start(
        cls, argv: Sequence[str], *, env: Mapping[str, str], log: LogBook, file: Path | None = None
    ) -> EngineProcess:
        """Start `argv` with a pipe as its standard input that stays open for as long as we live.

        Its output comes through a pipe, or by way of `file`: then it can go on writing when we are gone.
        """
        output = _Output(log)
        with contextlib.ExitStack() as opened:
            transport, _ = await asyncio.get_running_loop().subprocess_exec(
                lambda: output,
                *argv,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE if file is None else opened.enter_context(_emptied(file)),
                stderr=asyncio.subprocess.STDOUT,
                env=dict(env),
                start_new_session=True,
            )
        if file is not None:
            spawn(output.follow(file), name=f"read {file.name}")
        return cls(transport, output)

    @property
    def output(self) -> list[str]:
        """The newest lines it has printed."""
        return self._output.lines

    def output_since(self, number: int) -> tuple[list[str], int]:
        """The lines after the first `number` it has printed, as far as they are kept, and how many there are now."""
        new = self._output.count - number
        return self._output.lines[-new:] if new else [], self._output.count

    async def stop(self, patience: float) -> ExitReport:
        """End the process group: ask, then kill after `patience` seconds. Returns when it is gone."""
        self._stopping = True
        if not self.exited.done():
            self._signal_group(signal.SIGTERM)
            done, _ = await asyncio.wait([self.exited], timeout=patience)
            if not done:
                self._signal_group(_KILL)
        return await asyncio.shield(self.exited)

    def memory_bytes(self) -> int | None:
        """Resident memory of the process, or None once it is gone."""
        return resident_memory(self.pid)

    async def _watch(self) -> None:
        await self._output.ended.wait()
        await self._end_rest()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._output.closed.wait(), _LAST_WORDS_SECONDS)
        code = self._transport.get_returncode()
        self._transport.close()
        died = code is not None and code < 0
        self.exited.set_result(
            ExitReport(
                exit_code=None if died else code,
                signal=_signal_name(-code) if code is not None and died else None,
                oom_killed=code == -9 and _oom_kills() > self._oom_kills,
                asked_for=self._stopping,
            )
        )

    async def _end_rest(self) -> None:
        """End what it has started: that may outlive it, hold memory, and hold its output open.

        Helpers that remove shared memory after all others are gone get the time for it.
        """
        if sys.platform == "win32" or not self._signal_group(signal.SIGTERM):
            return
        await asyncio.to_thread(_end_members, self.pid)
        self._signal_group(_KILL)

    def _signal_group(self, number: signal.Signals) -> bool:
        """Whether there was anybody to hear it."""
        try:
            if sys.platform == "win32":
                os.kill(self.pid, number)
            else:
                os.killpg(self.pid, number)
        except OSError:
            return False
        return True


class _Output(asyncio.SubprocessProtocol):
    """What an engine prints, and the two ends of that: the process has ended, its output is closed."""

    def __init__(self, log: LogBook) -> None:
        self.lines: list[str] = []
        self.count = 0
        self.ended = asyncio.Event()
        self.closed = asyncio.Event()
        self._log = log
        self._splitter = LineSplitter()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self._keep(self._splitter.feed(data))

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        if fd == 1:
            self._keep(self._splitter.finish())
            self.closed.set()

    def process_exited(self) -> None:
        self.ended.set()

    async def follow(self, file: Path) -> None:
        await follow(file, self.ended, lambda part: self._keep(self._splitter.feed(part)))
        self._keep(self._splitter.finish())
        self.closed.set()

    def _keep(self, texts: list[str]) -> None:
        self.lines.extend(line.text for line in self._log.add(texts))
        self.count += len(texts)
        del self.lines[:-_LINES_KEPT]


def _emptied(file: Path) -> IO[bytes]:
    """`file` opened for appending, so that it can be emptied while an engine writes."""
    file.parent.mkdir(parents=True, exist_ok=True)
    opened = file.open("ab")
    opened.truncate(0)
    return opened


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


async def stop_leftover(pid: int, create_time: float, patience: float) -> bool:
    """Stop an engine of an earlier run, recognised by pid and create time (seconds since the epoch); True if it ran."""
    if not is_alive(pid, create_time):
        return False
    await asyncio.to_thread(end_family, pid, create_time, patience)
    return True


def guarded(argv: Sequence[str]) -> list[str]:
    """The command that starts `argv` under the same pid, with a guard that ends it when we are gone."""
    if os.name != "posix":
        return list(argv)
    return [sys.executable, "-I", "-S", str(_LAUNCHER), str(os.getpid()), *argv]


def find_program(wanted: str, install: str) -> str:
    """Where a program is that Settings name or give the path of. AppError `engine_missing`, with how to get it."""
    program = shutil.which(os.path.expanduser(wanted))  # noqa: PTH111 - a name without a folder must stay one
    if program is None:
        raise AppError("engine_missing", f"The program “{wanted}” was not found.", install, status=424)
    return program


def free_port() -> int:
    """A loopback port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def resident_memory(pid: int) -> int | None:
    """Resident memory of a process in bytes, or None if there is no such process."""
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return None


def _end_members(group: int) -> None:
    """Wait until the members of a process group have ended, then kill all but those that clean up. Blocking."""
    if _await_end(group):
        return
    for member in _members(group):
        with contextlib.suppress(psutil.Error):
            if not any(_CLEANER in word for word in member.cmdline()):
                member.kill()
    _await_end(group)


def _await_end(group: int) -> bool:
    """Wait at most _REST_SECONDS; True when nobody is left."""
    deadline = time.monotonic() + _REST_SECONDS
    while _members(group):
        if time.monotonic() > deadline:
            return False
        time.sleep(_REST_LOOK_SECONDS)
    return True


def _members(group: int) -> list[psutil.Process]:
    """The living processes of a process group."""
    found = []
    for pid in psutil.pids():
        try:
            if os.getpgid(pid) == group:
                found.append(psutil.Process(pid))
        except (OSError, psutil.Error):
            continue
    return [process for process in found if _lives(process)]


def _lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _create_time(pid: int) -> float:
    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return 0.0


def _oom_kills() -> int:
    """How many processes the kernel has killed for memory since boot; 0 where it does not tell."""
    try:
        for line in Path("/proc/vmstat").read_text(encoding="ascii").splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    except OSError:
        return 0
    return 0
