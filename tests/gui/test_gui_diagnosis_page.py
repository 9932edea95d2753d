"""The Diagnosis page: problems with the changes against them, the way to what they are about, the file for support."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_core import FakeCore
from fake_diagnosis import make_problem
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QDialog, QFileDialog, QLabel
from pytestqt.qtbot import QtBot

from quarterdeck.gui.dialogs.ask import Question
from quarterdeck.gui.dialogs.fix_preview import FixPreviewDialog
from quarterdeck.gui.pages.diagnosis import DiagnosisPage
from quarterdeck.gui.store import Store
from quarterdeck.gui.widgets.empty_state import EmptyState
from quarterdeck.schemas.problems import Change, Fix, FixKind, FixPreview, Severity


@pytest.fixture
def toasts(store: Store) -> list[str]:
    """Everything that toasts said, and what they offered."""
    words: list[str] = []
    store.toast.connect(lambda text, kind: words.append(f"{kind}: {text}"))
    store.offer.connect(lambda text, verb, _action, kind: words.append(f"{kind}: {text} [{verb}]"))
    return words


@pytest.fixture
def page(store: Store, core: FakeCore, qtbot: QtBot) -> Iterator[DiagnosisPage]:
    core.diagnosis.problems = [
        make_problem("context"),
        make_problem("tools", severity=Severity.MEDIUM, subject="server:embedded", title="Tools are not answered",
                     known_issue="gemma-system", fixes=[], times=3),
    ]  # fmt: skip
    made = DiagnosisPage(store)
    qtbot.addWidget(made)
    made.resize(1100, 800)
    made.show()
    made.page_shown()
    qtbot.waitUntil(lambda: len(made.problems.cards) == 2)
    yield made
    made.page_hidden()


def dialog(page: DiagnosisPage, qtbot: QtBot) -> FixPreviewDialog:
    """The preview that is open."""
    open_: list[FixPreviewDialog] = []

    def there() -> bool:
        open_[:] = [found for found in page.findChildren(FixPreviewDialog) if found.isVisible()]
        return bool(open_)

    qtbot.waitUntil(there)
    return open_[0]


def test_a_card_says_what_why_and_what_helps(page: DiagnosisPage) -> None:
    card = page.problems.cards["context"]
    assert card.badge.text == "High"
    assert card.text.splitlines()[0] == "The context does not fit"
    assert card.text.splitlines()[1].startswith("Model qwen3-8b · since ")
    assert "2.1 GiB were free" in card.text
    assert card.evidence.lines == ["41  cudaMalloc failed: out of memory"]
    assert [button.text() for button in card.fixes.values()] == ["Use 8192 tokens of context…"]
    assert "Server llama.cpp (built in) · since" in page.problems.cards["tools"].text
    assert "3 times" in page.problems.cards["tools"].text
    assert page.problems.summary.text() == "2 problems: 1 high, 1 medium"
    assert page.tabs.tabText(0) == "Problems (2)"


def test_two_clicks_make_a_change_that_can_be_taken_back(
    page: DiagnosisPage, core: FakeCore, toasts: list[str], qtbot: QtBot
) -> None:
    page.problems.cards["context"].fixes["shorter"].click()
    preview = dialog(page, qtbot)
    assert {"n_ctx", "32768", "8192"} <= set(preview.texts)
    assert preview.consequence.text().endswith("This can be taken back.")
    assert core.called("POST", "/api/fixes/apply") == []
    preview.verb_button.click()
    qtbot.waitUntil(lambda: "context" not in page.problems.cards)
    assert core.called("POST", "/api/fixes/apply") == [{"problem_id": "context", "fix_id": "shorter"}]
    assert toasts == ["ok: It loads with 8192 tokens. [Undo]"]
    qtbot.waitUntil(lambda: "u1" in page.problems.applied.buttons)
    assert "it helped" in page.problems.applied.texts[0]
    page.problems.applied.buttons["u1"].click()
    qtbot.waitUntil(lambda: page.problems.applied.buttons == {})
    assert toasts[1:] == ["ok: It is as it was before."]


def test_nothing_changes_when_the_preview_is_left(page: DiagnosisPage, core: FakeCore, qtbot: QtBot) -> None:
    button = page.problems.cards["context"].fixes["shorter"]
    button.setFocus()
    button.click()
    dialog(page, qtbot).reject()
    qtbot.waitUntil(lambda: len(core.called("GET", "/api/fixes")) >= 1)
    assert core.called("POST", "/api/fixes/apply") == []
    assert page.problems.cards["context"].doing_text == ""
    assert page.focusWidget() is button


def test_tab_goes_from_card_to_card_as_they_stand(page: DiagnosisPage, core: FakeCore, qtbot: QtBot) -> None:
    core.diagnosis.problems = [make_problem("new"), *core.diagnosis.problems]
    page.problems.tab_shown()
    qtbot.waitUntil(lambda: len(page.problems.cards) == 3 and page.problems.cards["new"].isVisible())
    page.problems.again.setFocus()
    reached: list[str] = []
    for _ in range(9):
        page.problems.focusNextChild()
        card = next((id for id, card in page.problems.cards.items() if card.isAncestorOf(page.focusWidget())), "")
        reached += [card] if card not in reached else []
    assert reached == ["new", "context", "tools"]


def test_a_card_that_is_worked_at_stays_where_it_is(page: DiagnosisPage, core: FakeCore, qtbot: QtBot) -> None:
    core.diagnosis.gate = asyncio.Event()
    first, last = core.diagnosis.problems
    core.diagnosis.problems = [first, make_problem("between"), last]
    page.problems.tab_shown()
    qtbot.waitUntil(lambda: len(page.problems.cards) == 3)
    page.problems.cards["between"].fixes["shorter"].click()
    dialog(page, qtbot).verb_button.click()
    qtbot.waitUntil(lambda: bool(page.problems.cards["between"].doing_text))
    core.diagnosis.problems = [first, last]
    page.problems.tab_shown()
    qtbot.waitUntil(lambda: len(page._store.problems.views) == 2)
    tops = {page.problems.cards[id].y(): id for id in ("context", "between", "tools")}
    assert [tops[top] for top in sorted(tops)] == ["context", "between", "tools"]
    core.diagnosis.gate.set()
    qtbot.waitUntil(lambda: "between" not in page.problems.cards)


def test_a_trial_shows_that_it_runs_and_can_be_cancelled(page: DiagnosisPage, core: FakeCore, qtbot: QtBot) -> None:
    core.diagnosis.gate = asyncio.Event()
    card = page.problems.cards["context"]
    card.fixes["shorter"].setFocus()
    card.fixes["shorter"].click()
    dialog(page, qtbot).verb_button.click()
    qtbot.waitUntil(lambda: card.doing_text.startswith("Use 8192 tokens of context · "))
    assert not card.fixes["shorter"].isEnabled()
    core.diagnosis.problems = core.diagnosis.problems[1:]
    page.problems.tab_shown()
    qtbot.waitUntil(lambda: len(page._store.problems.views) == 1)
    assert list(page.problems.cards) == ["context", "tools"]
    assert page.focusWidget() is card.cancel
    card.cancel.click()
    qtbot.waitUntil(lambda: core.called("POST", "/api/orchestrate/cancel") != [])
    core.diagnosis.gate.set()
    qtbot.waitUntil(lambda: "context" not in page.problems.cards)


def test_a_change_is_taken_back_once(page: DiagnosisPage, core: FakeCore, toasts: list[str], qtbot: QtBot) -> None:
    page.problems.cards["context"].fixes["shorter"].click()
    dialog(page, qtbot).verb_button.click()
    qtbot.waitUntil(lambda: "u1" in page.problems.applied.buttons)
    page.problems.commands.undo("u1")
    assert page.problems.applied.buttons["u1"].text() == "Undoing…"
    assert not page.problems.applied.buttons["u1"].isEnabled()
    page.problems.commands.undo("u1")
    qtbot.waitUntil(lambda: page.problems.applied.buttons == {})
    assert len(core.called("POST", "/api/fixes/u1/undo")) == 1


def test_nothing_is_said_twice(page: DiagnosisPage, core: FakeCore, qtbot: QtBot) -> None:
    line = "line 18: A fallback leads to “codr”. Is “coder” meant?"
    core.diagnosis.problems = [
        make_problem(
            "fault", subject="file:/etc/config.yaml", why=line, hint="Is “coder” meant?", advice=[line, "more"]
        )
    ]
    page.problems.tab_shown()
    qtbot.waitUntil(lambda: list(page.problems.cards) == ["fault"])
    assert page.problems.cards["fault"].text.splitlines()[2:] == [
        "Line 18: A fallback leads to “codr”. Is “coder” meant?", "• More",
    ]  # fmt: skip


def test_the_instance_of_a_model_is_shown_as_the_model(page: DiagnosisPage, core: FakeCore, qtbot: QtBot) -> None:
    name = next(iter(page._store.models))
    core.diagnosis.problems = [make_problem("drift", subject=f"server:{name}")]
    page.problems.tab_shown()
    qtbot.waitUntil(lambda: list(page.problems.cards) == ["drift"])
    assert page.problems.cards["drift"].subject.text() == "Show the model"
    with qtbot.waitSignal(page.subject_wanted) as wanted:
        page.problems.cards["drift"].subject.click()
    assert wanted.args == [f"model:{name}"]


def test_a_refused_change_is_told(page: DiagnosisPage, core: FakeCore, toasts: list[str], qtbot: QtBot) -> None:
    core.answers[("POST", "/api/fixes/preview")] = (
        409, {"detail": "The file changed meanwhile.", "code": "changed", "hint": "Look again."},
    )  # fmt: skip
    page.problems.cards["context"].fixes["shorter"].click()
    qtbot.waitUntil(lambda: toasts == ["error: The file changed meanwhile. Look again."])
    assert page.problems.cards["context"].fixes["shorter"].isEnabled()


def test_a_change_of_a_file_is_shown_as_a_difference(qtbot: QtBot) -> None:
    preview = FixPreview(
        title="Take the circle out", undoable=False,
        changes=[Change(what="/etc/config.yaml", before="a: 1\nb: 2\nc: 3\n", after="a: 1\nc: 3\n")],
    )  # fmt: skip
    fix = Fix(id="circle", kind=FixKind.CONFIG_FILE, title="Take the circle out")
    shown = FixPreviewDialog(None, fix, preview)
    qtbot.addWidget(shown)
    assert shown.verb_button.text() == "Take the circle out"
    assert any("-b: 2" in text and "+b" not in text for text in shown.texts)
    assert shown.cancel_button.isDefault()
    assert shown.consequence.text() == "This cannot be taken back."


def test_a_server_is_started_without_ado(qtbot: QtBot) -> None:
    preview = FixPreview(title="Start Ollama", undoable=False,
                         changes=[Change(what="Ollama", before="failed", after="running")])  # fmt: skip
    fix = Fix(id="start", kind=FixKind.START_SERVER, title="Start Ollama", undoable=False)
    shown = FixPreviewDialog(None, fix, preview)
    qtbot.addWidget(shown)
    assert shown.verb_button.text() == "Start Ollama"
    assert shown.verb_button.isDefault()
    assert shown.consequence.isHidden()


def test_problems_lead_to_what_they_are_about(page: DiagnosisPage, qtbot: QtBot) -> None:
    with qtbot.waitSignal(page.subject_wanted) as wanted:
        page.problems.cards["context"].subject.click()
    assert wanted.args == ["model:qwen3-8b"]
    page.problems.cards["tools"].known.click()
    assert page.tabs.currentWidget() is page.known
    qtbot.waitUntil(lambda: page.known.view.title.text() == "Title of gemma-system")
    page.show_problem("server:embedded")
    assert page.tabs.currentWidget() is page.problems
    assert page.problems.cards["tools"].hasFocus()


def test_commands_are_copied(page: DiagnosisPage, toasts: list[str]) -> None:
    from quarterdeck.gui.widgets.copy_line import CopyLine

    line = page.problems.cards["context"].findChild(CopyLine)
    assert isinstance(line, CopyLine)
    line.button.click()
    assert QGuiApplication.clipboard().text() == "nvidia-smi"
    assert toasts == ["info: Copied the command"]


def test_without_problems_that_is_said(store: Store, core: FakeCore, qtbot: QtBot) -> None:
    page = DiagnosisPage(store)
    qtbot.addWidget(page)
    page.show()
    page.page_shown()
    qtbot.waitUntil(lambda: page.problems.empty.title.text() == "Nothing is wrong")
    core.drop()
    qtbot.waitUntil(lambda: page.problems.empty.title.text() == "Not connected")
    page.page_hidden()


def test_why_there_are_no_problems_to_show_is_said(store: Store, core: FakeCore, qtbot: QtBot) -> None:
    core.answers[("GET", "/api/problems")] = (500, {"detail": "It broke.", "code": "internal", "hint": "Try again."})
    page = DiagnosisPage(store)
    qtbot.addWidget(page)
    page.page_shown()
    qtbot.waitUntil(lambda: page.problems.empty.title.text() == "It broke.")
    del core.answers[("GET", "/api/problems")]
    page.problems.empty.button.click()
    qtbot.waitUntil(lambda: page.problems.empty.title.text() == "Nothing is wrong")


def test_the_file_for_support_is_written(
    page: DiagnosisPage, core: FakeCore, toasts: list[str], tmp_path: Path, qtbot: QtBot
) -> None:
    target = tmp_path / "bundle.zip"
    page.save_bundle(str(target))
    qtbot.waitUntil(lambda: len(toasts) == 1)
    assert target.read_bytes() == core.diagnosis.bundle
    page.save_bundle(str(tmp_path / "nowhere" / "bundle.zip"))
    qtbot.waitUntil(lambda: len(toasts) == 2)
    assert "could not be written" in toasts[1]
    assert page.bundle.isEnabled()


def test_what_the_file_for_support_has_in_it_is_said_first(page: DiagnosisPage, qtbot: QtBot) -> None:
    page.bundle.click()
    qtbot.waitUntil(lambda: any(found.isVisible() for found in page.findChildren(Question)))
    (question,) = page.findChildren(Question)
    told = "\n".join(label.text() for label in question.findChildren(QLabel))
    assert "passwords are left out" in told
    question.done(QDialog.DialogCode.Accepted)
    qtbot.waitUntil(lambda: any(found.isVisible() for found in page.findChildren(QFileDialog)))
    page.findChildren(QFileDialog)[0].reject()


def test_collecting_the_file_for_support_can_be_stopped(
    page: DiagnosisPage, core: FakeCore, toasts: list[str], tmp_path: Path, qtbot: QtBot
) -> None:
    core.diagnosis.gate = asyncio.Event()
    page.save_bundle(str(tmp_path / "bundle.zip"))
    qtbot.waitUntil(lambda: core.called("GET", "/api/diagnostics") != [])
    assert page.bundle.text() == "Stop collecting"
    page.bundle.click()
    qtbot.waitUntil(lambda: page.bundle.text() == "Save for support…")
    assert list(tmp_path.iterdir()) == []
    assert toasts == []


def test_only_the_part_in_front_asks(page: DiagnosisPage, core: FakeCore, qtbot: QtBot) -> None:
    assert core.called("GET", "/api/drift") == []
    page.tabs.setCurrentWidget(page.drift)
    qtbot.waitUntil(lambda: page.drift.files.rowCount() == 2)
    page.page_hidden()
    page.page_shown()
    qtbot.waitUntil(lambda: len(core.called("GET", "/api/drift")) == 2)


def test_a_preview_does_not_outlive_its_answer(page: DiagnosisPage, qtbot: QtBot) -> None:
    page.problems.cards["context"].fixes["shorter"].click()
    dialog(page, qtbot).done(QDialog.DialogCode.Rejected)
    qtbot.waitUntil(lambda: page.findChildren(FixPreviewDialog) == [])


def test_words_in_the_place_of_content_take_no_more_room_than_they_need(qtbot: QtBot) -> None:
    empty = EmptyState()
    qtbot.addWidget(empty)
    empty.resize(900, 400)
    empty.show_state("ok", "Nothing is wrong", "No model is known to have a problem.")
    needed = empty.words.height()
    empty.show_state("error", "Not connected", "This appears when the core answers again. " * 8)
    assert empty.words.height() > needed
    empty.show_state("ok", "Nothing is wrong", "No model is known to have a problem.")
    assert empty.words.height() == needed
