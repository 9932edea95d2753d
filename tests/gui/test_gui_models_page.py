"""The Models page: cards, search, keyboard, adding, dialogs before a load."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_core import FakeCore
from PySide6.QtCore import QMimeData, QPoint, QPointF, QSettings, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent
from PySide6.QtWidgets import QApplication, QPushButton, QWidget
from pytestqt.qtbot import QtBot

from quarterdeck.gui.backend_commands import BackendCommands
from quarterdeck.gui.commands import Commands
from quarterdeck.gui.dialogs.add_model import AddModelDialog, proposed_name
from quarterdeck.gui.dialogs.ask import Question
from quarterdeck.gui.models.model_list import ModelRows
from quarterdeck.gui.pages.models import ModelsPage
from quarterdeck.gui.presenters.filters import Filters, SortKey
from quarterdeck.gui.store import Store
from quarterdeck.gui.widgets.model_card import ModelCard
from quarterdeck.schemas.models import LoadProgress, Phase, Status


@pytest.fixture
def told(store: Store) -> list[str]:
    """Everything that toasts said, and the actions they offered."""
    words: list[str] = []
    store.toast.connect(lambda text, _kind: words.append(text))
    store.offer.connect(lambda text, verb, _action, _kind: words.append(f"{text} [{verb}]"))
    return words


@pytest.fixture
def page(store: Store, told: list[str], qtbot: QtBot) -> Iterator[ModelsPage]:
    made = ModelsPage(store, Commands(store), BackendCommands(store))
    made._commands._window = made
    qtbot.addWidget(made)
    made.resize(1240, 800)
    made.show()
    qtbot.waitExposed(made)
    yield made


def card(page: ModelsPage, name: str) -> ModelCard:
    return page.board.cards[name]


def press(qtbot: QtBot, button: QWidget) -> None:
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def question(qtbot: QtBot, page: ModelsPage) -> Question:
    qtbot.waitUntil(lambda: any(one.isVisible() for one in page.findChildren(Question)))
    return next(one for one in page.findChildren(Question) if one.isVisible())


def loads(core: FakeCore) -> list[dict[str, object]]:
    return core.called("POST", "/api/orchestrate/load")


def test_there_is_a_card_for_each_model_with_a_name_to_read_aloud(page: ModelsPage) -> None:
    assert page.board.order == ["llama-70b", "mistral-7b", "qwen3-8b", "smollm2-135m"]
    assert card(page, "smollm2-135m").accessibleName() == "smollm2-135m, Q4_K_M, 100 MiB, compatible, not loaded"
    assert page.toolbar.count.text() == "4 models"


def test_loading_shows_progress_and_ends_loaded(
    page: ModelsPage, core: FakeCore, told: list[str], qtbot: QtBot
) -> None:
    core.load_gate = asyncio.Event()
    shown = card(page, "smollm2-135m")
    press(qtbot, shown.button)
    qtbot.waitUntil(lambda: core.models["smollm2-135m"].phase == Phase.LOADING)
    core.change("smollm2-135m", progress=LoadProgress(stage="reading weights", fraction=0.5, elapsed_s=3, usual_s=6))
    qtbot.waitUntil(lambda: "50 %" in shown.progress_line.text())
    assert shown.bar.isVisible()
    assert shown.button.text() == "Cancel"
    core.load_gate.set()
    qtbot.waitUntil(lambda: shown.button.text() == "Unload")
    qtbot.waitUntil(lambda: told == ["Loaded smollm2-135m in 1.5 s"])
    assert not shown.bar.isVisible()
    assert loads(core) == [{"model_name": "smollm2-135m", "force_load": False}]


def test_a_load_can_be_cancelled(page: ModelsPage, core: FakeCore, told: list[str], qtbot: QtBot) -> None:
    core.load_gate = asyncio.Event()
    shown = card(page, "qwen3-8b")
    press(qtbot, shown.button)
    qtbot.waitUntil(lambda: core.models["qwen3-8b"].phase == Phase.LOADING)
    qtbot.waitUntil(lambda: shown.button.text() == "Cancel")
    press(qtbot, shown.button)
    qtbot.waitUntil(lambda: bool(core.called("POST", "/api/orchestrate/cancel")))
    core.load_gate.set()
    qtbot.waitUntil(lambda: told == ["Loading qwen3-8b was cancelled"])
    qtbot.waitUntil(lambda: shown.button.text() == "Load")
    assert shown.state.error == ""


def test_an_incompatible_model_is_forced_only_after_a_question(page: ModelsPage, core: FakeCore, qtbot: QtBot) -> None:
    press(qtbot, card(page, "llama-70b").button)
    asked = question(qtbot, page)
    assert asked.windowTitle() == "Load llama-70b anyway?"
    assert {button.text() for button in asked.findChildren(QPushButton)} == {"Load anyway", "Cancel"}
    assert asked.cancel_button.isDefault()
    press(qtbot, asked.verb_button)
    qtbot.waitUntil(lambda: bool(loads(core)))
    assert loads(core) == [{"model_name": "llama-70b", "force_load": True}]


def test_escape_leaves_an_incompatible_model_alone(page: ModelsPage, core: FakeCore, qtbot: QtBot) -> None:
    press(qtbot, card(page, "llama-70b").button)
    asked = question(qtbot, page)
    qtbot.keyClick(asked, Qt.Key.Key_Escape)
    qtbot.waitUntil(lambda: not page._commands._asking)
    assert loads(core) == []


def test_a_degraded_model_is_loaded_without_force(page: ModelsPage, core: FakeCore, qtbot: QtBot) -> None:
    press(qtbot, card(page, "mistral-7b").button)
    asked = question(qtbot, page)
    assert asked.windowTitle() == "Load mistral-7b?"
    press(qtbot, asked.verb_button)
    qtbot.waitUntil(lambda: bool(loads(core)))
    assert loads(core) == [{"model_name": "mistral-7b", "force_load": False}]


def test_an_interrupted_test_is_forced_after_a_question(page: ModelsPage, core: FakeCore, qtbot: QtBot) -> None:
    core.change("qwen3-8b", status=Status.TESTING)
    qtbot.waitUntil(lambda: card(page, "qwen3-8b").badge.text == "Being tested")
    press(qtbot, card(page, "qwen3-8b").button)
    press(qtbot, question(qtbot, page).verb_button)
    qtbot.waitUntil(lambda: bool(loads(core)))
    assert loads(core)[0]["force_load"] is True


def test_a_refusal_by_the_core_asks_as_well(page: ModelsPage, core: FakeCore, qtbot: QtBot) -> None:
    core.models["qwen3-8b"] = core.models["qwen3-8b"].model_copy(update={"status": Status.INCOMPATIBLE})
    press(qtbot, card(page, "qwen3-8b").button)
    press(qtbot, question(qtbot, page).verb_button)
    qtbot.waitUntil(lambda: core.models["qwen3-8b"].loaded)
    assert [load["force_load"] for load in loads(core)] == [False, True]


def test_a_failure_stands_on_the_card_and_leads_to_the_history(
    page: ModelsPage, core: FakeCore, told: list[str], qtbot: QtBot
) -> None:
    core.answers["POST", "/api/orchestrate/load"] = (424, {"detail": "The file is cut off.", "code": "truncated_file"})
    shown = card(page, "qwen3-8b")
    press(qtbot, shown.button)
    qtbot.waitUntil(lambda: shown.error.isVisible())
    assert shown.error.text() == "The file is cut off."
    qtbot.waitUntil(lambda: told == ["qwen3-8b could not be loaded. The file is cut off. [Details]"])
    press(qtbot, shown.error)
    assert page.panel.isVisible()
    assert page.panel.tabs.tabText(page.panel.tabs.currentIndex()) == "History"


def test_unloading_offers_to_load_again(page: ModelsPage, core: FakeCore, told: list[str], qtbot: QtBot) -> None:
    core.change("smollm2-135m", phase=Phase.LOADED, loaded=True)
    shown = card(page, "smollm2-135m")
    qtbot.waitUntil(lambda: shown.button.text() == "Unload")
    shown.setFocus()
    qtbot.keyClick(shown, Qt.Key.Key_Delete)
    qtbot.waitUntil(lambda: told == ["Unloaded smollm2-135m [Load again]"])
    assert core.called("POST", "/api/orchestrate/unload") == [{"model_name": "smollm2-135m"}]


def test_removing_asks_and_says_that_the_file_stays(page: ModelsPage, core: FakeCore, qtbot: QtBot) -> None:
    page.show_details("qwen3-8b")
    page._menu("qwen3-8b", "remove")
    asked = question(qtbot, page)
    assert "/models/qwen3-8b.gguf" in asked.accessibleDescription()
    press(qtbot, asked.verb_button)
    qtbot.waitUntil(lambda: "qwen3-8b" not in page.board.cards)
    assert not page.panel.isVisible()


def test_search_filter_and_sort(page: ModelsPage, core: FakeCore, qtbot: QtBot) -> None:
    qtbot.keyClick(page, Qt.Key.Key_F, Qt.KeyboardModifier.ControlModifier)
    qtbot.keyClicks(page.toolbar.search, "7")
    qtbot.waitUntil(lambda: page.board.order == ["llama-70b", "mistral-7b"])
    assert page.toolbar.count.text() == "2 of 4"
    page.toolbar.status.setCurrentIndex(page.toolbar.status.findData(Status.DEGRADED))
    assert page.board.order == ["mistral-7b"]
    assert "llama-70b" not in page.board.cards
    qtbot.keyClick(page.toolbar.search, Qt.Key.Key_Escape)
    page.toolbar.clear()
    page.toolbar.sort.setCurrentIndex(page.toolbar.sort.findData(SortKey.SIZE.value))
    assert page.board.order[0] == "smollm2-135m"
    page.toolbar.direction.click()
    assert page.board.order[-1] == "smollm2-135m"


def test_nothing_found_offers_to_clear_the_filters(page: ModelsPage, qtbot: QtBot) -> None:
    qtbot.keyClicks(page.toolbar.search, "zephyr")
    qtbot.waitUntil(lambda: page.empty.isVisible())
    assert page.empty.title.text() == "No model matches “zephyr”"
    press(qtbot, page.empty.button)
    qtbot.waitUntil(lambda: len(page.board.order) == 4)


def test_a_card_stays_where_it_is_while_its_status_changes(page: ModelsPage, core: FakeCore, qtbot: QtBot) -> None:
    page.toolbar.status.setCurrentIndex(page.toolbar.status.findData(Status.COMPATIBLE))
    before = card(page, "smollm2-135m")
    core.change("smollm2-135m", status=Status.TESTING, phase=Phase.LOADING)
    qtbot.waitUntil(lambda: before.badge.text == "Being tested")
    assert page.board.order == ["smollm2-135m"]
    assert card(page, "smollm2-135m") is before
    assert before.isVisible()


def test_the_order_is_remembered(store: Store, qtbot: QtBot, tmp_path: Path) -> None:
    settings = QSettings(str(tmp_path / "window.ini"), QSettings.Format.IniFormat)
    first = ModelsPage(store, Commands(store), BackendCommands(store), settings)
    qtbot.addWidget(first)
    first.toolbar.sort.setCurrentIndex(first.toolbar.sort.findData(SortKey.USED.value))
    first.toolbar.direction.click()
    second = ModelsPage(store, Commands(store), BackendCommands(store), settings)
    qtbot.addWidget(second)
    assert second.rows.filters == Filters(sort=SortKey.USED, descending=True)


def test_without_models_the_page_says_what_to_do(core: FakeCore, store: Store, page: ModelsPage, qtbot: QtBot) -> None:
    for name in list(core.models):
        core.publish("model", "removed", {"name": name})
    qtbot.waitUntil(lambda: page.empty.isVisible())
    assert page.empty.title.text() == "No models yet"
    assert page.empty.button.text() == "Add a model"


def test_before_the_first_answer_the_page_says_that_it_reads(qtbot: QtBot) -> None:
    store = Store()
    waiting = ModelsPage(store, Commands(store), BackendCommands(store))
    qtbot.addWidget(waiting)
    assert waiting.empty.title.text() == "Reading the list of models…"


def test_a_new_model_gets_a_card_in_its_place(page: ModelsPage, core: FakeCore, qtbot: QtBot) -> None:
    core.add("alpha")
    core.publish("model", "changed", core.models["alpha"])
    qtbot.waitUntil(lambda: page.board.order[:2] == ["alpha", "llama-70b"])
    assert page.toolbar.count.text() == "5 models"


def test_arrow_keys_move_among_cards_and_enter_acts(page: ModelsPage, core: FakeCore, qtbot: QtBot) -> None:
    qtbot.keyClick(page.toolbar.search, Qt.Key.Key_Down)
    qtbot.waitUntil(lambda: card(page, "llama-70b").hasFocus())
    qtbot.keyClick(card(page, "llama-70b"), Qt.Key.Key_End)
    last = card(page, "smollm2-135m")
    assert last.hasFocus()
    assert last.button.focusPolicy() == Qt.FocusPolicy.StrongFocus
    assert card(page, "llama-70b").button.focusPolicy() == Qt.FocusPolicy.ClickFocus
    qtbot.keyClick(last, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: bool(loads(core)))


def test_whatever_takes_the_keyboard_has_a_name(page: ModelsPage) -> None:
    page.show_details("smollm2-135m")
    nameless = [
        widget
        for widget in page.findChildren(QWidget)
        if widget.isVisible()
        and widget.focusPolicy() & Qt.FocusPolicy.TabFocus
        and not (widget.accessibleName() or getattr(widget, "text", str)() or widget.objectName().startswith("qt_"))
    ]
    assert nameless == []


def test_a_narrow_page_shows_details_instead_of_the_list(page: ModelsPage, qtbot: QtBot) -> None:
    page.show_details("qwen3-8b")
    assert page.board.isVisible()
    page.resize(780, 640)
    qtbot.waitUntil(lambda: not page.board.isVisible())
    press(qtbot, page.panel.back)
    qtbot.waitUntil(lambda: page.board.isVisible())
    assert not page.panel.isVisible()


def drop(page: ModelsPage, *files: str) -> None:
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(file) for file in files])
    action, left, none = Qt.DropAction.CopyAction, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    enter = QDragEnterEvent(QPoint(5, 5), action, data, left, none)
    QApplication.sendEvent(page, enter)
    assert enter.isAccepted()
    QApplication.sendEvent(page, QDropEvent(QPointF(5, 5), action, data, left, none))


def adding(qtbot: QtBot, page: ModelsPage) -> AddModelDialog:
    qtbot.waitUntil(lambda: any(one.isVisible() for one in page.findChildren(AddModelDialog)))
    return next(one for one in page.findChildren(AddModelDialog) if one.isVisible())


def test_a_dropped_file_is_added_under_its_own_name(
    page: ModelsPage, core: FakeCore, told: list[str], qtbot: QtBot
) -> None:
    drop(page, "/data/Tiny-1B.Q4_K_M.gguf")
    dialog = adding(qtbot, page)
    assert dialog.name.text() == "Tiny-1B.Q4_K_M"
    press(qtbot, dialog.send)
    qtbot.waitUntil(lambda: "Tiny-1B.Q4_K_M" in page.board.order)
    assert told == ["Added Tiny-1B.Q4_K_M [Load]"]
    assert core.called("POST", "/api/models") == [{"model_name": "Tiny-1B.Q4_K_M", "path": "/data/Tiny-1B.Q4_K_M.gguf"}]


def test_a_bad_file_says_why_and_loses_nothing(page: ModelsPage, core: FakeCore, qtbot: QtBot) -> None:
    core.answers["POST", "/api/models"] = (
        400, {"detail": "notes.gguf is not a GGUF file.", "code": "not_gguf", "hint": "Choose a GGUF file."},
    )  # fmt: skip
    drop(page, "/data/notes.gguf")
    dialog = adding(qtbot, page)
    press(qtbot, dialog.send)
    qtbot.waitUntil(lambda: dialog.problem.isVisible())
    assert dialog.problem.text() == "notes.gguf is not a GGUF file. Choose a GGUF file."
    assert dialog.path.text() == "/data/notes.gguf"
    assert dialog.send.isEnabled()
    dialog.reject()


def test_a_name_that_is_taken_can_be_changed(page: ModelsPage, core: FakeCore, qtbot: QtBot) -> None:
    drop(page, "/data/qwen3-8b.gguf")
    dialog = adding(qtbot, page)
    press(qtbot, dialog.send)
    qtbot.waitUntil(lambda: dialog.problem.isVisible())
    assert "already a model" in dialog.problem.text()
    dialog.name.setText("qwen3-8b-second")
    press(qtbot, dialog.send)
    qtbot.waitUntil(lambda: "qwen3-8b-second" in page.board.order)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("a/Model.Q4_K_M.gguf", "Model.Q4_K_M"),
        ("a/big-00001-of-00004.GGUF", "big"),
        ("a/plain", "plain"),
    ],
)
def test_names_come_from_files(file: str, name: str) -> None:
    assert proposed_name(Path(file)) == name


def test_models_that_come_and_go_keep_the_order_that_was_chosen(store: Store, core: FakeCore, qtbot: QtBot) -> None:
    rows = ModelRows(store)
    rows.set_filters(Filters(words="a", sort=SortKey.SIZE, descending=True))
    core.add("alpha", size_bytes=1)
    core.publish("model", "changed", core.models["alpha"])
    core.publish("model", "removed", {"name": "llama-70b"})
    qtbot.waitUntil(lambda: rows.total == 4 and "alpha" in rows.names)
    assert rows.names == ["qwen3-8b", "mistral-7b", "smollm2-135m", "alpha"]
    core.add("zephyr")
    core.publish("model", "changed", core.models["zephyr"])
    qtbot.waitUntil(lambda: rows.total == 5)
    assert "zephyr" not in rows.names or rows.filters.accepts(core.models["zephyr"])
