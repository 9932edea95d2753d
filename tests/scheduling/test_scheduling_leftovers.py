"""What an earlier run left running is recognised by its process, its age and its port."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import psutil
import pytest

from quarterdeck.compatibility.journal import EngineTrace
from quarterdeck.processes import is_alive
from quarterdeck.scheduling import leftovers
from quarterdeck.scheduling.leftovers import Daemons, Trace, stop_engines
from quarterdeck.settings import Folders
from quarterdeck.storage.database import Database

PATIENCE = 3.0
_LISTEN = (
    "import socket, sys; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); s.accept()"
)

Start = Callable[[], tuple[psutil.Process, int]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a process that listens on a port of its own."""
    running: list[subprocess.Popen[bytes]] = []

    def make() -> tuple[psutil.Process, int]:
        process = subprocess.Popen([sys.executable, "-I", "-S", "-c", _LISTEN], stdout=subprocess.PIPE)
        running.append(process)
        assert process.stdout is not None
        return psutil.Process(process.pid), int(process.stdout.readline())

    yield make
    for process in running:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture
async def daemons(tmp_path: Path) -> AsyncIterator[Daemons]:
    database = Database(Folders(tmp_path / "data", tmp_path / "data"))
    database.open()
    yield Daemons(database)
    database.close()


def trace_of(process: psutil.Process, port: int) -> Trace:
    return {"pid": process.pid, "create_time": process.create_time(), "url": f"http://127.0.0.1:{port}", "command": "x"}


def runs(trace: Trace) -> bool:
    return is_alive(trace["pid"], trace["create_time"])


async def test_a_server_on_its_port_is_handed_over(daemons: Daemons, start: Start) -> None:
    trace = trace_of(*start())
    await daemons.remember("ollama")(trace)

    assert await daemons.recall("ollama", PATIENCE) == trace
    assert await daemons.recall("litellm", PATIENCE) is None
    assert runs(trace)


async def test_a_server_that_has_ended_is_forgotten_when_told(daemons: Daemons, start: Start) -> None:
    remember = daemons.remember("ollama")
    await remember(trace_of(*start()))
    await remember(None)
    await remember(None)

    assert await daemons.recall("ollama", PATIENCE) is None


async def test_a_server_whose_port_another_program_took_is_stopped(daemons: Daemons, start: Start) -> None:
    ours, _ = start()
    other, port = start()
    trace = trace_of(ours, port)
    await daemons.remember("ollama")(trace)

    assert await daemons.recall("ollama", PATIENCE) == trace
    assert not runs(trace)
    assert is_alive(other.pid, other.create_time())


async def test_a_later_process_with_the_same_pid_is_left_alone(daemons: Daemons, start: Start) -> None:
    process, port = start()
    trace = {**trace_of(process, port), "create_time": process.create_time() - 100}
    await daemons.remember("ollama")(trace)

    await daemons.recall("ollama", PATIENCE)

    assert process.is_running()


async def test_a_server_that_does_not_listen_yet_is_handed_over(
    daemons: Daemons, start: Start, unused_tcp_port: int
) -> None:
    process, _ = start()
    trace = trace_of(process, unused_tcp_port)
    await daemons.remember("ollama")(trace)

    assert await daemons.recall("ollama", PATIENCE) == trace
    assert runs(trace)


async def test_a_damaged_memory_is_no_trace(daemons: Daemons) -> None:
    await daemons.remember("ollama")({"pid": 1})

    assert await daemons.recall("ollama", PATIENCE) is None


class Recorded:
    """A journal that remembers these engines."""

    def __init__(self, *traces: EngineTrace) -> None:
        self.traces = traces

    async def engine_traces(self) -> list[EngineTrace]:
        return list(self.traces)


async def test_engines_that_were_left_are_stopped_and_strangers_are_not(start: Start) -> None:
    (left, port), (stranger, _), (unknown, _) = start(), start(), start()
    traces = (
        EngineTrace("alpha", left.pid, left.create_time(), port),
        EngineTrace("alpha", left.pid, left.create_time(), port),
        EngineTrace("beta", stranger.pid, stranger.create_time() - 100, port),
        EngineTrace("gamma", unknown.pid, None, port),
        EngineTrace("delta", 2**22 + 1, 1.0, port),
    )

    stopped = await stop_engines(Recorded(*traces), PATIENCE)  # type: ignore[arg-type]

    assert [trace.model_name for trace in stopped] == ["alpha"]
    assert not is_alive(left.pid, left.create_time())
    assert stranger.is_running()
    assert unknown.is_running()
    assert leftovers.KEY == "daemon:"
