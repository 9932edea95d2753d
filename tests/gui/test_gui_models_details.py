"""The details panel: overview, configuration, history, and the chat to try a model."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from fake_core import FakeCore, make_attempt
from PySide6.QtCore import QEvent, Qt
from PySide6.QtGui import QKeyEvent
from PySide6.QtTest import QAbstractItemModelTester
from PySide6.QtWidgets import QApplication, QWidget
from pytestqt.qtbot import QtBot

from quarterdeck.gui import theme
from quarterdeck.gui.commands import Commands
from quarterdeck.gui.details.panel import CONFIGURATION, HISTORY, OVERVIEW, TRY_IT, DetailsPanel
from quarterdeck.gui.models.attempt_list import AttemptList
from quarterdeck.gui.store import Store
from quarterdeck.gui.widgets.json_editor import JsonEditor
from quarterdeck.schemas.models import Outcome, Phase, Status

PATCH = ("PATCH", "/api/models/qwen3-8b/config")


@pytest.fixture
def panel(store: Store, qtbot: QtBot) -> Iterator[DetailsPanel]:
    made = DetailsPanel(store, Commands(store))
    made._commands._window = made
    qtbot.addWidget(made)
    made.resize(460, 760)
    made.show_model("qwen3-8b")
    made.show()
    qtbot.waitExposed(made)
    yield made


def press(qtbot: QtBot, button: QWidget) -> None:
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def choose(panel: DetailsPanel, status: Status) -> None:
    panel.overview.status.setCurrentIndex(panel.overview.status.findData(status))


def test_testing_cannot_be_chosen(panel: DetailsPanel, core: FakeCore, qtbot: QtBot) -> None:
    combo = panel.overview.status
    assert combo.findData(Status.TESTING) == -1
    core.change("qwen3-8b", status=Status.TESTING)
    qtbot.waitUntil(lambda: combo.currentText() == "Being tested (testing)")
    assert not combo.model().flags(combo.model().index(0, 0)) & Qt.ItemFlag.ItemIsEnabled


def test_only_changed_fields_are_sent(panel: DetailsPanel, core: FakeCore, qtbot: QtBot) -> None:
    bar = panel.overview.bar
    assert not bar.save.isEnabled()
    panel.overview.notes.setPlainText("Good at German.")
    press(qtbot, bar.save)
    qtbot.waitUntil(lambda: core.called(*PATCH) == [{"compatibility_notes": "Good at German."}])
    choose(panel, Status.DEGRADED)
    qtbot.waitUntil(bar.save.isEnabled)
    press(qtbot, bar.save)
    qtbot.waitUntil(lambda: core.called(*PATCH)[1:] == [{"compatibility_status": "degraded"}])
    qtbot.waitUntil(lambda: not bar.save.isEnabled())
    assert panel.unsaved() == set()


def test_an_edit_outlives_a_look_at_another_model_and_an_event(
    panel: DetailsPanel, core: FakeCore, qtbot: QtBot
) -> None:
    panel.overview.notes.setPlainText("Half a thou")
    panel.configuration.editor.setPlainText('{"n_ctx": 1')
    panel.show_model("mistral-7b")
    assert panel.overview.notes.toPlainText() == "Needed three attempts."
    assert panel.unsaved() == {"qwen3-8b"}
    panel.show_model("qwen3-8b")
    core.change("qwen3-8b", status=Status.COMPATIBLE, notes="By the core.")
    qtbot.waitUntil(lambda: panel.overview.status.currentText() == "Works (compatible)")
    assert panel.overview.notes.toPlainText() == "Half a thou"
    assert panel.configuration.editor.toPlainText() == '{"n_ctx": 1'
    assert panel.tabs.tabText(OVERVIEW) == "Overview •"
    press(qtbot, panel.overview.bar.revert)
    assert panel.overview.notes.toPlainText() == "By the core."


def test_a_refused_save_keeps_the_edit_and_says_why(panel: DetailsPanel, core: FakeCore, qtbot: QtBot) -> None:
    core.answers[PATCH] = (400, {"detail": "The notes are too long.", "code": "too_long", "hint": "Shorten them."})
    panel.overview.notes.setPlainText("x" * 99)
    press(qtbot, panel.overview.bar.save)
    qtbot.waitUntil(lambda: panel.overview.bar.words.text() == "The notes are too long. Shorten them.")
    assert panel.overview.notes.toPlainText() == "x" * 99
    assert panel.overview.bar.save.isEnabled()


def test_the_primary_button_follows_the_model(panel: DetailsPanel, core: FakeCore, qtbot: QtBot) -> None:
    press(qtbot, panel.primary)
    qtbot.waitUntil(lambda: panel.primary.text() == "Unload")
    assert panel.state.text() == "Loaded · compatible"
    assert core.called("POST", "/api/orchestrate/load") == [{"model_name": "qwen3-8b", "force_load": False}]


def test_broken_json_is_marked_where_it_breaks_and_cannot_be_saved(
    panel: DetailsPanel, core: FakeCore, qtbot: QtBot
) -> None:
    panel.tabs.setCurrentIndex(CONFIGURATION)
    tab = panel.configuration
    tab.editor.setPlainText('{\n  "n_ctx": 4096,\n}')
    qtbot.waitUntil(lambda: tab.editor.problem is not None)
    assert tab.place.text() == "Go to line 2, column 16"
    assert "comma after the last entry" in tab.bar.words.text()
    assert not tab.bar.save.isEnabled()
    press(qtbot, tab.place)
    cursor = tab.editor.textCursor()
    assert (cursor.blockNumber(), cursor.positionInBlock()) == (1, 15)
    tab.editor.setPlainText('{\n  "n_ctx": 4096\n}')
    qtbot.waitUntil(tab.bar.save.isEnabled)
    press(qtbot, tab.bar.save)
    qtbot.waitUntil(lambda: [json.loads(body["load_config"]) for body in core.called(*PATCH)] == [{"n_ctx": 4096}])
    qtbot.waitUntil(lambda: panel.tabs.tabText(CONFIGURATION) == "Configuration")


def test_an_option_the_engine_does_not_know_is_marked(panel: DetailsPanel, core: FakeCore, qtbot: QtBot) -> None:
    core.answers[PATCH] = (
        400, {"detail": "llama.cpp has no option “n_treads”.", "code": "unknown_option",
              "hint": "Did you mean “n_threads”?"},
    )  # fmt: skip
    panel.tabs.setCurrentIndex(CONFIGURATION)
    tab = panel.configuration
    tab.editor.setPlainText('{\n  "n_treads": 2\n}')
    qtbot.waitUntil(tab.bar.save.isEnabled)
    press(qtbot, tab.bar.save)
    qtbot.waitUntil(lambda: tab.place.text() == "Go to line 2, column 3")
    assert "Did you mean “n_threads”?" in tab.bar.words.text()
    assert tab.bar.save.isEnabled()


def test_an_example_is_merged_into_the_text(panel: DetailsPanel) -> None:
    tab = panel.configuration
    tab.editor.setPlainText('{"n_threads": 4}')
    tab.examples.menu().actions()[0].trigger()
    assert json.loads(tab.editor.toPlainText()) == {"n_threads": 4, "n_ctx": 4096}
    tab.editor.undo()
    assert tab.editor.toPlainText() == '{"n_threads": 4}'


def test_formatting_is_one_step_of_undo(qtbot: QtBot) -> None:
    editor = JsonEditor()
    qtbot.addWidget(editor)
    editor.setPlainText('{"a":1,"b":[2]}')
    editor.format_text()
    assert editor.toPlainText().splitlines()[1] == '  "a": 1,'
    editor.undo()
    assert editor.toPlainText() == '{"a":1,"b":[2]}'
    editor.setPlainText("{broken")
    editor.format_text()
    assert editor.toPlainText() == "{broken"
    assert editor.problem is not None


def test_the_editor_helps_with_typing(qtbot: QtBot) -> None:
    editor = JsonEditor()
    qtbot.addWidget(editor)
    qtbot.keyClicks(editor, "{")
    qtbot.keyClick(editor, Qt.Key.Key_Return)
    qtbot.keyClicks(editor, '"n_ctx": 1')
    assert editor.toPlainText() == '{\n  "n_ctx": 1\n}'
    qtbot.keyClick(editor, Qt.Key.Key_Tab)
    assert "1  \n" in editor.toPlainText()
    qtbot.keyClick(editor, Qt.Key.Key_Backtab)
    assert editor.toPlainText().splitlines()[1].startswith('"n_ctx"')


def test_the_editor_follows_the_theme(qtbot: QtBot) -> None:
    editor = JsonEditor()
    qtbot.addWidget(editor)
    editor.show_text('{"a": 1}')
    editor.show()
    theme.choose("dark")
    layout = editor.document().firstBlock().layout()
    colours = {part.format.foreground().color().name() for part in list(layout.formats())}
    theme.choose("light")
    assert theme.DARK.info.fg in colours
    assert not editor.grab().isNull()


def test_the_history_tells_each_attempt_and_its_reason(panel: DetailsPanel, core: FakeCore, qtbot: QtBot) -> None:
    core.attempts["qwen3-8b"] = [
        make_attempt(2, "qwen3-8b", error="Out of memory.", hint="Choose a smaller one.", log_tail="CUDA error",
                     load_config='{"n_ctx": 8192}', hardware="RTX 4090"),
        make_attempt(1, "qwen3-8b", outcome=Outcome.LOADED, load_seconds=3.2, status_after=Status.COMPATIBLE),
    ]  # fmt: skip
    panel.tabs.setCurrentIndex(HISTORY)
    history = panel.history
    qtbot.waitUntil(lambda: history.rows.rowCount() == 2)
    cells = [[history.rows.index(row, column).data() for column in range(1, 4)] for row in range(2)]
    assert cells == [["Failed", "0.0 s", "n_ctx = 8192"], ["Loaded", "3.2 s", "Defaults"]]
    assert history.explanation.text() == "Out of memory.\nChoose a smaller one."
    assert "Hardware: RTX 4090" in history.facts.text()
    press(qtbot, history.toggle)
    assert history.log.toPlainText() == "CUDA error"
    press(qtbot, history.copy)
    assert "Out of memory." in QApplication.clipboard().text()


def test_a_new_attempt_appears_on_top_and_the_selection_stays(
    panel: DetailsPanel, core: FakeCore, qtbot: QtBot
) -> None:
    core.attempts["qwen3-8b"] = [make_attempt(1, "qwen3-8b", error="First.")]
    panel.tabs.setCurrentIndex(HISTORY)
    qtbot.waitUntil(lambda: panel.history.rows.rowCount() == 1)
    core.attempts["qwen3-8b"].insert(0, make_attempt(2, "qwen3-8b", error="Second."))
    core.publish("attempt", "finished", core.attempts["qwen3-8b"][0])
    qtbot.waitUntil(lambda: panel.history.rows.rowCount() == 2)
    assert panel.history.rows.row_at(0).explanation == "Second."
    assert panel.history.explanation.text() == "First."


def test_without_attempts_and_without_an_answer_the_history_says_so(
    panel: DetailsPanel, core: FakeCore, qtbot: QtBot
) -> None:
    panel.tabs.setCurrentIndex(HISTORY)
    qtbot.waitUntil(lambda: panel.history.empty.title.text() == "Not loaded yet")
    core.answers["GET", "/api/models/mistral-7b/attempts"] = (500, {"detail": "The disk is full.", "code": "x"})
    panel.show_model("mistral-7b")
    qtbot.waitUntil(lambda: panel.history.empty.title.text() == "The history could not be read")
    assert "The disk is full." in panel.history.empty.words.text()


def test_the_attempt_list_keeps_qts_rules() -> None:
    rows = AttemptList()
    tester = QAbstractItemModelTester(rows, QAbstractItemModelTester.FailureReportingMode.Fatal)
    attempts = [make_attempt(number, "m") for number in (2, 1)]
    rows.show(attempts)
    rows.show([make_attempt(3, "m"), *attempts])
    rows.show([])
    assert tester.model() is rows


def send(panel: DetailsPanel, qtbot: QtBot, words: str) -> None:
    panel.tabs.setCurrentIndex(TRY_IT)
    panel.try_it.prompt.setPlainText(words)
    qtbot.keyClick(panel.try_it.prompt, Qt.Key.Key_Return)


def test_trying_a_model_loads_it_and_streams_the_answer(panel: DetailsPanel, core: FakeCore, qtbot: QtBot) -> None:
    panel.tabs.setCurrentIndex(TRY_IT)
    assert panel.try_it.note.text() == "qwen3-8b is not loaded. Sending a message loads it first."
    send(panel, qtbot, "Hi")
    qtbot.waitUntil(lambda: len(panel.try_it.transcript.messages()) == 2 and not panel.try_it.answering)
    asked, answered = panel.try_it.transcript.messages()
    assert (asked.words.text(), answered.words.text()) == ("Hi", "Hello there")
    assert answered.figures.text().startswith("First token after ")
    assert "tokens/s" in answered.figures.text()
    assert core.models["qwen3-8b"].loaded
    send(panel, qtbot, "More")
    qtbot.waitUntil(lambda: len(core.called("POST", "/v1/chat/completions")) == 2 and not panel.try_it.answering)
    sent = core.called("POST", "/v1/chat/completions")[1]
    assert [message["content"] for message in sent["messages"]] == ["Hi", "Hello there", "More"]


def test_an_error_in_the_chat_gives_the_message_back(panel: DetailsPanel, core: FakeCore, qtbot: QtBot) -> None:
    core.change("qwen3-8b", phase=Phase.LOADED, loaded=True)
    core.answers["POST", "/v1/chat/completions"] = (503, {"error": {"message": "The engine stopped.", "code": "gone"}})
    qtbot.waitUntil(lambda: panel.primary.text() == "Unload")
    send(panel, qtbot, "Hi")
    qtbot.waitUntil(lambda: not panel.try_it.answering and bool(panel.try_it.transcript.messages()))
    assert panel.try_it.transcript.messages()[1].figures.text() == "The engine stopped."
    assert panel.try_it.prompt.toPlainText() == "Hi"


def test_an_answer_can_be_stopped(panel: DetailsPanel, core: FakeCore, qtbot: QtBot) -> None:
    core.change("qwen3-8b", phase=Phase.LOADED, loaded=True)
    qtbot.waitUntil(lambda: panel.primary.text() == "Unload")
    send(panel, qtbot, "Hi")
    assert panel.try_it.stop_button.isVisible()
    press(qtbot, panel.try_it.stop_button)
    qtbot.waitUntil(lambda: not panel.try_it.answering)
    assert panel.try_it.send_button.isVisible()


def test_shift_enter_starts_a_new_line(panel: DetailsPanel, core: FakeCore) -> None:
    panel.try_it.prompt.setPlainText("")
    QApplication.sendEvent(
        panel.try_it.prompt,
        QKeyEvent(QEvent.Type.KeyPress, Qt.Key.Key_Return, Qt.KeyboardModifier.ShiftModifier, "\r"),
    )
    assert panel.try_it.transcript.messages() == []
