"""Runs the app with the fake core for the tests of the app as a process. Arguments: data folder, scenario words."""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from quarterdeck.errors import AppError
from quarterdeck.gui.app import run_app
from quarterdeck.settings import Folders, Settings

log = logging.getLogger("program")
words = set(sys.argv[2:])
tries: list[int] = []


class Core:
    """The fake core behind the interface of the real one."""

    control_url = "http://core.test"
    token = "token"

    def stop(self) -> None:
        log.info("core stopping")
        while "hang" in words:
            time.sleep(0.1)
        log.info("core stopped")


def start_core() -> Core:
    tries.append(1)
    if "fail-once" in words and len(tries) == 1:
        raise AppError("read_only", "The data folder cannot be written.", "Check its permissions.")
    time.sleep(1.0 if "slow" in words else 0.05)
    from fake_core import FakeCore

    from quarterdeck.client.api import ApiClient

    core = FakeCore()
    core.add("smollm2-135m", status="compatible")
    original, closed = ApiClient.__init__, ApiClient.aclose

    def init(self: ApiClient, base_url: str, token: str, **_: object) -> None:
        original(self, base_url, token, transport=core)

    async def aclose(self: ApiClient) -> None:
        await closed(self)
        log.info("client closed")

    ApiClient.__init__, ApiClient.aclose = init, aclose
    log.info("core started")
    return Core()


def watch() -> None:
    """Say in the log what the tests look for."""
    from quarterdeck.gui.desktop.tray import Tray
    from quarterdeck.gui.window import MainWindow

    fill, error, front, hide, remember = (
        MainWindow.fill, MainWindow.show_error, MainWindow.bring_to_front, Tray.hide, MainWindow.remember,
    )  # fmt: skip

    def filled(self: MainWindow, make: object) -> None:
        fill(self, make)
        log.info("window filled")

    def failed(self: MainWindow, problem: AppError, again: object) -> None:
        error(self, problem, again)
        log.info("window shows: %s", problem.sentence)
        if "fail-once" in words and callable(again):
            again_later(again)

    def raised(self: MainWindow) -> None:
        front(self)
        log.info("window raised")

    def hidden(self: Tray) -> None:
        hide(self)
        log.info("tray hidden")

    def remembered(self: MainWindow) -> None:
        log.info("visible %s minimised %s", self.isVisible(), self.isMinimized())
        remember(self)

    def again_later(again: object) -> None:
        from PySide6.QtCore import QTimer

        QTimer.singleShot(10, again)

    MainWindow.fill, MainWindow.show_error, MainWindow.bring_to_front = filled, failed, raised
    Tray.hide, MainWindow.remember = hidden, remembered


logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
watch()
data = Path(sys.argv[1])
folders = Folders(data, data)
minimized = "minimized" in words
sys.exit(
    run_app(folders=folders, settings=Settings(), start_core=start_core, url=None, token=None, minimized=minimized)
)
