"""The app as a process: one window per data folder, clean ends by every way, errors of the core in the window."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest
from real_engines import LONG

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="drives processes by POSIX signals")

HERE = Path(__file__).parent
PROGRAM = HERE / "app_program.py"

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start the app on a data folder of this test; what still runs at the end is killed."""
    running: list[subprocess.Popen[str]] = []

    def begin(*words: str) -> subprocess.Popen[str]:
        environment = os.environ | {"QT_QPA_PLATFORM": "offscreen", "PYTHONWARNINGS": "default"}
        process = subprocess.Popen(
            [sys.executable, str(PROGRAM), str(tmp_path / "data"), *words],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, start_new_session=True,
        )  # fmt: skip
        running.append(process)
        return process

    yield begin
    for process in running:
        if process.poll() is None:
            process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _until(output: IO[str] | None, text: str) -> str:
    """Read lines up to the one with `text`; the test's own time limit ends a wait in vain."""
    assert output is not None
    seen = []
    for line in output:
        seen.append(line)
        if text in line:
            return "".join(seen)
    raise AssertionError(f"ended without {text!r}:\n{''.join(seen)}")


def test_first_frame_comes_before_the_core(start: Start) -> None:
    process = start()
    output = _until(process.stdout, "window filled")
    assert output.index("first frame after") < output.index("core started") < output.index("window filled")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly_with_the_stream_open(start: Start, number: signal.Signals) -> None:
    process = start()
    _until(process.stdout, "window filled")
    process.send_signal(number)
    rest, _ = process.communicate(timeout=20)
    assert process.returncode == 0, rest
    order = [rest.index(step) for step in ("tray hidden", "client closed", "core stopped", "window stopped")]
    assert order == sorted(order)
    assert "Traceback" not in rest
    assert "Warning" not in rest


@pytest.mark.parametrize("after", ["first frame after", "core started"])
def test_quitting_while_starting_stops_the_core_too(start: Start, after: str) -> None:
    process = start("slow")
    before = _until(process.stdout, after)
    process.send_signal(signal.SIGTERM)
    rest, _ = process.communicate(timeout=20)
    assert process.returncode == 0, before + rest
    if "core started" in before + rest:
        assert "core stopped" in rest
    assert "Traceback" not in rest


def test_a_second_request_ends_a_core_that_hangs(start: Start) -> None:
    process = start("hang")
    _until(process.stdout, "window filled")
    process.send_signal(signal.SIGTERM)
    _until(process.stdout, "core stopping")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=10)
    assert process.returncode == 3


def test_a_second_start_raises_the_first_window(start: Start) -> None:
    first = start()
    _until(first.stdout, "window filled")
    second = start()
    said, _ = second.communicate(timeout=20)
    assert second.returncode == 0
    assert "its window was brought to the front" in said
    assert "core started" not in said
    _until(first.stdout, "window raised")
    first.send_signal(signal.SIGTERM)
    assert first.wait(timeout=20) == 0


def test_a_start_after_kill_9_works(start: Start) -> None:
    first = start()
    _until(first.stdout, "window filled")
    first.kill()
    first.wait()
    second = start()
    _until(second.stdout, "window filled")


def test_a_core_that_cannot_start_is_explained_and_can_be_tried_again(start: Start) -> None:
    process = start("fail-once")
    _until(process.stdout, "window shows: The data folder cannot be written.")
    _until(process.stdout, "window filled")
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == 0


def test_minimized_without_a_tray_keeps_the_window_reachable(start: Start) -> None:
    process = start("minimized")
    _until(process.stdout, "window filled")
    process.send_signal(signal.SIGTERM)
    rest, _ = process.communicate(timeout=20)
    assert "visible True minimised True" in rest


@pytest.mark.slow
def test_quits_at_any_moment_are_clean(start: Start) -> None:
    for number in range(0, 50, 1 if LONG else 4):
        process = start()
        time.sleep(0.15 + number * 0.02)  # the moment itself is what varies
        process.send_signal(signal.SIGTERM)
        rest, _ = process.communicate(timeout=30)
        assert process.returncode in (0, -signal.SIGTERM), rest
        assert "Traceback" not in rest, rest
