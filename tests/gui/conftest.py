"""Fixtures of the window's tests: a running qasync loop, a fake core and a store connected to it.

Tests are plain functions: asyncio steps whenever Qt does, so `qtbot.waitUntil` and `finish` let tasks run.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

sys.path.insert(0, str(Path(__file__).parent))

from fake_core import FakeCore

from quarterdeck.gui import theme
from quarterdeck.gui.store import Store

T = TypeVar("T")


@pytest.fixture(scope="session")
def one_loop(qapp: QApplication) -> Iterator[asyncio.AbstractEventLoop]:
    """One loop for all tests: a second one in the same process would find Qt's quit flag set by the first."""
    from qasync import QEventLoop

    theme.install(qapp, "light")
    loop = QEventLoop(qapp, already_running=True)
    asyncio.events._set_running_loop(None)
    yield loop
    loop.stop()
    qapp.aboutToQuit.disconnect(loop._after_run_forever)
    loop.close()


@pytest.fixture(autouse=True)
def qt_loop(qapp: QApplication, one_loop: asyncio.AbstractEventLoop) -> Iterator[asyncio.AbstractEventLoop]:
    """The asyncio loop, stepped by Qt; tasks that a test left behind are cancelled."""
    asyncio.events._set_running_loop(one_loop)
    yield one_loop
    tasks = asyncio.all_tasks(one_loop)
    for task in tasks:
        task.cancel()
    for _ in range(200):
        if all(task.done() for task in tasks):
            break
        qapp.processEvents()
    asyncio.events._set_running_loop(None)
    left = [task.get_name() for task in tasks if not task.done()]
    assert not left, f"tasks that do not end when cancelled: {left}"


@pytest.fixture
def finish(qtbot: QtBot, qt_loop: asyncio.AbstractEventLoop) -> Callable[[Coroutine[Any, Any, T]], T]:
    """Run a coroutine to its end while Qt runs too, and give its result."""

    def run(work: Coroutine[Any, Any, T]) -> T:
        task = qt_loop.create_task(work)
        qtbot.waitUntil(task.done, timeout=10_000)
        return task.result()

    return run


@pytest.fixture
def core() -> FakeCore:
    """A fake core with one model of each kind of status."""
    made = FakeCore()
    made.add("smollm2-135m", status="compatible", size_bytes=100 * 1024**2)
    made.add("qwen3-8b")
    made.add("llama-70b", status="incompatible", notes="2026-05-01: crashed while loading (SIGSEGV).")
    made.add("mistral-7b", status="degraded", notes="Needed three attempts.")
    return made


@pytest.fixture
def store(core: FakeCore, qtbot: QtBot, finish: Callable[[Coroutine[Any, Any, Any]], Any]) -> Iterator[Store]:
    """A store connected to `core`, with everything fetched."""
    made = Store()
    finish(made.connect_to(core.client()))
    qtbot.waitUntil(lambda: made.connected and bool(core.streams))
    yield made
    finish(made.aclose())
