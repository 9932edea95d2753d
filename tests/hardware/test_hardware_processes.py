"""Which model a GPU process belongs to, which ones nobody looks after, and stopping one with care."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from quarterdeck.errors import AppError
from quarterdeck.hardware.processes import Held, ProcessBook, stop_process
from quarterdeck.processes import end_family, is_alive

GIB = 1024**3
SLEEP = "import signal, sys, time; print('ready', flush=True); time.sleep(600)"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(600)"
# Starts a child and tells its pid; lives on, or ends at once when told so.
PARENT = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.argv[1], "600"], start_new_session=True)
print(child.pid, flush=True)
if sys.argv[2] == "stays":
    time.sleep(600)
os._exit(0)
"""

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start Python code and wait for its first line, kept as `first_line`."""
    started: list[subprocess.Popen[str]] = []

    def run(code: str, *arguments: str, name: str = "python3") -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [name, "-c", code, *arguments], executable=sys.executable, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout
        process.first_line = process.stdout.readline().strip()  # type: ignore[attr-defined]
        assert process.first_line, "the process ended at once"  # type: ignore[attr-defined]
        return process

    yield run
    for process in started:
        for each in psutil.Process(process.pid).children() if process.poll() is None else []:
            each.kill()
        process.kill()
        process.wait()
        assert process.stdout
        process.stdout.close()


@pytest.fixture
def engine(start: Start, tmp_path: Path) -> Iterator[Callable[..., tuple[int, int]]]:
    """Start something that starts a process with this title; gives (parent pid, pid)."""
    left: list[int] = []

    def run(title: str, *, parent: str = "stays") -> tuple[int, int]:
        program = tmp_path / title
        program.symlink_to("/bin/sleep")
        process = start(PARENT, str(program), parent)
        pid = int(process.first_line)  # type: ignore[attr-defined]
        left.append(pid)
        deadline = time.monotonic() + 20
        while psutil.Process(pid).name() != title:
            assert time.monotonic() < deadline
        if parent != "stays":
            process.wait()
        return process.pid, pid

    yield run
    for pid in left:
        try:
            psutil.Process(pid).kill()
        except psutil.NoSuchProcess:
            continue


def created(pid: int) -> float:
    return float(psutil.Process(pid).create_time())


def describe(book: ProcessBook, *held: Held, readable: bool = True, at: float = 0.0):  # type: ignore[no-untyped-def]
    return book.describe(held, readable=readable, at=at)


class TestModels:
    def test_the_process_of_an_engine_and_what_it_started(self, start: Start, engine) -> None:  # type: ignore[no-untyped-def]
        book = ProcessBook()
        parent, child = engine("ollama")
        other = start(SLEEP).pid
        book.owners = {parent: ("qwen3-8b", "ollama")}
        found = describe(book, Held(0, parent, 1 * GIB), Held(0, child, 5 * GIB), Held(0, other, 2 * GIB))
        assert [(each.pid, each.model, each.backend) for each in found] == [
            (child, "qwen3-8b", "ollama"),
            (other, None, None),
            (parent, "qwen3-8b", "ollama"),
        ]
        assert book.vram_of("qwen3-8b") == 6 * GIB

    def test_the_nearest_owner_counts(self, engine) -> None:  # type: ignore[no-untyped-def]
        book = ProcessBook()
        parent, child = engine("ollama")
        book.owners = {parent: ("ollama itself", "ollama"), child: ("gemma3", "ollama")}
        describe(book, Held(0, child, 5 * GIB))
        assert book.vram_of("gemma3") == 5 * GIB
        assert book.vram_of("ollama itself") == 0

    def test_owners_that_change_count_at_once(self, engine) -> None:  # type: ignore[no-untyped-def]
        book = ProcessBook()
        parent, child = engine("vllm")
        describe(book, Held(0, child, GIB), Held(1, child, 2 * GIB))
        assert book.vram_of("qwen3-8b") == 0
        book.owners = {parent: ("qwen3-8b", "vllm")}
        assert book.vram_of("qwen3-8b") == 3 * GIB
        assert [each.pid for each in book.holders_among({parent})] == [child, child]

    def test_what_the_driver_does_not_tell_is_unknown(self, start: Start) -> None:
        book = ProcessBook()
        pid = start(SLEEP).pid
        book.owners = {pid: ("qwen3-8b", "vllm")}
        assert book.vram_of("qwen3-8b") is None
        describe(book, Held(0, pid, GIB), readable=False)
        assert book.vram_of("qwen3-8b") is None
        describe(book, Held(0, pid, GIB), Held(1, pid, None))
        assert book.vram_of("qwen3-8b") is None

    def test_a_process_that_is_not_here(self) -> None:
        (found,) = describe(ProcessBook(), Held(0, 999_999_999, GIB))
        assert (found.name, found.create_time, found.own_user, found.orphan) == ("", None, False, False)


class TestAlarm:
    def alarm(self, *held: Held, loaded_for: float, looked_at: float = 100.0, readable: bool = True) -> str | None:
        book = ProcessBook(clock=lambda: 100.0)
        book.owners = {os.getpid(): ("qwen3-8b", "embedded")}
        describe(book, *held, readable=readable, at=looked_at)
        return book.alarm("qwen3-8b", loaded_for)

    def test_loaded_but_nothing_resident(self) -> None:
        alarm = self.alarm(loaded_for=10.0)
        assert alarm == "qwen3-8b is loaded, but nothing of it is in GPU memory: it runs on the processor."

    def test_not_in_the_first_seconds(self) -> None:
        assert self.alarm(loaded_for=9.9) is None

    def test_not_by_an_old_look(self) -> None:
        assert self.alarm(loaded_for=60.0, looked_at=45.0) is None
        assert self.alarm(loaded_for=60.0, looked_at=50.0) is not None

    def test_not_when_something_is_there_or_may_be(self) -> None:
        assert self.alarm(Held(0, os.getpid(), 1024), loaded_for=60.0) is None
        assert self.alarm(Held(0, os.getpid(), None), loaded_for=60.0) is None
        assert self.alarm(loaded_for=60.0, readable=False) is None

    def test_not_for_a_model_whose_process_is_not_known(self) -> None:
        book = ProcessBook(clock=lambda: 100.0)
        describe(book, at=100.0)
        assert book.alarm("elsewhere", 60.0) is None


class TestOrphans:
    def orphan(self, pid: int, **owners: int) -> bool:
        book = ProcessBook()
        book.owners = {root: (model, "vllm") for model, root in owners.items()}
        (found,) = describe(book, Held(0, pid, GIB))
        return bool(found.orphan)

    def test_an_engine_whose_parent_is_gone(self, engine) -> None:  # type: ignore[no-untyped-def]
        _, pid = engine("VLLM::EngineCore", parent="ends")
        assert self.orphan(pid)

    def test_an_engine_whose_parent_lives(self, engine) -> None:  # type: ignore[no-untyped-def]
        _, pid = engine("VLLM::EngineCore")
        assert not self.orphan(pid)

    def test_another_program_whose_parent_is_gone(self, engine) -> None:  # type: ignore[no-untyped-def]
        _, pid = engine("blender", parent="ends")
        assert not self.orphan(pid)

    def test_an_engine_of_a_model_is_none(self, engine) -> None:  # type: ignore[no-untyped-def]
        _, pid = engine("llama-server", parent="ends")
        assert self.orphan(pid)
        assert not self.orphan(pid, mine=pid)


class TestStopping:
    def refusal(self, pid: int, create_time: float) -> AppError:
        with pytest.raises(AppError) as refused:
            stop_process(pid, create_time, 0.1)
        assert refused.value.sentence.endswith(".") and refused.value.hint.endswith(".")
        return refused.value

    def test_a_process_ends_with_what_it_started(self, engine) -> None:  # type: ignore[no-untyped-def]
        parent, child = engine("vllm")
        since = created(child)
        stop_process(parent, created(parent), 20)
        assert not is_alive(child, since)

    def test_a_process_that_will_not_end_is_killed(self, start: Start) -> None:
        process = start(DEAF)
        stop_process(process.pid, created(process.pid), 0.1)
        assert process.wait(20) == -signal.SIGKILL

    def test_a_later_process_with_the_same_pid_is_left_alone(self, start: Start) -> None:
        process = start(SLEEP)
        assert self.refusal(process.pid, created(process.pid) - 60).code == "process_gone"
        assert process.poll() is None

    def test_a_process_that_has_ended(self, start: Start) -> None:
        process = start(SLEEP)
        since = created(process.pid)
        process.kill()
        process.wait()
        error = self.refusal(process.pid, since)
        assert (error.code, error.status) == ("process_gone", 404)

    def test_neither_ourselves_nor_what_we_run_in(self) -> None:
        for pid in (0, 1, os.getpid(), os.getppid()):
            error = self.refusal(pid, created(pid) if pid else 0.0)
            assert (error.code, error.status) == ("process_protected", 403)
        assert is_alive(os.getppid(), created(os.getppid()))

    def test_a_part_of_the_desktop(self, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
        process = start(SLEEP)
        monkeypatch.setattr(psutil.Process, "name", lambda _self: "gnome-shell")
        error = self.refusal(process.pid, created(process.pid))
        assert "desktop" in error.sentence
        assert process.poll() is None

    def test_a_process_of_another_user(self, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
        process = start(SLEEP)
        monkeypatch.setattr(os, "getuid", lambda: 4711)
        error = self.refusal(process.pid, created(process.pid))
        assert (error.code, error.status) == ("process_of_another_user", 403)
        assert psutil.Process().username() in error.sentence
        assert process.poll() is None

    def test_a_shell_that_leads_a_terminal(self) -> None:
        pid, terminal = pty.fork()
        if pid == 0:
            os.execv("/bin/sh", ["sh"])
        try:
            deadline = time.monotonic() + 20
            while psutil.Process(pid).name() != "sh":
                assert time.monotonic() < deadline
            assert "terminal" in self.refusal(pid, created(pid)).sentence
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            os.close(terminal)

    def test_a_process_that_stays_is_said(self, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
        process = start(SLEEP)
        monkeypatch.setattr("quarterdeck.hardware.processes.end_family", lambda *_arguments: False)
        assert self.refusal(process.pid, created(process.pid)).code == "process_stays"


def test_ending_a_family_leaves_our_own_child_for_us_to_reap(start: Start) -> None:
    process = start(SLEEP)
    assert end_family(process.pid, created(process.pid), 20)
    assert process.wait(20) == -signal.SIGTERM


def test_ending_what_has_ended_is_no_error(start: Start) -> None:
    process = start(SLEEP)
    since = created(process.pid)
    process.kill()
    process.wait()
    assert end_family(process.pid, since, 0.1)
