"""Quitting asks where something would be lost, and only there; the tray's entries reach the core."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_core import FakeCore
from PySide6.QtCore import QSettings
from PySide6.QtWidgets import QApplication, QDialog, QPushButton
from pytestqt.qtbot import QtBot

from quarterdeck.errors import AppError
from quarterdeck.gui import theme
from quarterdeck.gui.desktop.single_instance import SingleInstance
from quarterdeck.gui.shell import Shell
from quarterdeck.gui.window import MainWindow
from quarterdeck.settings import Settings


class Core:
    """Hands the fake core out as the real one would be."""

    control_url = "http://core.test"
    token = "token"

    def stop(self) -> None:
        """Nothing of the fake core needs stopping."""


@pytest.fixture
def make_shell(
    qapp: QApplication, qtbot: QtBot, core: FakeCore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, finish: Any
) -> Iterator[Callable[[], Shell]]:
    from quarterdeck.client.api import ApiClient

    original = ApiClient.__init__
    monkeypatch.setattr(ApiClient, "__init__", lambda self, url, token, **_: original(self, url, token, transport=core))
    shells: list[Shell] = []

    def make() -> Shell:
        window = MainWindow(QSettings(str(tmp_path / "window.ini"), QSettings.Format.IniFormat))
        window.show()
        instance = SingleInstance(tmp_path)
        shells.append(Shell(qapp, window, instance, settings=Settings(), source=Core, minimized=False))
        return shells[-1]

    yield make
    for made in shells:
        finish(made._stop())
        qapp.commitDataRequest.disconnect(made._on_session_end)
        made.window.deleteLater()


@pytest.fixture
def shell(make_shell: Callable[[], Shell], qtbot: QtBot) -> Shell:
    """A shell whose window shows the fake core."""
    made = make_shell()
    made.start()
    qtbot.waitUntil(lambda: made.window.filled)
    return made


def _question(shell: Shell) -> QDialog | None:
    return next((dialog for dialog in shell.window.findChildren(QDialog) if dialog.isVisible()), None)


def _press(shell: Shell, words: str) -> None:
    dialog = _question(shell)
    assert dialog is not None
    next(button for button in dialog.findChildren(QPushButton) if button.text() == words).click()


def test_nothing_to_lose_quits_at_once(shell: Shell) -> None:
    shell.quit()
    assert shell.stopping


def test_a_load_under_way_is_asked_about(shell: Shell, core: FakeCore, qtbot: QtBot) -> None:
    core.change("qwen3-8b", phase="loading")
    qtbot.waitUntil(lambda: bool(shell.store.loading()))
    shell.quit()
    qtbot.waitUntil(lambda: _question(shell) is not None)
    assert _question(shell).windowTitle() == "Quit while qwen3-8b is loading?"
    _press(shell, "Cancel")
    qtbot.waitUntil(lambda: _question(shell) is None)
    assert not shell.stopping
    qtbot.waitUntil(lambda: not shell.asking)
    shell.quit()
    qtbot.waitUntil(lambda: _question(shell) is not None)
    _press(shell, "Stop loading and quit")
    qtbot.waitUntil(lambda: shell.stopping)


def test_asked_twice_it_quits_without_an_answer(shell: Shell, core: FakeCore, qtbot: QtBot) -> None:
    core.change("qwen3-8b", phase="loading")
    qtbot.waitUntil(lambda: bool(shell.store.loading()))
    shell.quit()
    qtbot.waitUntil(lambda: _question(shell) is not None)
    shell.quit()
    assert shell.stopping


def test_unsaved_changes_are_asked_about(shell: Shell, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    page = shell.window.made_page("models")
    monkeypatch.setattr(page, "unsaved", lambda: {"qwen3-8b"}, raising=False)
    shell.quit()
    qtbot.waitUntil(lambda: _question(shell) is not None)
    assert "qwen3-8b" in _question(shell).windowTitle()
    _press(shell, "Cancel")
    qtbot.waitUntil(lambda: not shell.asking)


def test_the_close_button_does_what_the_setting_says(shell: Shell, core: FakeCore, qtbot: QtBot) -> None:
    with qtbot.waitSignal(shell.store.settings_changed):
        core.publish("setting", "changed", core.settings["close_action"].model_copy(update={"value": "quit"}))
    shell.window.close()
    assert shell.stopping


def test_the_theme_setting_applies_live(shell: Shell, core: FakeCore, qtbot: QtBot) -> None:
    with qtbot.waitSignal(theme.notifier.changed):
        core.publish("setting", "changed", core.settings["theme"].model_copy(update={"value": "dark"}))
    assert theme.tokens().dark
    with qtbot.waitSignal(theme.notifier.changed):
        core.publish("setting", "changed", core.settings["theme"].model_copy(update={"value": "light"}))


def test_the_tray_reaches_the_core(shell: Shell, core: FakeCore, qtbot: QtBot) -> None:
    core.change("qwen3-8b", phase="loaded", loaded=True)
    qtbot.waitUntil(lambda: bool(shell.store.loaded()))
    shell.tray.unload_wanted.emit("qwen3-8b")
    qtbot.waitUntil(lambda: core.called("POST", "/api/orchestrate/unload") == [{"model_name": "qwen3-8b"}])
    shell.tray.restart_wanted.emit("embedded")
    qtbot.waitUntil(lambda: bool(core.called("POST", "/api/backends/embedded/restart")))


def test_a_hidden_window_takes_no_live_topics(shell: Shell, core: FakeCore, qtbot: QtBot) -> None:
    shell.window.go("gpu")
    qtbot.waitUntil(lambda: len(core.streams) == 1 and "gpu" in core.streams[0].topics)
    shell.window.hide()
    qtbot.waitUntil(lambda: len(core.streams) == 1 and "gpu" not in core.streams[0].topics)
    shell.window.show()
    qtbot.waitUntil(lambda: len(core.streams) == 1 and "gpu" in core.streams[0].topics)
    shell.window.go("models")
    qtbot.waitUntil(lambda: len(core.streams) == 1 and "gpu" not in core.streams[0].topics)


def test_an_unreachable_core_fills_the_window_until_it_answers(core: FakeCore, make_shell: Any, qtbot: QtBot) -> None:
    core.online = False
    shell = make_shell()
    shell.start()
    with qtbot.waitSignal(shell.store.connection_failed) as failed:
        pass
    assert isinstance(failed.args[0], AppError)
    assert "does not answer" in shell.window.notice.heading
    core.online = True
    qtbot.waitUntil(lambda: shell.window.filled, timeout=10_000)


def test_the_end_of_the_session_asks_nothing(shell: Shell, core: FakeCore, qtbot: QtBot) -> None:
    core.change("qwen3-8b", phase="loading")
    qtbot.waitUntil(lambda: bool(shell.store.loading()))
    hints: list[object] = []
    shell._on_session_end(SimpleNamespace(setRestartHint=hints.append))
    assert shell.stopping
    assert hints
    assert _question(shell) is None
    assert shell.window.close()
