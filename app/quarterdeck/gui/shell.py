"""Holds the window, the tray and the core together, from the first frame to the last. Runs on the Qt loop."""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, cast, runtime_checkable

from PySide6.QtCore import QObject, Slot
from PySide6.QtGui import QGuiApplication, QSessionManager
from PySide6.QtWidgets import QApplication, QWidget

from quarterdeck.errors import AppError
from quarterdeck.gui import theme
from quarterdeck.gui.backend_commands import BackendCommands
from quarterdeck.gui.commands import Commands
from quarterdeck.gui.desktop.closing import Closing
from quarterdeck.gui.desktop.signals import Termination
from quarterdeck.gui.desktop.tray import Tray
from quarterdeck.gui.dialogs.ask import confirm
from quarterdeck.gui.notices import Notices
from quarterdeck.gui.store import Store
from quarterdeck.gui.threads import in_thread
from quarterdeck.gui.window import load_page
from quarterdeck.tasks import spawn

if TYPE_CHECKING:
    from pathlib import Path

    from quarterdeck.gui.app import CoreHandle, CoreSource
    from quarterdeck.gui.desktop.single_instance import SingleInstance
    from quarterdeck.gui.window import MainWindow
    from quarterdeck.settings import Settings

STOP_PATIENCE_S = 10.0
FORCED = 3

_log = logging.getLogger(__name__)


@runtime_checkable
class HasUnsaved(Protocol):
    """A page on which a person may have typed what is not saved yet."""

    def unsaved(self) -> set[str]: ...


