"""How soon the window shows its first frame, and what it costs while nobody sees it.

python tests/benchmarks/bench_window.py [starts] [seconds hidden]

Runs on an X server of its own with a window manager and a panel (Xvfb, openbox, tint2) where these are installed,
else on Qt's offscreen platform.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from serve_process import PROGRAM, AppProcess, surroundings, wait_for

FRAME_TARGET_MS = 1000
HIDDEN_TARGET_PERCENT = 0.5
SETTLE_SECONDS = 10
FIRST_FRAME = re.compile(r"first frame after (\d+) ms")


@contextlib.contextmanager
def screen() -> Iterator[dict[str, str]]:
    """The environment of a desktop for the window."""
    if not all(shutil.which(program) for program in ("Xvfb", "openbox", "tint2")):
        sys.stdout.write("Xvfb, openbox and tint2 are not all installed: measuring offscreen\n")
        yield {"QT_QPA_PLATFORM": "offscreen"}
        return
    reading, writing = os.pipe()
    server = ["Xvfb", "-displayfd", str(writing), "-screen", "0", "1440x900x24", "-nolisten", "tcp"]
    with contextlib.ExitStack() as stack:
        _start(stack, server, pass_fds=(writing,))
        os.close(writing)
        with os.fdopen(reading) as pipe:
            display = {"DISPLAY": f":{pipe.readline().strip()}", "QT_QPA_PLATFORM": "xcb"}
        for program in ("openbox", "tint2"):
            _start(stack, [program], env={**os.environ, **display})
        yield display


def _start(stack: contextlib.ExitStack, argv: list[str], **options: object) -> None:
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(argv, **quiet, **options)  # type: ignore[call-overload]
    stack.callback(process.wait)
    stack.callback(process.terminate)


def start(data_dir: Path, display: dict[str, str], *arguments: str) -> AppProcess:
    environment = surroundings(data_dir, QUARTERDECK_PORT="0", **display)
    window = AppProcess([*PROGRAM, *arguments], data_dir, environment)
    wait_for(lambda: (data_dir / "core.json").exists() or not window.running, "the core answers")
    return window


def first_frame_ms(data_dir: Path, display: dict[str, str]) -> int:
    log = data_dir / "logs" / "quarterdeck.log"
    log.unlink(missing_ok=True)
    window = start(data_dir, display)
    try:
        found = wait_for(lambda: log.exists() and FIRST_FRAME.search(log.read_text(encoding="utf-8")), "a first frame")
        return int(found[1])
    finally:
        window.terminate()


def hidden(data_dir: Path, display: dict[str, str], seconds: float) -> None:
    """Prints the processor time of the whole program and the wake-ups of each of its threads."""
    window = start(data_dir, display, "--minimized")
    try:
        process = psutil.Process(window.pid)
        time.sleep(SETTLE_SECONDS)
        before, woken = process.cpu_times(), wake_ups(window.pid)
        time.sleep(seconds)
        after, now = process.cpu_times(), wake_ups(window.pid)
        used = after.user + after.system - before.user - before.system
        sys.stdout.write(
            f"hidden     {100 * used / seconds:6.2f} % of a core over {seconds:.0f} s, "
            f"target below {HIDDEN_TARGET_PERCENT} %\n"
        )
        for thread, count in sorted(now.items()):
            sys.stdout.write(
                f"  thread {thread:24} {(count - woken.get(thread, 0)) / seconds:6.2f} wake-ups per second\n"
            )
    finally:
        window.terminate()


def wake_ups(pid: int) -> dict[str, int]:
    """How often each thread has slept and woken; empty where /proc does not tell."""
    found = {}
    for folder in Path(f"/proc/{pid}/task").glob("*"):
        status = dict(line.split(":\t", 1) for line in (folder / "status").read_text().splitlines() if ":\t" in line)
        found[f"{status['Name']} {folder.name}"] = int(status["voluntary_ctxt_switches"])
    return found


def main() -> None:
    starts = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 60.0
    with tempfile.TemporaryDirectory() as folder, screen() as display:
        data_dir = Path(folder) / "data"
        frames = [first_frame_ms(data_dir, display) for _ in range(starts)]
        sys.stdout.write(
            f"first frame {statistics.median(frames):4.0f} ms, median of {starts} starts "
            f"({min(frames)} to {max(frames)}), target {FRAME_TARGET_MS} ms\n"
        )
        hidden(data_dir, display, seconds)


if __name__ == "__main__":
    main()
