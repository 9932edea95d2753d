"""The tray: what its menu says for each state, and that it can never hide the window for good."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from fake_core import FakeCore
from PySide6.QtCore import QSettings
from PySide6.QtWidgets import QSystemTrayIcon
from pytestqt.qtbot import QtBot

from quarterdeck.gui.desktop.closing import Closing
from quarterdeck.gui.desktop.tray import Tray, picture
from quarterdeck.gui.desktop.tray_state import quit_words
from quarterdeck.gui.store import Store
from quarterdeck.gui.window import MainWindow
from quarterdeck.schemas.backends import BackendView
from quarterdeck.schemas.system import IssueView


class FakeIcon(QSystemTrayIcon):
    """An icon that believes to be seen, as the offscreen platform has no tray."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []
        self.seen = False

    def show(self) -> None:
        self.seen = True

    def hide(self) -> None:
        self.seen = False

    def isVisible(self) -> bool:
        return self.seen

    def supportsMessages(self) -> bool:
        return True

    def showMessage(self, title: str, words: str, *rest: object) -> None:
        self.messages.append(f"{title}: {words}")


@pytest.fixture
def desktop() -> SimpleNamespace:
    return SimpleNamespace(has_tray=True, icon=FakeIcon())


@pytest.fixture
def tray(store: Store, desktop: SimpleNamespace, qtbot: QtBot) -> Iterator[Tray]:
    made = Tray(store, icon=desktop.icon, available=lambda: desktop.has_tray)
    yield made
    made.hide()


@pytest.fixture
def window(qtbot: QtBot, tmp_path: Path) -> Iterator[MainWindow]:
    made = MainWindow(QSettings(str(tmp_path / "window.ini"), QSettings.Format.IniFormat))
    qtbot.addWidget(made)
    made.show()
    yield made
    made.closing = True


def _menu(tray: Tray) -> list[str]:
    return [action.text() for action in tray.menu.actions() if action.isVisible() and not action.isSeparator()]


def test_the_menu_of_an_idle_app(tray: Tray, desktop: SimpleNamespace) -> None:
    assert _menu(tray) == [
        "Show Quarterdeck", "Clients use http://127.0.0.1:8100/v1", "Unload all",
        "Restart llama.cpp (built in)", "Quit",
    ]  # fmt: skip
    assert not tray.unload_all.isEnabled()
    assert "No model is loaded" in desktop.icon.toolTip()
    assert "GPU memory 9.0 GiB of 24.0 GiB" in desktop.icon.toolTip()


def test_a_load_shows_its_progress_and_can_be_cancelled(tray: Tray, core: FakeCore, qtbot: QtBot) -> None:
    core.change("qwen3-8b", phase="loading", progress={"stage": "weights", "fraction": 0.42})
    qtbot.waitUntil(lambda: "Loading qwen3-8b… 42 %" in _menu(tray))
    entry = next(action for action in tray.menu.actions() if action.text() == "Cancel loading qwen3-8b")
    with qtbot.waitSignal(tray.cancel_wanted) as seen:
        entry.trigger()
    assert seen.args == ["qwen3-8b"]
    core.change("qwen3-8b", phase="loading", progress={"stage": "weights", "fraction": 0.9})
    qtbot.waitUntil(lambda: "Loading qwen3-8b… 90 %" in _menu(tray))
    assert entry in tray.menu.actions()  # updated, not built anew
    assert "Quit (stop loading)" in _menu(tray)


def test_loaded_models_can_be_unloaded_one_by_one_or_all(tray: Tray, core: FakeCore, qtbot: QtBot) -> None:
    core.change("qwen3-8b", phase="loaded", loaded=True)
    qtbot.waitUntil(lambda: "Unload qwen3-8b" in _menu(tray))
    assert "Quit (unload 1 model)" in _menu(tray)
    with qtbot.waitSignal(tray.unload_all_wanted):
        tray.unload_all.trigger()
    core.change("mistral-7b", phase="loaded", loaded=True)
    qtbot.waitUntil(lambda: "Unload mistral-7b" in _menu(tray))
    core.change("qwen3-8b", phase="unloaded", loaded=False)
    qtbot.waitUntil(lambda: "Unload qwen3-8b" not in _menu(tray))


