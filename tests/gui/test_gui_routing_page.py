"""The Routing page: where names lead, rules as lines, what is wrong with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from fake_core import FakeCore
from PySide6.QtCore import QModelIndex, Qt
from PySide6.QtWidgets import QLabel, QLineEdit
from pytestqt.qtbot import QtBot

from quarterdeck.gui.pages.routing import RoutingPage
from quarterdeck.gui.presenters.routing import Kind
from quarterdeck.gui.store import Store
from quarterdeck.gui.widgets.name_completer import NameCompleter
from quarterdeck.gui.widgets.rules_editor import RulePage
from quarterdeck.schemas.requests import PatternRule, RouteReport, RouteStep, RoutingRules, RuleProblem

RULES = RoutingRules(patterns=[PatternRule(pattern="gpt-4.*", model="qwen3-8b"),
                               PatternRule(pattern="claude.*", model="mistral-7b")])  # fmt: skip


@pytest.fixture
def page(store: Store, core: FakeCore, qtbot: QtBot) -> Iterator[RoutingPage]:
    core.clients.rules = RULES
    made = RoutingPage(store)
    qtbot.addWidget(made)
    made.resize(1200, 800)
    made.show()
    qtbot.waitExposed(made)
    made.page_shown()
    qtbot.waitUntil(lambda: len(patterns(made).rows.lines) == 2)
    yield made
    made.page_hidden()


def patterns(page: RoutingPage) -> RulePage:
    return page.editor.pages[Kind.PATTERNS]


def write(page: RulePage, row: int, column: int, text: str) -> None:
    assert page.rows.setData(page.rows.index(row, column), text)


def test_a_name_is_tried_as_it_is_typed(page: RoutingPage, core: FakeCore, qtbot: QtBot) -> None:
    page.tester.name.setText("qwen3-8b")
    qtbot.waitUntil(lambda: page.tester.title.text() == "qwen3-8b at llama.cpp (built in)")
    assert page.tester.about.text() == "Rule: Own name"
    assert page.tester.step_texts == ["Own name: A model is named “qwen3-8b”."]
    assert core.called("POST", "/api/routing/test") == [{"model": "qwen3-8b", "down": [], "needs": []}]
    page.tester.name.clear()
    qtbot.waitUntil(lambda: page.tester.title.text() == "Nothing asked yet")


def test_a_backend_can_be_pretended_to_be_down(page: RoutingPage, core: FakeCore, qtbot: QtBot) -> None:
    page.tester.name.setText("qwen3-8b")
    qtbot.waitUntil(lambda: page.tester.title.text().startswith("qwen3-8b at"))
    down, needs = page.tester.down, page.tester.needs
    next(action for action in down.menu().actions() if action.data() == "qwen3-8b").trigger()
    next(action for action in needs.menu().actions() if action.data() == "vision").trigger()
    qtbot.waitUntil(lambda: page.tester.title.text() == "Nobody answers")
    assert page.tester.about.text() == "qwen3-8b is down, and nothing stands in for it."
    assert core.called("POST", "/api/routing/test")[-1] == {
        "model": "qwen3-8b", "down": ["qwen3-8b"], "needs": ["vision"],
    }  # fmt: skip
    assert (down.text(), needs.text()) == ("As if down: 1", "Needs: 1")
    core.add("new-one")
    page._refresh()
    assert down.chosen() == ["qwen3-8b"]


def test_an_answer_to_an_earlier_name_is_not_shown(page: RoutingPage, qtbot: QtBot) -> None:
    page.tester.name.setText("second")
    page.tester.show_report(RouteReport(asked="first", rule="exact", model="first"))
    assert page.tester.title.text() == "Nothing asked yet"


def test_fallbacks_and_the_order_are_told(page: RoutingPage, core: FakeCore, qtbot: QtBot) -> None:
    core.clients.report = RouteReport(
        asked="chat", rule="balance", model="a", tried=["a", "b"], fallbacks={"error": ["c"], "content": []},
        steps=[RouteStep(rule="balance", fits=True, sentence="Shared.")],
    )  # fmt: skip
    page.tester.name.setText("chat")
    qtbot.waitUntil(lambda: page.tester.title.text() == "a")
    words = {label.text() for label in page.tester.findChildren(QLabel)}
    assert {"Tried in this order", "a, b", "After an error", "c"} <= words
    assert "When content is refused" not in words
    assert page.tester.step_texts == ["Sharing: Shared."]


def test_rules_are_written_and_saved(page: RoutingPage, core: FakeCore, qtbot: QtBot) -> None:
    told: list[str] = []
    page._store.toast.connect(lambda text, _kind: told.append(text))
    sharing = page.editor.pages[Kind.BALANCE]
    page.editor.tabs.setCurrentWidget(sharing)
    sharing.add.click()
    write(sharing, 0, 0, "chat")
    write(sharing, 0, 1, "qwen3-8b × 3, mistral-7b")
    assert page.unsaved() == {"the routing rules"}
    page.editor.bar.save.click()
    qtbot.waitUntil(lambda: told == ["Saved the routing rules"])
    assert core.clients.rules.patterns == RULES.patterns
    assert [(each.model, each.weight) for each in core.clients.rules.balance[0].models] == [
        ("qwen3-8b", 3.0), ("mistral-7b", 1.0),
    ]  # fmt: skip
    assert page.unsaved() == set()


def test_without_rules_the_table_says_how_to_begin(page: RoutingPage, qtbot: QtBot) -> None:
    sharing = page.editor.pages[Kind.BALANCE]
    page.editor.tabs.setCurrentWidget(sharing)
    assert sharing.empty.isVisible()
    assert "shared among models" in sharing.empty.words.text()
    assert "write the name that clients ask for" in sharing.empty.words.text()
    sharing.empty.button.click()
    assert sharing.table.isVisible()
    assert any(field.isVisible() for field in sharing.table.viewport().findChildren(QLineEdit))
    sharing.table.selectRow(0)
    sharing.remove.click()
    assert sharing.empty.isVisible()
    assert not patterns(page).empty.isVisible()


def test_patterns_change_places(page: RoutingPage, core: FakeCore, qtbot: QtBot) -> None:
    rules = patterns(page)
    page.editor.tabs.setCurrentWidget(rules)
    assert not rules.down.isEnabled()
    rules.table.selectRow(0)
    rules.down.click()
    rules.down.click()
    assert [cells[0] for cells in rules.rows.lines] == ["claude.*", "gpt-4.*"]
    rules.up.click()
    assert [cells[0] for cells in rules.rows.lines] == ["gpt-4.*", "claude.*"]
    assert page.unsaved() == set()
    rules.remove.click()
    assert [cells[0] for cells in rules.rows.lines] == ["claude.*"]
    page.editor.bar.revert.click()
    assert len(rules.rows.lines) == 2


def test_lines_that_cannot_be_read_are_not_sent(page: RoutingPage, core: FakeCore) -> None:
    rules = patterns(page)
    rules.rows.add()
    write(rules, 2, 0, "o1.*")
    page.editor.bar.save.click()
    assert page.editor.problems.text() == "Patterns, line 3: “Model” is empty."
    assert core.called("PUT", "/api/routing") == []
    write(rules, 2, 1, "qwen3-8b")
    assert not page.editor.problems.isVisible()


def test_what_the_core_refuses_is_marked_in_its_line(page: RoutingPage, core: FakeCore, qtbot: QtBot) -> None:
    problem = RuleProblem(where="patterns[1]", severity="error", sentence="The pattern is broken.", hint="Mend it.")
    core.answers["PUT", "/api/routing"] = (
        400, {"detail": "The pattern is broken.", "code": "bad_rules", "hint": "", "problems": [problem.model_dump()]},
    )  # fmt: skip
    rules = patterns(page)
    write(rules, 1, 0, "claude(")
    page.editor.bar.save.click()
    qtbot.waitUntil(lambda: page.editor.problems.text() == "Patterns, line 2: The pattern is broken. Mend it.")
    place = rules.rows.index(1, 0)
    assert rules.rows.data(place, Qt.ItemDataRole.DecorationRole) is not None
    assert "The pattern is broken." in rules.rows.data(place, Qt.ItemDataRole.AccessibleTextRole)
    assert page.editor.bar.save.isEnabled()


def test_doubts_are_shown_without_standing_in_the_way(
    page: RoutingPage, core: FakeCore, qtbot: QtBot, finish: Callable[..., object]
) -> None:
    core.clients.problems = [RuleProblem(where="patterns[0]", severity="warning", sentence="qwen3-8b is deprecated.")]
    finish(page._fetch())
    assert page.editor.problems.text() == "Patterns, line 1: qwen3-8b is deprecated."
    assert not page.editor.dirty


def test_edits_survive_a_second_visit(page: RoutingPage, core: FakeCore, qtbot: QtBot) -> None:
    write(patterns(page), 0, 1, "mistral-7b")
    page.page_hidden()
    core.clients.rules = RoutingRules()
    page.page_shown()
    qtbot.wait(50)
    assert patterns(page).rows.lines[0] == ("gpt-4.*", "mistral-7b")


def test_the_model_for_unknown_names_is_a_setting(page: RoutingPage, core: FakeCore, qtbot: QtBot) -> None:
    page.default.setCurrentIndex(page.default.findData("mistral-7b"))
    page.default.activated.emit(page.default.currentIndex())
    qtbot.waitUntil(lambda: core.called("PATCH", "/api/settings") == [{"default_model": "mistral-7b"}])
    qtbot.waitUntil(lambda: page.default.currentData() == "mistral-7b")


def test_names_are_offered_behind_every_comma(qtbot: QtBot) -> None:
    field = QLineEdit("qwen3-8b, mis")
    qtbot.addWidget(field)
    completer = NameCompleter(["qwen3-8b", "mistral-7b"], field)
    assert completer.splitPath(field.text()) == ["mis"]
    completer.setCompletionPrefix("mis")
    index = completer.completionModel().index(0, 0, QModelIndex())
    assert completer.pathFromIndex(index) == "qwen3-8b, mistral-7b"
    field.setText("mis")
    assert completer.pathFromIndex(index) == "mistral-7b"


def test_a_cell_is_written_into(page: RoutingPage, qtbot: QtBot) -> None:
    rules = patterns(page)
    page.editor.tabs.setCurrentWidget(rules)
    rules.add.click()
    editor = next(field for field in rules.table.viewport().findChildren(QLineEdit) if field.isVisible())
    qtbot.keyClicks(editor, "o1-.*")
    qtbot.keyClick(editor, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: rules.rows.lines[2][0] == "o1-.*")


def test_a_narrow_window_puts_one_above_the_other(page: RoutingPage) -> None:
    page.resize(780, 700)
    assert page._split.orientation() == Qt.Orientation.Vertical
    page.resize(1400, 700)
    assert page._split.orientation() == Qt.Orientation.Horizontal
