"""The import wizard and the reasons why models are not listed."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_core import FakeCore, make_preview
from PySide6.QtCore import Qt
from PySide6.QtTest import QAbstractItemModelTester
from PySide6.QtWidgets import QWidget
from pytestqt.qtbot import QtBot

from quarterdeck.gui.backend_commands import BackendCommands
from quarterdeck.gui.commands import Commands
from quarterdeck.gui.dialogs.absences import AbsencesDialog
from quarterdeck.gui.dialogs.import_wizard import PREVIEW, RESULT, SOURCE, ImportWizard
from quarterdeck.gui.models.absence_list import AbsenceList
from quarterdeck.gui.models.import_list import CHOICE, ImportList
from quarterdeck.gui.pages.models import ModelsPage
from quarterdeck.gui.presenters import imports
from quarterdeck.gui.store import Store
from quarterdeck.schemas.discovery import Absence, ImportAction, ImportEntry

IMPORT = ("POST", "/api/import")


@pytest.fixture
def window(qtbot: QtBot) -> QWidget:
    made = QWidget()
    qtbot.addWidget(made)
    return made


@pytest.fixture
def wizard(store: Store, window: QWidget, qtbot: QtBot) -> ImportWizard:
    made = ImportWizard(Commands(store, window), window)
    made.open()
    return made


def press(qtbot: QtBot, button: QWidget) -> None:
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def look(qtbot: QtBot, wizard: ImportWizard, text: str = "some: yaml") -> None:
    wizard.text.setPlainText(text)
    press(qtbot, wizard.next)
    qtbot.waitUntil(lambda: wizard.stack.currentIndex() == PREVIEW)


def test_nothing_is_changed_before_the_preview(wizard: ImportWizard, core: FakeCore, qtbot: QtBot) -> None:
    assert not wizard.next.isEnabled()
    core.preview = make_preview(warnings=["Two entries share a name."], servers=["http://10.0.0.5:8000"])
    look(qtbot, wizard)
    assert [body["apply"] for body in core.called(*IMPORT)] == [False]
    assert wizard._heading.text() == "Model registry: 1 new, 1 with changes, 1 the same as now, 1 skipped"
    assert wizard.notes.text() == "Two entries share a name.\nIt also names 1 server: http://10.0.0.5:8000."
    assert wizard.detail.toPlainText() == "Not carried over: chat_template.sha256"
    assert wizard.follow.isHidden()
    assert wizard.next.text() == "Import 2 models"
    wizard.table.selectRow(1)
    assert wizard.detail.toPlainText() == 'Options: {"n_ctx": 4096}'
    wizard.table.selectRow(3)
    assert wizard.detail.toPlainText() == "Its backend triton is not supported."


def test_only_what_is_chosen_is_taken_over(wizard: ImportWizard, core: FakeCore, qtbot: QtBot) -> None:
    look(qtbot, wizard)
    rows = wizard.entries
    assert rows.setData(rows.index(0, CHOICE), Qt.CheckState.Unchecked, Qt.ItemDataRole.CheckStateRole)
    assert not rows.setData(rows.index(3, CHOICE), Qt.CheckState.Checked, Qt.ItemDataRole.CheckStateRole)
    assert wizard.next.text() == "Import 1 model"
    assert not wizard.all.isChecked()
    press(qtbot, wizard.next)
    qtbot.waitUntil(lambda: wizard.stack.currentIndex() == RESULT)
    assert core.called(*IMPORT)[1] == {
        "path": None, "text": "some: yaml", "format": None, "apply": True, "names": ["qwen3-8b"], "follow": False,
    }  # fmt: skip
    assert wizard.done_words.title.text() == "Import finished"
    assert wizard.done_words.words.text() == "1 added, 1 changed, 1 unchanged, 1 skipped."
    press(qtbot, wizard.next)
    qtbot.waitUntil(lambda: not wizard.isVisible())


def test_a_file_can_be_followed(wizard: ImportWizard, core: FakeCore, qtbot: QtBot) -> None:
    wizard.path.setText("/etc/litellm.yaml")
    press(qtbot, wizard.next)
    qtbot.waitUntil(lambda: wizard.stack.currentIndex() == PREVIEW)
    assert wizard.follow.isVisible()
    wizard.follow.setChecked(True)
    press(qtbot, wizard.next)
    qtbot.waitUntil(lambda: wizard.stack.currentIndex() == RESULT)
    sent = core.called(*IMPORT)[1]
    assert (sent["path"], sent["follow"]) == ("/etc/litellm.yaml", True)
    assert "is read again whenever it changes" in wizard.done_words.words.text()


def test_a_mistake_is_shown_where_it_is(wizard: ImportWizard, core: FakeCore, qtbot: QtBot) -> None:
    core.answers[IMPORT] = (
        400, {"detail": "Line 2, column 5: a quote is missing.", "code": "bad_yaml", "hint": "Close it.", "line": 2,
              "column": 5},
    )  # fmt: skip
    wizard.text.setPlainText('a: 1\nb: "x\n')
    press(qtbot, wizard.next)
    qtbot.waitUntil(lambda: wizard.problem.isVisible())
    assert wizard.problem.text() == "Line 2, column 5: a quote is missing. Close it."
    assert wizard.stack.currentIndex() == SOURCE
    press(qtbot, wizard.place)
    cursor = wizard.text.textCursor()
    assert (cursor.blockNumber(), cursor.positionInBlock()) == (1, 4)
    wizard.text.appendPlainText("c")
    assert not wizard.problem.isVisible()
    assert wizard.next.isEnabled()


def test_back_keeps_what_was_pasted(wizard: ImportWizard, qtbot: QtBot) -> None:
    look(qtbot, wizard, "abc")
    press(qtbot, wizard.back)
    assert wizard.stack.currentIndex() == SOURCE
    assert wizard.text.toPlainText() == "abc"


def test_all_can_be_chosen_and_given_up_at_once(wizard: ImportWizard, qtbot: QtBot) -> None:
    look(qtbot, wizard)
    assert wizard.all.isChecked()
    wizard.all.click()
    assert wizard.entries.chosen() == []
    assert wizard.next.toolTip() == "Nothing is chosen."
    wizard.all.click()
    assert wizard.entries.chosen() == ["new-one", "qwen3-8b"]


def test_the_tables_keep_qts_rules() -> None:
    fatal = QAbstractItemModelTester.FailureReportingMode.Fatal
    entries, absences = ImportList(), AbsenceList()
    testers = [QAbstractItemModelTester(entries, fatal), QAbstractItemModelTester(absences, fatal)]
    entries.show(make_preview().entries)
    absences.show([Absence(name="b", listed=False, reasons=["x"]), Absence(name="a", listed=False)])
    absences.search("x")
    assert (entries.rowCount(), absences.rowCount(), len(testers)) == (4, 1, 2)


def test_values_that_change_are_told_with_the_old_ones() -> None:
    entry = ImportEntry(name="m", action=ImportAction.CHANGE, changes={"path": ("/a", "/b"), "aliases": ([], ["x"])})
    assert imports.detail(entry) == 'File: /b, instead of /a\nOther names: ["x"]'
    assert imports.detail(ImportEntry(name="m", action=ImportAction.SAME)).startswith("It is in the list already")


def test_the_reasons_why_models_are_missing_can_be_searched(
    store: Store, core: FakeCore, window: QWidget, qtbot: QtBot
) -> None:
    core.absences = [
        Absence(name="gone", listed=False, reasons=["Its file is not there."], hint="Put it back."),
        Absence(name="old", listed=False, reasons=["It is marked as deprecated."]),
        Absence(name="fine", listed=True),
    ]
    dialog = AbsencesDialog(Commands(store, window), window)
    dialog.open()
    qtbot.waitUntil(lambda: dialog.stack.currentIndex() == 1)
    assert dialog.rows.rowCount() == 2
    assert dialog.detail.toPlainText() == "Its file is not there.\nPut it back."
    dialog.search.setText("deprecated")
    assert [dialog.rows.absence(row).name for row in range(dialog.rows.rowCount())] == ["old"]
    assert dialog.detail.toPlainText() == "It is marked as deprecated."
    dialog.reject()


def test_without_absences_the_dialog_says_so(store: Store, window: QWidget, qtbot: QtBot) -> None:
    dialog = AbsencesDialog(Commands(store, window), window)
    dialog.open()
    qtbot.waitUntil(lambda: dialog.empty.title.text() == "Every model that is known is listed")
    dialog.reject()


def test_the_head_of_the_page_leads_to_all_ways_in(store: Store, core: FakeCore, qtbot: QtBot) -> None:
    page = ModelsPage(store, Commands(store), BackendCommands(store))
    qtbot.addWidget(page)
    page.show()
    press(qtbot, page.header.scan_button)
    qtbot.waitUntil(lambda: len(core.called("POST", "/api/scan")) == 1)
    qtbot.waitUntil(lambda: page.header.scan_button.text() == "Scan")
    press(qtbot, page.header.absences_button)
    qtbot.waitUntil(lambda: len(core.called("GET", "/api/absences")) == 1)
    page.findChildren(AbsencesDialog)[0].reject()
    page.header.import_list.trigger()
    qtbot.waitUntil(lambda: any(one.isVisible() for one in page.findChildren(ImportWizard)))
    page.findChildren(ImportWizard)[0].reject()


def test_a_path_is_filled_in(store: Store, window: QWidget) -> None:
    made = ImportWizard(Commands(store, window), window, Path("/x/Modelfile"))
    assert made.path.text() == "/x/Modelfile"
    made.deleteLater()
