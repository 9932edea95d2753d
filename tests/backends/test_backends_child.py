"""Engines as children: several at once, a port taken by somebody else, and nothing left when Quarterdeck is killed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import psutil
import pytest

from quarterdeck.backends.base import EngineFailed, EngineRecord, Instance
from quarterdeck.backends.child import Children, Launch, answers, port_was_taken
from quarterdeck.backends.logs import LogBook
from quarterdeck.backends.process import free_port
from quarterdeck.processes import is_alive

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and groups as POSIX has them")

ENGINE = Path(__file__).parents[1] / "support" / "small_engine.py"


@pytest.fixture
async def children() -> AsyncIterator[Children]:
    made = Children(LogBook("engine"), stop_patience=lambda: 0.5)
    instances: list[Instance] = []
    start = made.start

    async def remembered(*arguments: object, **named: object) -> Instance:
        instances.append(await start(*arguments, **named))  # type: ignore[arg-type]
        return instances[-1]

    made.start = remembered  # type: ignore[method-assign, assignment]
    yield made
    for instance in instances:
        await made.stop(instance)


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield int(other.getsockname()[1])


def launch(port: int, *how: str) -> Launch:
    return Launch([sys.executable, str(ENGINE), str(port), *how], port, answers("/health", port))


async def load(
    children: Children,
    start: Launch,
    elsewhere: Callable[[], Launch] | None = None,
    records: list[EngineRecord] | None = None,
) -> Instance:
    async def started(record: EngineRecord) -> None:
        if records is not None:
            records.append(record)

    return await children.start(
        start, model="m", served_id="m", timeout=30, tick=lambda _: None, started=started, elsewhere=elsewhere
    )


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def group(pid: int) -> list[int]:
    """Every living process of the group that `pid` leads."""
    members = []
    for process in psutil.pids():
        try:
            if os.getpgid(process) == pid and not gone(process):
                members.append(process)
        except ProcessLookupError:
            continue
    return members


def guards_of(engine: int) -> list[int]:
    """The guards that still run the launcher for an engine of ours; they are told apart by its port."""
    port = psutil.Process(engine).cmdline()[2]
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            command = process.cmdline()
            if "launcher.py" in " ".join(command) and port in command and process.pid != engine:
                found.append(process.pid)
    return found


async def test_the_engine_keeps_the_pid_and_is_known_by_its_own_command(children: Children) -> None:
    records: list[EngineRecord] = []
    start = launch(free_port())
    instance = await load(children, start, records=records)
    assert instance.record == records[0]
    assert psutil.Process(records[0].pid).cmdline()[-2:] == list(start.argv)[-2:]
    assert instance.command is not None
    assert "launcher" not in instance.command


async def test_two_engines_run_and_end_side_by_side(children: Children) -> None:
    first, second = await asyncio.gather(*(load(children, launch(free_port())) for _ in range(2)))
    await children.stop(first)
    assert (await first.exited).asked_for
    assert not second.exited.done()
    assert children.starting == []


async def test_a_stop_leaves_nothing_of_the_group(children: Children) -> None:
    instance = await load(children, launch(free_port(), "worker"))
    assert instance.record is not None
    assert len(group(instance.record.pid)) == 2
    guards = guards_of(instance.record.pid)
    assert len(guards) == 1
    await children.stop(instance)
    await until(lambda: not group(instance.record.pid) and all(map(gone, guards)))  # type: ignore[union-attr]


async def test_workers_end_when_their_leader_is_killed(children: Children) -> None:
    instance = await load(children, launch(free_port(), "worker"))
    assert instance.record is not None
    os.kill(instance.record.pid, signal.SIGKILL)
    assert (await instance.exited).signal == "SIGKILL"
    await until(lambda: not group(instance.record.pid))  # type: ignore[union-attr]


async def test_an_engine_that_ignores_sigterm_is_killed(children: Children) -> None:
    instance = await load(children, launch(free_port(), "stubborn"))
    await children.stop(instance)
    assert (await instance.exited).signal == "SIGKILL"


async def test_a_port_that_somebody_took_first_is_replaced_once(children: Children, taken_port: int) -> None:
    records: list[EngineRecord] = []
    other = free_port()
    instance = await load(children, launch(taken_port), lambda: launch(other), records)
    assert instance.base_url == f"http://127.0.0.1:{other}"
    assert [record.port for record in records] == [taken_port, other]


async def test_without_another_port_it_fails_and_says_why(children: Children, taken_port: int) -> None:
    with pytest.raises(EngineFailed) as caught:
        await load(children, launch(taken_port))
    assert port_was_taken(caught.value)
    assert "in use" in str(children.last_error)


async def test_another_failure_is_not_tried_again(children: Children) -> None:
    with pytest.raises(EngineFailed):
        await load(children, launch(free_port(), "broken"), lambda: pytest.fail("tried again"))


async def test_a_program_that_cannot_be_started_says_so(children: Children, tmp_path: Path) -> None:
    program = tmp_path / "no-program"
    program.write_text("", encoding="utf-8")
    port = free_port()
    with pytest.raises(EngineFailed) as caught:
        await load(children, Launch([str(program)], port, answers("/health", port)))
    assert "cannot be started: Permission denied" in caught.value.log[-1]


async def test_two_that_start_are_told_and_forgotten(children: Children) -> None:
    loads = [asyncio.ensure_future(load(children, launch(free_port(), "never"))) for _ in range(2)]
    await until(lambda: len(children.starting) == 2)
    for each in loads:
        each.cancel()
    await asyncio.gather(*loads, return_exceptions=True)
    assert children.starting == []


CORE = """
    import asyncio, sys
    from quarterdeck.backends.child import Children, Launch, answers
    from quarterdeck.backends.logs import LogBook

    async def main():
        children = Children(LogBook("engine"), stop_patience=lambda: 1.0)
        port = int(sys.argv[2])

        async def started(record):
            print(record.pid, flush=True)

        launch = Launch([sys.executable, sys.argv[1], str(port), *sys.argv[3:]], port, answers("/health", port))
        await children.start(launch, model="m", served_id="m", timeout=30, tick=lambda _: None, started=started)
        print("loaded", flush=True)
        await asyncio.sleep(60)

    asyncio.run(main())
"""


@pytest.mark.parametrize("how", ["worker", "stubborn", "never"])
async def test_nothing_is_left_when_quarterdeck_is_killed(how: str) -> None:
    argv = [sys.executable, "-c", textwrap.dedent(CORE), str(ENGINE), str(free_port()), how]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as core:
        assert core.stdout is not None
        engine = int(core.stdout.readline())
        created = psutil.Process(engine).create_time()
        if how != "never":
            assert core.stdout.readline() == "loaded\n"
        core.kill()
    await until(lambda: not is_alive(engine, created) and not group(engine))
