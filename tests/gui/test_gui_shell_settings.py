"""The settings page: applied at once, errors beside the field, the source of a value, the desktop's files."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_core import FakeCore
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QCheckBox, QComboBox, QLineEdit
from pytestqt.qtbot import QtBot

from quarterdeck.errors import AppError
from quarterdeck.gui.desktop import entry
from quarterdeck.gui.pages.settings import SettingsPage
from quarterdeck.gui.presenters.setting import from_text
from quarterdeck.gui.store import Store
from quarterdeck.schemas.system import SettingView


@pytest.fixture
def page(store: Store, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SettingsPage:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    made = SettingsPage(store)
    qtbot.addWidget(made)
    made.show()
    made.page_shown()
    return made


def _type(page: SettingsPage, name: str, text: str, qtbot: QtBot) -> None:
    editor = page.rows[name].editor
    assert isinstance(editor, QLineEdit)
    editor.selectAll()
    qtbot.keyClicks(editor, text)
    qtbot.keyClick(editor, Qt.Key.Key_Return)


def test_every_setting_of_the_core_has_a_row(page: SettingsPage, core: FakeCore) -> None:
    assert set(page.rows) == set(core.settings)


def test_a_typed_value_is_applied_at_once(page: SettingsPage, core: FakeCore, qtbot: QtBot) -> None:
    _type(page, "port", "8200", qtbot)
    qtbot.waitUntil(lambda: core.called("PATCH", "/api/settings") == [{"port": 8200}])
    qtbot.waitUntil(lambda: "Default: 8100" in page.rows["port"].note)
    page.rows["port"].reset.click()
    qtbot.waitUntil(lambda: core.settings["port"].value == 8100)


@pytest.mark.parametrize(("text", "said"), [("80000", "0 to 65535"), ("eight", "not a whole number"), ("", "not a")])
def test_a_bad_value_stays_and_is_explained(
    page: SettingsPage, core: FakeCore, qtbot: QtBot, text: str, said: str
) -> None:
    editor = page.rows["port"].editor
    assert isinstance(editor, QLineEdit)
    editor.clear()
    editor.setModified(True)
    _type(page, "port", text, qtbot)
    assert said in page.rows["port"].error
    assert editor.text() == text
    assert not core.called("PATCH", "/api/settings")


def test_the_core_can_refuse_and_nothing_typed_is_lost(page: SettingsPage, core: FakeCore, qtbot: QtBot) -> None:
    core.answers[("PATCH", "/api/settings")] = (
        409, {"detail": "Port 8200 is used by ollama.", "code": "port_in_use", "hint": "Choose another."},
    )  # fmt: skip
    _type(page, "port", "8200", qtbot)
    qtbot.waitUntil(lambda: "used by ollama" in page.rows["port"].error)
    editor = page.rows["port"].editor
    assert isinstance(editor, QLineEdit)
    assert editor.text() == "8200"


def test_choices_and_switches(page: SettingsPage, core: FakeCore, qtbot: QtBot) -> None:
    theme = page.rows["theme"].editor
    assert isinstance(theme, QComboBox)
    assert [theme.itemText(index) for index in range(theme.count())] == ["Like the desktop", "Light", "Dark"]
    theme.setCurrentIndex(2)
    theme.activated.emit(2)
    nvml = page.rows["nvml"].editor
    assert isinstance(nvml, QCheckBox)
    nvml.click()
    qtbot.waitUntil(lambda: core.called("PATCH", "/api/settings") == [{"theme": "dark"}, {"nvml": False}])
    assert "starts again" in page.rows["nvml"].note


def test_a_value_of_the_environment_is_read_only(
    page: SettingsPage, core: FakeCore, store: Store, qtbot: QtBot
) -> None:
    view = core.settings["port"].model_copy(update={"source": "environment", "value": 8123})
    with qtbot.waitSignal(store.settings_changed):
        core.publish("setting", "changed", view)
    row = page.rows["port"]
    assert not row.editor.isEnabled()
    assert row.note == "Set by the environment: QUARTERDECK_PORT"
    assert row.reset.isHidden()


def test_a_change_from_elsewhere_does_not_wipe_what_is_typed(
    page: SettingsPage, core: FakeCore, store: Store, qtbot: QtBot
) -> None:
    editor = page.rows["host"].editor
    assert isinstance(editor, QLineEdit)
    qtbot.keyClicks(editor, "x")
    with qtbot.waitSignal(store.settings_changed):
        core.publish("setting", "changed", core.settings["theme"].model_copy(update={"value": "dark"}))
    assert editor.text().startswith("x")


def test_desktop_buttons_show_the_real_state(page: SettingsPage) -> None:
    desktop = page.desktop
    assert desktop.add.isVisible()
    desktop.add.click()
    assert entry.installed()
    assert desktop.remove.isVisible()
    desktop.autostart.click()
    assert entry.autostart_enabled()
    desktop.remove.click()
    assert not entry.installed()
    assert entry.autostart_enabled()
    entry.set_autostart(False)
    page.page_shown()
    assert not desktop.autostart.isChecked()


def test_about_copies_versions(page: SettingsPage) -> None:
    page.about.copy.click()
    copied = QGuiApplication.clipboard().text()
    assert "Quarterdeck 0.1.0" in copied
    assert "PySide6" in copied
    assert "Data folder: /data" in copied


@pytest.mark.parametrize(
    ("default", "text", "value"),
    [(1.0, "0,5", 0.5), ([], " a, b ,", ["a", "b"]), ("", " sqlite:// ", "sqlite://"), (600, " 30 ", 30)],
)
def test_text_becomes_a_value(default: object, text: str, value: object) -> None:
    assert from_text(_view(default), text) == value


def test_not_a_number_is_not_a_number() -> None:
    with pytest.raises(AppError):
        from_text(_view(1.0), "nan")


def _view(default: object) -> SettingView:
    return SettingView(name="x", value=default, default=default, source="default", environment="X", help="", group="G",
                       label="X", restart=False)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "found"),
    [("QUARTERDECK_PORT", "port"), ("close BUTTON", "close_action"), ("like the desktop", "theme"),
     ("storage database", "database_url")],
)  # fmt: skip
def test_the_filter_finds_labels_help_groups_and_variables(page: SettingsPage, text: str, found: str) -> None:
    every = page.shown
    page.search.setText(text)
    assert found in page.shown
    assert len(page.shown) < len(every)
    groups = {page.sections.item(row).text() for row in range(page.sections.count())}
    assert groups == {page.rows[name].view.group for name in page.shown}
    page.search.clear()
    assert page.shown == every


def test_an_empty_result_says_so_and_escape_clears(page: SettingsPage, core: FakeCore, qtbot: QtBot) -> None:
    page.search.setText("no such thing")
    assert page.shown == []
    assert page.empty.isVisible()
    assert page.empty.title.text() == "No setting matches “no such thing”"
    assert not page.about.isVisible()
    qtbot.keyClick(page.search, Qt.Key.Key_Escape)
    assert set(page.shown) == set(core.settings)
    assert not page.empty.isVisible()
    page.search.setText("tray")
    assert page.desktop.isVisible()
    page.focus_setting("port")
    assert page.rows["port"].isVisible()


def test_a_filter_holds_when_the_settings_change(
    page: SettingsPage, core: FakeCore, store: Store, qtbot: QtBot
) -> None:
    page.search.setText("reach lets the system choose")
    with qtbot.waitSignal(store.settings_changed):
        core.publish("setting", "changed", core.settings["theme"].model_copy(update={"value": "dark"}))
    assert page.shown == ["port"]


def test_a_group_is_gone_to_and_marked_while_scrolling(page: SettingsPage, qtbot: QtBot) -> None:
    page.resize(1000, 600)
    bar, sections = page._area.verticalScrollBar(), page.sections
    qtbot.waitUntil(lambda: bar.maximum() > 2000)
    sections.setCurrentRow([sections.item(row).text() for row in range(sections.count())].index("Records"))
    assert bar.value() == page.rows["capture_requests"].parentWidget().y()
    bar.setValue(0)
    assert sections.currentRow() == 0
    bar.setValue(bar.maximum())
    assert sections.currentItem().text() == "About"