class Shell(QObject):
    """The running app. `run` ends when everything has been stopped in order."""

    def __init__(
        self,
        app: QApplication,
        window: MainWindow,
        instance: SingleInstance,
        *,
        settings: Settings,
        source: CoreSource,
        minimized: bool,
        make_tray: Callable[[Store], Tray] = Tray,
    ) -> None:
        super().__init__()
        self.window = window
        self.store = Store()
        self.store.owns_core = not isinstance(source, tuple)
        self._app = app
        self._instance = instance
        self._settings = settings
        self._source = source
        self._core: CoreHandle | None = None
        self._starting: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self.asking = False
        self.tray = make_tray(self.store)
        self.commands = Commands(self.store, window)
        self.backend_commands = BackendCommands(self.store, window)
        self.notices = Notices(self.store, window)
        self.closing = Closing(window, self.tray, self._close_action)
        self._connect()
        if minimized:
            self.closing.start_minimized()

    async def run(self, termination: Termination) -> int:
        """Start the core, wait until somebody wants to quit, stop in order; returns the exit code."""
        termination.hand_over(asyncio.get_running_loop(), self.quit_now)
        self._instance.listen()
        if not self._stopping.is_set():
            self.start()
        await self._stopping.wait()
        await self._stop()
        return 0

    @Slot()
    def start(self) -> None:
        """Start the core, or try again after it could not."""
        if self._starting is None or self._starting.done():
            self._starting = spawn(self._start(), name="start")

    @Slot()
    def quit(self) -> None:
        """Quit as a person asks for it: a load under way is asked about first; asked twice, it is done."""
        question = self._question()
        if question is not None and not self.asking:
            spawn(self._ask_to_quit(*question), name="ask to quit")
        else:
            self.quit_now()

    @Slot()
    def quit_now(self) -> None:
        """Quit without questions; a second call while stopping ends the process at once."""
        if self._stopping.is_set():
            _log.warning("asked to quit twice, ending at once")
            os._exit(FORCED)
        self._stopping.set()

    @property
    def stopping(self) -> bool:
        """Whether quitting is decided."""
        return self._stopping.is_set()

    def stop_without_display(self) -> None:
        """Stop the core when there is no loop any more (blocking)."""
        _log.warning("the display went away")
        core, self._core = self._core, None
        if core is not None:
            core.stop()

    def _connect(self) -> None:
        self.window.quit_wanted.connect(self.quit)
        self.window.close_wanted.connect(self._on_close_wanted)
        self.window.activity_changed.connect(self.store.set_visible)
        self.window.activity_changed.connect(self.tray.window_shown)
        self.window.sidebar.address_wanted.connect(self.notices.copy_address)
        self.window.files_dropped.connect(self._on_files_dropped)
        self.commands.details_wanted.connect(self._on_details_wanted)
        self.store.set_visible(self.window.isVisible())
        self.tray.window_shown(self.window.isVisible())
        self._instance.raise_requested.connect(self.window.bring_to_front)
        self._app.commitDataRequest.connect(self._on_session_end)
        self.store.connection_changed.connect(self._on_connection)
        self.store.connection_failed.connect(self._on_connection_failed)
        self.store.settings_changed.connect(self._on_settings)
        self.tray.toggle_wanted.connect(self.closing.toggle)
        self.tray.quit_wanted.connect(self.quit)
        self.tray.unload_wanted.connect(self.commands.unload)
        self.tray.cancel_wanted.connect(self.commands.cancel)
        self.tray.unload_all_wanted.connect(self.commands.unload_all)
        self.tray.restart_wanted.connect(self.backend_commands.restart)

    async def _start(self) -> None:
        self.window.show_starting()
        self.notices.starting()
        try:
            address = await self._find_core()
            if self._stopping.is_set():
                return
            # httpx is imported while the core starts, not before the first frame.
            from quarterdeck.client.api import ApiClient

            await self.store.connect_to(ApiClient(*address))
        except AppError as error:
            self._show_error(error)
        except Exception as defect:  # noqa: BLE001 - a defect in the core must not leave an empty window
            _log.exception("the core could not be started")
            self._show_error(_unexpected(defect))

    async def _find_core(self) -> tuple[str, str]:
        if isinstance(self._source, tuple):
            return self._source
        if self._core is None:
            self._core = await in_thread("start core", self._source)
        return self._core.control_url, self._core.token

    def _show_error(self, error: AppError) -> None:
        self.notices.failed(error)
        self.window.show_error(error, self.start)

    @Slot(bool)
    def _on_connection(self, connected: bool) -> None:
        if connected and not self.window.filled:
            self.window.fill(self._make_page)

    @Slot(object)
    def _on_connection_failed(self, error: AppError) -> None:
        if not self.window.filled and not self._stopping.is_set():
            self.window.show_error(error, self.start)

    def _make_page(self, key: str) -> QWidget:
        started = time.perf_counter()
        page: Any
        match key:
            case "models":
                page = load_page(key)(self.store, self.commands, self.backend_commands, self.window.memory)
            case "backends":
                page = load_page(key)(self.store, self.backend_commands)
            case _:
                page = load_page(key)(self.store)
        if key in ("models", "backends", "requests"):
            page.why_wanted.connect(self._on_why_wanted)
        if key == "backends":
            page.logs_wanted.connect(self._on_logs_wanted)
        if key == "requests":
            page.connect_wanted.connect(self._on_connect_wanted)
        if key == "diagnosis":
            page.subject_wanted.connect(self._on_subject_wanted)
        if key == "logs":
            page.issue_wanted.connect(self._on_issue_wanted)
        _log.debug("page %s made in %.0f ms", key, (time.perf_counter() - started) * 1000)
        return cast("QWidget", page)

    @Slot(str)
    def _on_logs_wanted(self, source: str) -> None:
        self.window.go("logs")
        page: Any = self.window.made_page("logs")
        page.show_source(source)

    @Slot(str)
    def _on_why_wanted(self, subject: str) -> None:
        self.window.go("diagnosis")
        page: Any = self.window.made_page("diagnosis")
        page.show_problem(subject)

    @Slot(str)
    def _on_issue_wanted(self, id: str) -> None:
        self.window.go("diagnosis")
        page: Any = self.window.made_page("diagnosis")
        page.show_issue(id)

    @Slot(str)
    def _on_subject_wanted(self, subject: str) -> None:
        kind, _, name = subject.partition(":")
        self.window.go("models" if kind == "model" else "backends")
        if kind == "model":
            page: Any = self.window.made_page("models")
            page.show_details(name)

    @Slot()
    def _on_connect_wanted(self) -> None:
        self.window.go("connect")

    @Slot(list)
    def _on_files_dropped(self, files: list[Path]) -> None:
        self.window.go("models")
        page: Any = self.window.made_page("models")
        page.add_files(files)

    @Slot(str)
    def _on_details_wanted(self, name: str) -> None:
        self.window.bring_to_front()
        self.window.go("models")
        page: Any = self.window.made_page("models")
        page.show_history(name)

    @Slot()
    def _on_settings(self) -> None:
        setting = self.store.settings.get("theme")
        if setting is not None:
            theme.choose(str(setting.value))

    def _close_action(self) -> str:
        setting = self.store.settings.get("close_action")
        return str(setting.value) if setting is not None else self._settings.close_action

    @Slot()
    def _on_close_wanted(self) -> None:
        if not self.closing.close():
            self.quit()

    @Slot(QSessionManager)
    def _on_session_end(self, manager: QSessionManager) -> None:
        # The desktop ends the session: no questions, and a restart is not ours to ask for.
        manager.setRestartHint(QSessionManager.RestartHint.RestartNever)
        self.window.closing = True
        self._stopping.set()

    def _question(self) -> tuple[str, str, str] | None:
        """Title, text and verb where quitting would lose something; the core of another process goes on anyway."""
        loading = [model.name for model in self.store.loading()]
        if loading and self.store.connected and self.store.owns_core:
            text = "Quitting stops the load; the model counts as it did before. Loaded models are unloaded too."
            return f"Quit while {loading[0]} is loading?", text, "Stop loading and quit"
        pages: list[object] = [self.window.made_page(key) for key in ("models", "routing")]
        unsaved = [what for page in pages if isinstance(page, HasUnsaved) for what in sorted(page.unsaved())]
        if unsaved:
            text = "What you changed was not saved and will be lost."
            return f"Quit without saving the changes to {', '.join(unsaved)}?", text, "Quit without saving"
        return None

    async def _ask_to_quit(self, title: str, text: str, verb: str) -> None:
        self.asking = True
        self.window.bring_to_front()
        try:
            sure = await confirm(self.window, title=title, text=text, verb=verb, danger=True)
        finally:
            self.asking = False
        if sure and not self._stopping.is_set():
            self.quit_now()

    async def _stop(self) -> None:
        started = time.perf_counter()
        self.window.closing = True
        self.window.remember()
        self.tray.hide()
        self.window.hide()
        await self.store.aclose()
        await self._stop_core()
        self._instance.release()
        await _end_other_tasks()
        self.window.close()
        QGuiApplication.processEvents()
        _log.info("window stopped after %.0f ms", (time.perf_counter() - started) * 1000)

    async def _stop_core(self) -> None:
        try:
            async with asyncio.timeout(STOP_PATIENCE_S):
                if self._starting is not None:
                    # A core that is just starting is let finish, so that it can be stopped in order.
                    await self._starting
                core, self._core = self._core, None
                if core is not None:
                    await in_thread("stop core", core.stop)
        except TimeoutError:
            _log.critical("the core did not stop within %.0f s", STOP_PATIENCE_S)
            faulthandler.dump_traceback()
            os._exit(FORCED)


async def _end_other_tasks() -> None:
    """What pages still wait for ends before their widgets do."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


def _unexpected(defect: Exception) -> AppError:
    return AppError(
        "internal",
        f"Quarterdeck could not start because of a defect: {defect}.",
        "Try again. If it stays, report it with the details and the log.",
        status=500,
        details={"type": type(defect).__name__},
    )
