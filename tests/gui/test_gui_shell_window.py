"""The main window: pages on first visit, keyboard, names for screen readers, notices, what is remembered."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_core import FakeCore
from PySide6.QtCore import QCoreApplication, QEvent, QMimeData, QPoint, QPointF, QSettings, Qt, QUrl
from PySide6.QtGui import QAction, QDragEnterEvent, QDropEvent, QGuiApplication, QShortcut
from PySide6.QtWidgets import QAbstractButton, QLabel, QPushButton, QWidget
from pytestqt.qtbot import QtBot

from quarterdeck.errors import AppError
from quarterdeck.gui.backend_commands import BackendCommands
from quarterdeck.gui.commands import Commands
from quarterdeck.gui.notices import Notices
from quarterdeck.gui.store import Store
from quarterdeck.gui.widgets.sidebar import PLACES
from quarterdeck.gui.window import MainWindow, load_page
from quarterdeck.schemas.system import IssueView

NO_KEYS = Qt.KeyboardModifier.NoModifier


class Page(QWidget):
    """Records what the window tells it."""

    def __init__(self, key: str) -> None:
        super().__init__()
        self.key = key
        self.told: list[str] = []

    def page_shown(self) -> None:
        self.told.append("shown")

    def page_hidden(self) -> None:
        self.told.append("hidden")


@pytest.fixture
def memory(tmp_path: Path) -> QSettings:
    return QSettings(str(tmp_path / "window.ini"), QSettings.Format.IniFormat)


@pytest.fixture
def window(qtbot: QtBot, memory: QSettings) -> Iterator[MainWindow]:
    made = MainWindow(memory)
    qtbot.addWidget(made)
    made.show()
    qtbot.waitExposed(made)
    yield made
    made.closing = True


@pytest.fixture
def full(window: MainWindow, store: Store, qt_loop: asyncio.AbstractEventLoop, qtbot: QtBot) -> Iterator[MainWindow]:
    """A window with all real pages, connected to the fake core."""
    commands, backends = Commands(store, window), BackendCommands(store, window)
    Notices(store, window).refresh()

    def make(key: str) -> QWidget:
        kind = load_page(key)
        given = {"models": (commands, backends, window.memory), "backends": (backends,)}
        return kind(store, *given.get(key, ()))

    window.fill(make)
    yield window
    feed = asyncio.all_tasks(qt_loop)
    for task in feed:
        task.cancel()
    qtbot.waitUntil(lambda: all(task.done() for task in feed))


def test_pages_are_made_on_the_first_visit_only(window: MainWindow) -> None:
    made: list[str] = []

    def make(key: str) -> QWidget:
        made.append(key)
        return Page(key)

    window.fill(make)
    assert made == ["models"]
    window.go("gpu")
    window.go("models")
    window.go("gpu")
    assert made == ["models", "gpu"]


def test_pages_hear_when_they_are_seen(window: MainWindow, qtbot: QtBot) -> None:
    window.fill(Page)
    first = window.page()
    assert isinstance(first, Page)
    assert first.told == ["shown"]
    window.go("gpu")
    assert first.told == ["shown", "hidden"]
    with qtbot.waitSignal(window.activity_changed):
        window.hide()
    second = window.page()
    assert isinstance(second, Page)
    assert second.told == ["shown", "hidden"]
    window.show()
    assert second.told == ["shown", "hidden", "shown"]


def test_shortcuts_lead_to_pages(window: MainWindow, qtbot: QtBot) -> None:
    window.fill(Page)
    window.activateWindow()
    qtbot.waitActive(window)
    for number, place in enumerate(PLACES, start=1):
        qtbot.keyClick(window, getattr(Qt.Key, f"Key_{number}"), Qt.KeyboardModifier.ControlModifier)
        assert window.current == place.key
        assert window.sidebar.buttons[place.key].isChecked()
    qtbot.keyClick(window, Qt.Key.Key_1, Qt.KeyboardModifier.ControlModifier)
    qtbot.keyClick(window, Qt.Key.Key_Comma, Qt.KeyboardModifier.ControlModifier)
    assert window.current == "settings"


def test_page_and_notes_are_remembered(window: MainWindow, memory: QSettings, qtbot: QtBot) -> None:
    window.go("logs")
    assert window.once("told/x")
    assert not window.once("told/x")
    window.remember()
    again = MainWindow(QSettings(memory.fileName(), QSettings.Format.IniFormat))
    qtbot.addWidget(again)
    again.closing = True
    assert again.current == "logs"
    assert not again.once("told/x")


def test_a_nonsense_memory_does_no_harm(tmp_path: Path, qtbot: QtBot) -> None:
    (tmp_path / "window.ini").write_bytes(b"[General]\npage=nowhere\ngeometry=@ByteArray(rubbish)\n\xff\xfe")
    window = MainWindow(QSettings(str(tmp_path / "window.ini"), QSettings.Format.IniFormat))
    qtbot.addWidget(window)
    window.closing = True
    assert window.current == "models"
    assert window.width() >= 900


def test_the_close_button_only_asks(window: MainWindow, qtbot: QtBot) -> None:
    with qtbot.waitSignal(window.close_wanted):
        window.close()
    assert window.isVisible()


def test_an_error_fills_the_window_with_what_to_do(window: MainWindow) -> None:
    tried: list[int] = []
    window.show_error(
        AppError("too_new", "The database is newer.", "Install a newer Quarterdeck."), lambda: tried.append(1)
    )
    words = " ".join(label.text() for label in window.findChildren(QLabel))
    assert "The database is newer." in words
    assert "Install a newer Quarterdeck." in words
    buttons = {button.text(): button for button in window.findChildren(QPushButton) if button.isVisible()}
    buttons["Try again"].click()
    assert tried == [1]
    buttons["Copy details"].click()
    assert "too_new" in QGuiApplication.clipboard().text()


def test_the_sidebar_collapses_in_a_small_window(window: MainWindow) -> None:
    window.resize(1100, 700)
    wide = window.sidebar.width()
    window.resize(920, 700)
    assert window.sidebar.width() < wide
    assert window.sidebar.buttons["gpu"].accessibleName() == "GPU"


def test_the_address_is_shown_and_copied(full: MainWindow, qtbot: QtBot) -> None:
    assert "127.0.0.1:8100/v1" in full.sidebar.address.accessibleName()
    full.sidebar.address_wanted.connect(lambda: full.copy_address("http://127.0.0.1:8100/v1"))
    full.sidebar.address.click()
    assert QGuiApplication.clipboard().text() == "http://127.0.0.1:8100/v1"


def test_an_issue_is_a_banner_with_a_deed(full: MainWindow, core: FakeCore, qtbot: QtBot) -> None:
    core.publish(
        "issue", "raised", IssueView(code="port_in_use", sentence="Port 8100 is taken.", hint="Choose another.")
    )
    qtbot.waitUntil(lambda: bool(full.banners.banners))
    banner = full.banners.banners["issue:port_in_use"]
    assert "Port 8100 is taken." in banner.accessibleName()
    banner.findChild(QPushButton).click()
    assert full.current == "settings"
    core.publish("issue", "cleared", {"code": "port_in_use"})
    qtbot.waitUntil(lambda: not full.banners.banners)


def test_a_lost_core_is_said_until_it_is_back(full: MainWindow, core: FakeCore, qtbot: QtBot) -> None:
    core.drop()
    qtbot.waitUntil(lambda: "connection" in full.banners.banners)
    assert full.sidebar.state == "Not connected"
    core.online = True
    qtbot.waitUntil(lambda: "connection" not in full.banners.banners)
    assert full.sidebar.state == "Ready, no model loaded"


def test_dropped_model_files_are_announced_once_there_are_pages(window: MainWindow, qtbot: QtBot) -> None:
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(name) for name in ("/data/a.gguf", "/data/readme.txt")])
    drop = QDropEvent(QPointF(5, 5), Qt.DropAction.CopyAction, data, Qt.MouseButton.LeftButton, NO_KEYS)
    enter = QDragEnterEvent(QPoint(5, 5), Qt.DropAction.CopyAction, data, Qt.MouseButton.LeftButton, NO_KEYS)
    window.dragEnterEvent(enter)
    assert not window.filled
    assert not enter.isAccepted()
    window.fill(Page)
    window.dragEnterEvent(enter)
    assert enter.isAccepted()
    with qtbot.waitSignal(window.files_dropped) as dropped:
        window.dropEvent(drop)
    assert dropped.args == [[Path("/data/a.gguf")]]


def test_toasts_are_few_and_can_undo(window: MainWindow, qtbot: QtBot) -> None:
    done: list[int] = []
    for number in range(5):
        window.toasts.show_toast(f"message {number}", "info")
    window.toasts.show_toast("message 4", "info")
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    assert [toast.text for toast in window.toasts.toasts()] == ["message 2", "message 3", "message 4"]
    window.toasts.offer("Unloaded qwen3-8b.", "Load again", lambda: done.append(1))
    button = next(b for b in window.toasts.findChildren(QPushButton) if b.text() == "Load again")
    label = next(one for one in button.parentWidget().findChildren(QLabel) if one.text())
    assert label.geometry().right() < button.geometry().left()
    button.click()
    assert done == [1]


def _unnamed(root: QWidget) -> list[str]:
    found = []
    for widget in root.findChildren(QWidget):
        focusable = widget.focusPolicy() != Qt.FocusPolicy.NoFocus and widget.isVisibleTo(root)
        internal = widget.objectName().startswith("qt_") or type(widget).__name__ in ("QScrollBar", "QSplitterHandle")
        if not focusable or internal or _inside_named_box(widget):
            continue
        text = widget.text() if isinstance(widget, QAbstractButton) else ""
        if not widget.accessibleName() and not text:
            found.append(f"{type(widget).__name__} {widget.objectName()!r} in {type(widget.parent()).__name__}")
    return found


def _inside_named_box(widget: QWidget) -> bool:
    """A combo box or spin box names its inner line edit and list."""
    parent = widget.parentWidget()
    return parent is not None and parent.focusProxy() is widget


@pytest.mark.parametrize("key", [place.key for place in PLACES])
def test_everything_that_takes_the_focus_has_a_name(full: MainWindow, key: str) -> None:
    full.go(key)
    assert _unnamed(full) == []


def test_no_shortcut_is_used_twice(full: MainWindow) -> None:
    for place in PLACES:
        full.go(place.key)
    contexts = (Qt.ShortcutContext.WindowShortcut, Qt.ShortcutContext.ApplicationShortcut)
    actions = [action for action in full.findChildren(QAction) if action.shortcutContext() in contexts]
    shortcuts = [shortcut for shortcut in full.findChildren(QShortcut) if shortcut.context() in contexts]
    keys = [key.toString() for action in actions for key in action.shortcuts()]
    keys += [shortcut.key().toString() for shortcut in shortcuts]
    twice = [key for key, times in Counter(keys).items() if times > 1 and key]
    assert not twice
    assert all(action.text() for action in full.actions())


def test_the_theme_changes_under_every_page(full: MainWindow, finish: Callable[..., object]) -> None:
    from quarterdeck.gui import theme

    for place in PLACES:
        full.go(place.key)
        theme.choose("dark")
        theme.choose("light")
