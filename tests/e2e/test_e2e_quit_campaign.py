"""The window is quit at any moment after its start: exit code 0, nothing on stderr, no engine left."""

from __future__ import annotations

import json
import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import httpx
import pytest
from real_engines import LONG
from serve_process import PROGRAM, STARTER, AppProcess, stored, surroundings, wait_for

pytestmark = [pytest.mark.engine, pytest.mark.slow]

SEEDS = range(5 if LONG else 2)
QUITS_PER_SEED = 10 if LONG else 4


class Window(AppProcess):
    """The desktop app without a screen."""

    def __init__(self, data_dir: Path, *arguments: str) -> None:
        environment = surroundings(data_dir, QT_QPA_PLATFORM="offscreen", QUARTERDECK_PORT="0")
        super().__init__([*PROGRAM, *arguments], data_dir, environment)

    def wait_for_the_program(self) -> None:
        """Until then the interpreter is still starting, and a signal ends it as it ends every program."""
        lock = self.data_dir / "window.lock"
        wait_for(lambda: str(lock) in open_files(self.pid), "the window has taken its place")

    def wait_for_the_core(self) -> httpx.Client:
        """A client of the core behind the window."""
        lock_file = self.data_dir / "core.json"
        wait_for(lock_file.exists, "the core answers")
        token = (self.data_dir / "token").read_text(encoding="ascii")
        url = json.loads(lock_file.read_text(encoding="utf-8"))["control_url"]
        return httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, trust_env=False, timeout=60)


def open_files(pid: int) -> list[str]:
    found = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.append(str(link.readlink()))
        except OSError:
            continue
    return found


@pytest.mark.parametrize("seed", SEEDS)
def test_every_quit_is_clean(seed: int, tmp_path: Path, starter_file: object) -> None:
    data, choose = tmp_path / "data", random.Random(seed)
    for _ in range(QUITS_PER_SEED):
        window = Window(data, *choose.choice([[], ["--minimized"]]))
        try:
            window.wait_for_the_program()
            moment = choose.choice([quit_while_it_starts, quit_while_it_runs, quit_during_a_load])
            moment(window, choose)
            assert (moment.__name__, window.wait(), window.err) == (moment.__name__, 0, "")
            assert window.engines() == []
            assert not (data / "core.json").exists()
        finally:
            window.end()
    found = stored(data, tmp_path / "copy")
    assert {attempt["outcome"] for attempt in found.attempts} <= {"loaded", "cancelled"}
    assert found.models[STARTER]["status"] in ("unknown", "compatible")


def quit_while_it_starts(window: Window, choose: random.Random) -> None:
    pause(choose.uniform(0, 1.5))
    quit_now(window, choose)


def quit_while_it_runs(window: Window, choose: random.Random) -> None:
    with window.wait_for_the_core():
        pause(choose.uniform(0, 1.0))
    quit_now(window, choose)


def quit_during_a_load(window: Window, choose: random.Random) -> None:
    """A load that was asked for is cancelled, or has ended before."""
    with window.wait_for_the_core() as http, ThreadPoolExecutor(1) as pool:
        loading = pool.submit(http.post, "/api/orchestrate/load", json={"model_name": STARTER})
        wait([loading], choose.uniform(0, 1.2))
        quit_now(window, choose)
        assert loading.result().status_code in (200, 409)


def pause(seconds: float) -> None:
    """Chance chooses the moment, so here time passes and nothing is waited for."""
    time.sleep(seconds)


def quit_now(window: Window, choose: random.Random) -> None:
    window.process.send_signal(choose.choice([signal.SIGTERM, signal.SIGINT]))
