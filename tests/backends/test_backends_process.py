"""Engine processes: output, exit reports, and that nothing of them is left."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import textwrap
from collections.abc import AsyncIterator, Awaitable, Callable

import psutil
import pytest

from quarterdeck.backends.logs import LogBook
from quarterdeck.backends.process import EngineProcess, free_port, resident_memory, stop_leftover
from quarterdeck.processes import is_alive

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and groups as POSIX has them")

Start = Callable[[str], Awaitable[EngineProcess]]

STUBBORN = """
    import signal, time
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("ready", flush=True)
    time.sleep(60)
"""
WITH_CHILD = """
    import subprocess, sys, time
    child = subprocess.Popen([sys.executable, "-c",
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"])
    print("child", child.pid, flush=True)
    time.sleep(60)
"""


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    started: list[EngineProcess] = []

    async def begin(program: str) -> EngineProcess:
        argv = [sys.executable, "-c", textwrap.dedent(program)]
        started.append(await EngineProcess.start(argv, env=os.environ, log=LogBook("engine")))
        return started[-1]

    yield begin
    for process in started:
        await process.stop(0.1)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


async def test_sigterm_is_enough_for_a_willing_process(start: Start) -> None:
    process = await start("import time; print('ready', flush=True); time.sleep(60)")
    await until(lambda: process.output)
    report = await process.stop(20)
    assert (report.signal, report.exit_code, report.asked_for) == ("SIGTERM", None, True)
    assert gone(process.pid)


async def test_sigkill_ends_one_that_ignores_sigterm(start: Start) -> None:
    process = await start(STUBBORN)
    await until(lambda: process.output)
    report = await process.stop(0.1)
    assert (report.signal, report.asked_for, report.oom_killed) == ("SIGKILL", True, False)
    assert gone(process.pid)


async def test_its_children_end_with_it(start: Start) -> None:
    process = await start(WITH_CHILD)
    await until(lambda: len(process.output) == 2)
    child = int(next(line for line in process.output if line.startswith("child")).split()[1])
    await process.stop(20)
    await until(lambda: gone(child))


async def test_its_children_end_when_it_dies_by_itself(start: Start) -> None:
    process = await start(WITH_CHILD)
    await until(lambda: len(process.output) == 2)
    child = int(next(line for line in process.output if line.startswith("child")).split()[1])
    os.kill(process.pid, signal.SIGSEGV)
    assert (await process.exited).signal == "SIGSEGV"
    await until(lambda: gone(child))


async def test_its_end_is_seen_while_a_stranger_holds_its_output_open(start: Start) -> None:
    process = await start("""
        import subprocess
        child = subprocess.Popen(["sleep", "60"], start_new_session=True)
        print(child.pid, flush=True)
    """)
    async with asyncio.timeout(20):
        report = await process.exited
    try:
        assert (report.exit_code, report.asked_for) == (0, False)
    finally:
        os.kill(int(process.output[0]), signal.SIGKILL)


@pytest.mark.parametrize("code", [0, 1, 77])
async def test_an_exit_code_is_reported(start: Start, code: int) -> None:
    report = await (await start(f"raise SystemExit({code})")).exited
    assert (report.exit_code, report.signal, report.asked_for) == (code, None, False)


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGABRT", "SIGKILL"])
async def test_a_signal_is_reported_by_name(start: Start, name: str) -> None:
    report = await (await start(f"import os, signal; os.kill(os.getpid(), signal.{name})")).exited
    assert (report.exit_code, report.signal, report.asked_for) == (None, name, False)


async def test_a_signal_without_a_name_is_reported_by_number(start: Start) -> None:
    number = signal.SIGRTMIN + 5
    report = await (await start(f"import os; os.kill(os.getpid(), {number})")).exited
    assert report.signal == f"signal {number}"


async def test_its_last_words_are_kept(start: Start) -> None:
    process = await start("import sys; print('a\\rb'); sys.stderr.write('no newline at the end'); sys.exit(3)")
    await process.exited
    assert sorted(process.output) == ["a", "b", "no newline at the end"]


async def test_its_input_stays_open_until_it_is_stopped(start: Start) -> None:
    process = await start("import sys; print('reading', flush=True); sys.stdin.read(); print('closed')")
    await until(lambda: process.output)
    await process.stop(20)
    assert "closed" not in process.output


async def test_stopping_twice_is_no_harm(start: Start) -> None:
    process = await start("import time; time.sleep(60)")
    first, second = await asyncio.gather(process.stop(20), process.stop(20))
    assert first == second == await process.stop(20)


async def test_a_program_that_is_missing_is_an_os_error() -> None:
    with pytest.raises(FileNotFoundError):
        await EngineProcess.start(["/nowhere/engine"], env={}, log=LogBook("engine"))


async def test_a_leftover_is_stopped_by_pid_and_create_time(start: Start) -> None:
    process = await start(WITH_CHILD)
    await until(lambda: len(process.output) == 2)
    assert is_alive(process.pid, process.create_time)
    assert await stop_leftover(process.pid, process.create_time, 0.2)
    await process.exited
    assert not is_alive(process.pid, process.create_time)


async def test_a_later_process_with_the_same_pid_is_left_alone(start: Start) -> None:
    process = await start(STUBBORN)
    await until(lambda: process.output)
    assert not await stop_leftover(process.pid, process.create_time - 60, 0.1)
    assert is_alive(process.pid, process.create_time)


async def test_a_process_that_is_gone_is_no_leftover(start: Start) -> None:
    process = await start("pass")
    await process.exited
    assert not await stop_leftover(process.pid, process.create_time, 0.1)
    assert resident_memory(process.pid) is None


def test_free_ports_can_be_bound() -> None:
    assert 0 < free_port() < 65536
