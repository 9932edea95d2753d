"""Starts the window: first frame first, then the core, then everything else."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from PySide6.QtCore import QCoreApplication, QObject, QSettings, Slot
from PySide6.QtWidgets import QApplication

from quarterdeck.gui import theme
from quarterdeck.gui.desktop.signals import Termination
from quarterdeck.gui.desktop.single_instance import SingleInstance
from quarterdeck.gui.window import MainWindow

if TYPE_CHECKING:
    from quarterdeck.settings import Folders, Settings

FIRST_FRAME_S = 1.0
LOOP_STOPPED = "Event loop stopped before"

_log = logging.getLogger(__name__)


class CoreHandle(Protocol):
    """A core in this process. `stop` blocks until its thread has ended, a few seconds at most."""

    @property
    def control_url(self) -> str: ...

    @property
    def token(self) -> str: ...

    def stop(self) -> None: ...


CoreSource = Callable[[], CoreHandle] | tuple[str, str]
"""Starts a core, or names the address and the token of a running one."""


def run_app(
    *,
    folders: Folders,
    settings: Settings,
    start_core: Callable[[], CoreHandle] | None,
    url: str | None,
    token: str | None,
    minimized: bool,
) -> int:
    """Run the desktop app until it is quit; returns the exit code.

    The core is either started by `start_core` (blocking, in a thread, may raise AppError) or runs already at `url`.
    """
    termination = Termination()
    instance = SingleInstance(folders.data)
    if not instance.acquire():
        return _raise_other(instance)
    app = _application()
    theme.install(app, settings.theme)
    window = MainWindow(QSettings(str(folders.data / "window.ini"), QSettings.Format.IniFormat))
    if not minimized:
        frame = _FirstFrame(window)
        window.show()
        frame.wait(app)
    try:
        source = start_core or (url or "", token or "")
        return _run(
            app, window, instance, termination=termination, settings=settings, source=source, minimized=minimized
        )
    finally:
        instance.release()
        window.deleteLater()


def _run(
    app: QApplication,
    window: MainWindow,
    instance: SingleInstance,
    *,
    termination: Termination,
    settings: Settings,
    source: CoreSource,
    minimized: bool,
) -> int:
    # Imported after the first frame: asyncio's Qt loop and the pieces that talk to the core cost more than the frame.
    from qasync import QEventLoop

    from quarterdeck.gui.shell import Shell

    loop = QEventLoop(app)
    with loop:
        shell = Shell(app, window, instance, settings=settings, source=source, minimized=minimized)
        try:
            return int(loop.run_until_complete(shell.run(termination)))
        except RuntimeError as error:
            if LOOP_STOPPED not in str(error):
                raise
            # Qt gives up its loop when the display goes away; what the core started must still end in order.
            shell.stop_without_display()
            return 1


def _application() -> QApplication:
    QCoreApplication.setApplicationName("Quarterdeck")
    QCoreApplication.setOrganizationName("Quarterdeck")
    existing = QApplication.instance()
    app = existing if isinstance(existing, QApplication) else QApplication(["quarterdeck"])
    app.setApplicationDisplayName("Quarterdeck")
    app.setDesktopFileName("quarterdeck")
    app.setWindowIcon(theme.app_icon())
    app.setQuitOnLastWindowClosed(False)
    return app


def _raise_other(instance: SingleInstance) -> int:
    # A local socket needs an application object to wait on.
    application = QCoreApplication.instance() or QCoreApplication(["quarterdeck"])
    if instance.ring():
        sys.stdout.write("Quarterdeck is already running; its window was brought to the front.\n")
        code = 0
    else:
        sys.stderr.write("Quarterdeck is already running but does not answer. End its process, then start it again.\n")
        code = 1
    del application
    return code


class _FirstFrame(QObject):
    """Waits for the first paint of the window and writes into the log how long it took since the process started."""

    def __init__(self, window: MainWindow) -> None:
        super().__init__()
        self._done = False
        window.painted.connect(self._on_painted)

    def wait(self, app: QApplication) -> None:
        deadline = time.monotonic() + FIRST_FRAME_S
        while not self._done and time.monotonic() < deadline:
            app.processEvents()
        # The paint event has run; this hands the painted frame to the display.
        app.processEvents()

    @Slot()
    def _on_painted(self) -> None:
        self._done = True
        _log.info("first frame after %.0f ms", _running_s() * 1000)


def _running_s() -> float:
    """Seconds since this process was started, with the interpreter's own start."""
    if sys.platform.startswith("linux"):
        # Not psutil's create_time: that rests on a boot time in whole seconds.
        fields = Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")
    import psutil

    return time.time() - psutil.Process().create_time()