def test_real_backends_can_be_restarted_and_many_share_a_menu(
    tray: Tray, core: FakeCore, store: Store, qtbot: QtBot
) -> None:
    def backend(name: str, *actions: str) -> BackendView:
        return BackendView(name=name, title=name.capitalize(), actions=list(actions))

    core.publish("backend", "changed", backend("ollama", "stop", "restart"))
    core.publish("backend", "changed", backend("litellm", "start"))
    qtbot.waitUntil(lambda: "litellm" in store.backends)
    assert [words for words in _menu(tray) if "Restart" in words] == ["Restart llama.cpp (built in)", "Restart Ollama"]
    for name in ("vllm", "workshop"):
        core.publish("backend", "changed", backend(name, "restart"))
    qtbot.waitUntil(lambda: "Restart a backend" in _menu(tray))
    entries = [action for action in tray.restarts.actions() if action.isVisible() and not action.isSeparator()]
    assert [action.text() for action in entries] == ["llama.cpp (built in)", "Ollama", "Vllm", "Workshop"]
    assert "Restart Ollama" not in _menu(tray)
    with qtbot.waitSignal(tray.restart_wanted) as seen:
        entries[1].trigger()
    assert seen.args == ["ollama"]
    core.publish("backend", "removed", {"name": "workshop"})
    qtbot.waitUntil(lambda: "Restart Ollama" in _menu(tray))


def test_trouble_is_in_the_tool_tip(tray: Tray, core: FakeCore, desktop: SimpleNamespace, qtbot: QtBot) -> None:
    core.publish("issue", "raised", IssueView(code="port_in_use", sentence="Port 8100 is taken."))
    qtbot.waitUntil(lambda: "Port 8100 is taken." in desktop.icon.toolTip())
    core.drop()
    qtbot.waitUntil(lambda: "does not answer" in desktop.icon.toolTip())


def test_the_states_differ_by_shape(qapp: object) -> None:
    def shape(name: str) -> list[bool]:
        image = picture(name).pixmap(32, 32).toImage()
        return [image.pixelColor(x, y).lightness() > 128 for x in range(32) for y in range(32)]

    shapes = [shape(name) for name in ("idle", "loading", "loaded", "warn", "error")]
    assert all(a != b for i, a in enumerate(shapes) for b in shapes[i + 1 :])


def test_a_tray_that_comes_late_is_found(store: Store, desktop: SimpleNamespace) -> None:
    desktop.has_tray = False
    tray = Tray(store, icon=desktop.icon, available=lambda: desktop.has_tray)
    assert not tray.present
    desktop.has_tray = True
    tray.look()
    assert tray.present
    tray.hide()


@pytest.mark.parametrize(
    ("loading", "loaded", "words"),
    [(0, 0, "Quit"), (0, 1, "Quit (unload 1 model)"), (1, 2, "Quit (stop loading, unload 2 models)")],
)
def test_quit_says_what_it_does(loading: int, loaded: int, words: str) -> None:
    assert quit_words(loading, loaded) == words


def test_quitting_leaves_the_core_of_another_process_alone(
    tray: Tray, store: Store, core: FakeCore, qtbot: QtBot
) -> None:
    store.owns_core = False
    core.change("qwen3-8b", phase="loaded", loaded=True)
    qtbot.waitUntil(lambda: "Unload qwen3-8b" in _menu(tray))
    assert "Quit" in _menu(tray)


def test_closing_hides_into_the_tray_and_says_so_once(window: MainWindow, tray: Tray, desktop: SimpleNamespace) -> None:
    closing = Closing(window, tray, lambda: "tray")
    assert closing.close()
    assert not window.isVisible()
    closing.toggle()
    assert window.isVisible()
    closing.close()
    assert len(desktop.icon.messages) == 1
    assert "keeps running" in desktop.icon.messages[0]


def test_without_a_tray_closing_minimises_and_explains(
    window: MainWindow, tray: Tray, desktop: SimpleNamespace
) -> None:
    desktop.has_tray = False
    assert Closing(window, tray, lambda: "tray").close()
    assert window.isVisible()
    assert window.isMinimized()
    assert "Ctrl+Q" in window.banners.banners["no-tray"].accessibleDescription()


def test_closing_can_quit(window: MainWindow, tray: Tray) -> None:
    assert not Closing(window, tray, lambda: "quit").close()


def test_minimised_start_is_honoured_only_with_a_tray(window: MainWindow, tray: Tray, desktop: SimpleNamespace) -> None:
    window.hide()
    closing = Closing(window, tray, lambda: "tray")
    closing.start_minimized()
    assert not window.isVisible()
    desktop.has_tray = False
    closing.start_minimized()
    assert window.isVisible()
