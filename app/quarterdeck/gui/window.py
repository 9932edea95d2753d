"""The main window: sidebar, pages made when first visited, banners and toasts."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QEvent, QSettings, QSize, Qt, Signal, Slot
from PySide6.QtGui import (
    QAction,
    QCloseEvent,
    QDragEnterEvent,
    QDropEvent,
    QGuiApplication,
    QHideEvent,
    QKeySequence,
    QPaintEvent,
    QResizeEvent,
    QShowEvent,
)
from PySide6.QtWidgets import QHBoxLayout, QMainWindow, QStackedWidget, QVBoxLayout, QWidget

from quarterdeck.gui.dropping import dropped_files
from quarterdeck.gui.widgets.banner import BannerArea
from quarterdeck.gui.widgets.notice import Notice
from quarterdeck.gui.widgets.sidebar import PLACES, Sidebar
from quarterdeck.gui.widgets.toast import ToastArea

if TYPE_CHECKING:
    from quarterdeck.errors import AppError

SMALLEST = QSize(900, 600)
USUAL = QSize(1180, 760)
NARROW_BELOW = 1000

PageMaker = Callable[[str], QWidget]


class MainWindow(QMainWindow):
    """Emits `close_wanted` for the close button and `quit_wanted` for Ctrl+Q; it never closes on its own account."""

    painted = Signal()
    close_wanted = Signal()
    quit_wanted = Signal()
    activity_changed = Signal(bool)
    files_dropped = Signal(list)

    def __init__(self, memory: QSettings) -> None:
        super().__init__()
        self.closing = False
        self.memory = memory
        self._make_page: PageMaker | None = None
        self._pages: dict[str, QWidget] = {}
        self._active = False
        self._painted = False
        self.setWindowTitle("Quarterdeck")
        self.setMinimumSize(SMALLEST)
        self.setAcceptDrops(True)
        self.sidebar = Sidebar()
        self.banners = BannerArea()
        self._stack = QStackedWidget()
        content = QWidget()
        column = QVBoxLayout(content)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.banners)
        column.addWidget(self._stack, 1)
        body = QWidget()
        row = QHBoxLayout(body)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(0)
        row.addWidget(self.sidebar)
        row.addWidget(content, 1)
        self.setCentralWidget(body)
        self.toasts = ToastArea(content)
        self.notice = Notice("queued", "neutral", "Starting…")
        self._stack.addWidget(self.notice)
        self.notice.setFocus()
        self.sidebar.chosen.connect(self.go)
        self.current = self._remembered_page()
        self.sidebar.choose(self.current)
        self._add_actions()
        self._restore_geometry()

    def show_starting(self, heading: str = "Starting…", text: str = "") -> None:
        self._show_notice(Notice("queued", "neutral", heading, text))

    def show_error(self, error: AppError, try_again: Callable[[], object]) -> None:
        """The whole content says why there is nothing to show, and what to do."""
        notice = Notice("error", "error", error.sentence, error.hint)
        notice.add_button("Try again", try_again, primary=True)
        details = f"{error.sentence}\n{error.hint}\nCode: {error.code}\n"
        details += "".join(f"{key}: {value}\n" for key, value in error.details.items())
        notice.add_button("Copy details", lambda: self._copy(details, "Copied the details."))
        self._show_notice(notice)

    def fill(self, make_page: PageMaker) -> None:
        """From now on there is something to show: pages are made by `make_page(key)` when first visited."""
        self._make_page = make_page
        self.go(self.current)

    @property
    def filled(self) -> bool:
        return self._make_page is not None

    def page(self) -> QWidget | None:
        """The page in front, or None while there is a notice instead."""
        return self._pages.get(self.current) if self.filled else None

    def made_page(self, key: str) -> QWidget | None:
        """A page that was visited, whether it is in front or not."""
        return self._pages.get(key)

    @Slot(str)
    def go(self, key: str) -> None:
        """Show a page; remembered for the next start."""
        before = self.page()
        self.current = key
        self.sidebar.choose(key)
        self.memory.setValue("page", key)
        if self._make_page is None:
            return
        page = self._pages.get(key)
        if page is None:
            page = self._pages[key] = self._make_page(key)
            if not page.accessibleName():
                page.setAccessibleName(self.sidebar.buttons[key].text())
            self._stack.addWidget(page)
        self._stack.setCurrentWidget(page)
        # Not a button of the sidebar: Tab leads into the page from here.
        page.setFocus()
        if before is not page:
            _tell(before, shown=False)
        _tell(page, shown=self._active)

    def bring_to_front(self) -> None:
        """Show the window wherever it was: hidden, minimised or behind others."""
        if self.isMinimized():
            self.setWindowState(self.windowState() & ~Qt.WindowState.WindowMinimized | Qt.WindowState.WindowActive)
        self.show()
        self.raise_()
        self.activateWindow()

    def copy_address(self, url: str) -> None:
        self._copy(url, f"Copied {url}. Clients use it as their base address.")

    def once(self, key: str) -> bool:
        """True the first time this is asked for `key`, on this or any earlier run."""
        if self.memory.value(key):
            return False
        self.memory.setValue(key, "yes")
        return True

    def remember(self) -> None:
        """Write size and place for the next start."""
        self.memory.setValue("geometry", self.saveGeometry())
        self.memory.sync()

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if self.filled and dropped_files(event):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        event.acceptProposedAction()
        self.files_dropped.emit(dropped_files(event))

    def closeEvent(self, event: QCloseEvent) -> None:
        if self.closing:
            event.accept()
            return
        event.ignore()
        self.close_wanted.emit()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._look()

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self._look()

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.WindowStateChange:
            self._look()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.sidebar.set_narrow(self.width() < NARROW_BELOW)

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        if not self._painted:
            self._painted = True
            self.painted.emit()

    def _look(self) -> None:
        """Tell store and page whether anybody can see them."""
        active = self.isVisible() and not self.isMinimized()
        if active == self._active:
            return
        self._active = active
        _tell(self.page(), shown=active)
        self.activity_changed.emit(active)

    def _show_notice(self, notice: Notice) -> None:
        old, self.notice = self.notice, notice
        self._stack.addWidget(notice)
        self._stack.setCurrentWidget(notice)
        notice.setFocus()
        self._stack.removeWidget(old)
        old.deleteLater()

    def _copy(self, text: str, said: str) -> None:
        QGuiApplication.clipboard().setText(text)
        self.toasts.show_toast(said, "ok")

    def _remembered_page(self) -> str:
        remembered = str(self.memory.value("page", PLACES[0].key))
        return remembered if remembered in {place.key for place in PLACES} else PLACES[0].key

    def _restore_geometry(self) -> None:
        saved: Any = self.memory.value("geometry")
        if saved is not None and self.restoreGeometry(saved):
            return
        room = self.screen().availableSize()
        self.resize(USUAL.boundedTo(QSize(room.width() - 60, room.height() - 80)).expandedTo(SMALLEST))

    def _add_actions(self) -> None:
        for number, place in enumerate(PLACES, start=1):
            keys = [QKeySequence(f"Ctrl+{number}")]
            if place.key == "settings":
                keys.append(QKeySequence("Ctrl+,"))
            self._action(f"Show {place.title}", keys, self._go_later(place.key))
        self._action("Quit", [QKeySequence("Ctrl+Q")], self.quit_wanted.emit)
        self._action("Close the window", [QKeySequence("Ctrl+W")], self.close)
        self._action("Copy the address for clients", [QKeySequence("Ctrl+Shift+C")], self.sidebar.address.click)

    def _go_later(self, key: str) -> Callable[[], None]:
        return lambda: self.go(key)

    def _action(self, text: str, keys: list[QKeySequence], what: Callable[[], object]) -> None:
        action = QAction(text, self)
        action.setShortcuts(keys)
        # Called without the `checked` that the signal carries.
        action.triggered.connect(lambda _checked=False: what())
        self.addAction(action)


def load_page(key: str) -> Any:
    """The class of a page, imported now: pages bring their libraries with them."""
    place = next(place for place in PLACES if place.key == key)
    return getattr(importlib.import_module(place.module), place.page)


def _tell(page: QWidget | None, *, shown: bool) -> None:
    if page is None or bool(page.property("told")) == shown:
        return
    page.setProperty("told", shown)
    method = getattr(page, "page_shown" if shown else "page_hidden", None)
    if method is not None:
        method()
