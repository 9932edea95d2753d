"""Known issues in the window: searched, read, added, imported, exported, removed."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_core import FakeCore
from fake_diagnosis import make_issue
from hypothesis import given
from hypothesis import strategies as st
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QDialog
from pytestqt.qtbot import QtBot

from quarterdeck.diagnosis.known_issues.page import read_page
from quarterdeck.gui.diagnosis.known_issues_tab import MOST_BYTES, KnownIssuesTab
from quarterdeck.gui.dialogs.add_known_issue import AddKnownIssueDialog
from quarterdeck.gui.dialogs.ask import Question
from quarterdeck.gui.dialogs.report import Report
from quarterdeck.gui.presenters.known_issues import (
    EXAMPLE,
    count_words,
    imported_words,
    matching,
    readable,
    sections,
    to_row,
)
from quarterdeck.gui.store import Store
from quarterdeck.schemas.known_issues import ImportedIssues


@pytest.fixture
def toasts(store: Store) -> list[str]:
    words: list[str] = []
    store.toast.connect(lambda text, kind: words.append(f"{kind}: {text}"))
    return words


@pytest.fixture
def tab(store: Store, qtbot: QtBot) -> KnownIssuesTab:
    made = KnownIssuesTab(store)
    qtbot.addWidget(made)
    made.resize(900, 700)
    made.show()
    made.tab_shown()
    qtbot.waitUntil(lambda: made.rows.rowCount() == 2)
    return made


def titles(tab: KnownIssuesTab) -> list[str]:
    return [row.title for row in tab.rows.rows]


def test_the_first_entry_is_shown_whole(tab: KnownIssuesTab) -> None:
    assert tab.view.title.text() == "Title of gemma-system"
    assert tab.view.badge.text == "Still applies"
    assert "vLLM × Open WebUI: Chats end with status 400." in tab.view.text
    assert not tab.view.remove.isVisible()
    tab.view.copy.click()
    assert QGuiApplication.clipboard().text() == tab.view.text


def test_the_search_looks_everywhere(tab: KnownIssuesTab) -> None:
    tab.search.setText("STATUS 400")
    assert titles(tab) == ["Title of gemma-system"]
    tab.search.setText("nothing of the kind")
    assert tab.stack.currentWidget() is tab.empty
    assert tab.empty.words.text() == "No entry has “nothing of the kind” in it."
    tab.empty.button.click()
    assert len(titles(tab)) == 2


def test_the_chosen_entry_stays_chosen(tab: KnownIssuesTab, core: FakeCore, qtbot: QtBot) -> None:
    tab.table.selectRow(1)
    core.diagnosis.issues.insert(0, make_issue("newest"))
    tab.tab_shown()
    qtbot.waitUntil(lambda: tab.rows.rowCount() == 3)
    assert tab.view.title.text() == "Slow start"


def test_an_entry_can_be_wanted_before_it_is_read(store: Store, qtbot: QtBot) -> None:
    tab = KnownIssuesTab(store)
    qtbot.addWidget(tab)
    tab.show_issue("slow-start")
    tab.tab_shown()
    qtbot.waitUntil(lambda: tab.view.title.text() == "Slow start")


def test_a_page_is_imported(
    tab: KnownIssuesTab, core: FakeCore, toasts: list[str], tmp_path: Path, qtbot: QtBot
) -> None:
    page = tmp_path / "page.md"
    page.write_text("## Mine\n", encoding="utf-8")
    tab.import_from(str(page))
    qtbot.waitUntil(lambda: toasts == ["ok: Added 1 entry."])
    assert core.called("POST", "/api/known-issues/import") == ["## Mine\n"]
    assert tab.rows.rowCount() == 3


def test_what_could_not_be_read_is_told(tab: KnownIssuesTab, core: FakeCore, tmp_path: Path, qtbot: QtBot) -> None:
    core.diagnosis.imported = ImportedIssues(problems=["line 3: an entry needs a cause"])
    page = tmp_path / "page.md"
    page.write_text("## Mine\n", encoding="utf-8")
    tab.import_from(str(page))
    qtbot.waitUntil(lambda: any(found.isVisible() for found in tab.findChildren(Report)))
    (report,) = [found for found in tab.findChildren(Report) if found.isVisible()]
    assert "line 3: an entry needs a cause" in report.body.toPlainText()
    report.reject()


@pytest.mark.parametrize(
    ("content", "why"), [(b"\xff\xfe\x00", "not a text"), (b"x" * (MOST_BYTES + 1), "too large"), (None, "be read")]
)
def test_a_file_that_is_no_page_is_refused(
    tab: KnownIssuesTab,
    core: FakeCore,
    toasts: list[str],
    tmp_path: Path,
    content: bytes | None,
    why: str,
    qtbot: QtBot,
) -> None:
    page = tmp_path / "page.md"
    if content is not None:
        page.write_bytes(content)
    tab.import_from(str(page))
    qtbot.waitUntil(lambda: len(toasts) == 1)
    assert why in toasts[0]
    assert core.called("POST", "/api/known-issues/import") == []


def test_own_entries_are_exported(tab: KnownIssuesTab, toasts: list[str], tmp_path: Path, qtbot: QtBot) -> None:
    target = tmp_path / "mine.md"
    tab.export_to(str(target))
    qtbot.waitUntil(lambda: len(toasts) == 1)
    assert target.read_text(encoding="utf-8") == "# Mine\n"


def test_an_entry_is_written_and_removed(tab: KnownIssuesTab, core: FakeCore, toasts: list[str], qtbot: QtBot) -> None:
    tab.add.click()
    qtbot.waitUntil(lambda: any(found.isVisible() for found in tab.findChildren(AddKnownIssueDialog)))
    (dialog,) = tab.findChildren(AddKnownIssueDialog)
    assert dialog.focusWidget() is dialog.page
    assert not dialog.send.isEnabled()
    dialog.page.setPlainText(EXAMPLE.replace("What is wrong", "What is really wrong"))
    dialog.send.click()
    qtbot.waitUntil(lambda: toasts == ["ok: Added 1 entry."])
    # What was added is what is shown.
    assert tab.view.remove.isVisible()
    tab.view.remove.click()
    qtbot.waitUntil(lambda: any(found.isVisible() for found in tab.findChildren(Question)))
    next(found for found in tab.findChildren(Question) if found.isVisible()).done(QDialog.DialogCode.Accepted)
    assert tab.save.isEnabled()
    qtbot.waitUntil(lambda: tab.rows.rowCount() == 2)
    assert [issue.id for issue in core.diagnosis.issues] == ["gemma-system", "slow-start"]
    assert not tab.save.isEnabled()


def test_a_failure_to_read_them_is_told(store: Store, core: FakeCore, qtbot: QtBot) -> None:
    core.answers[("GET", "/api/known-issues")] = (500, {"detail": "It broke.", "code": "internal", "hint": ""})
    tab = KnownIssuesTab(store)
    qtbot.addWidget(tab)
    tab.tab_shown()
    qtbot.waitUntil(lambda: tab.empty.title.text() == "It broke.")
    del core.answers[("GET", "/api/known-issues")]
    tab.empty.button.click()
    qtbot.waitUntil(lambda: tab.rows.rowCount() == 2)


def test_the_example_has_the_form_of_the_page() -> None:
    page = read_page(EXAMPLE)
    (section,) = page.sections
    assert section.problem is None
    assert section.issue is not None
    assert section.issue.affected[0].services == ["service", "another service or model"]
    assert section.issue.workarounds == ["What to do about it."]


def test_only_parts_that_say_something_are_shown() -> None:
    bare = make_issue("bare", affected=[], workarounds=[])
    assert [heading for heading, _ in sections(bare)] == ["Why"]


def test_the_marks_of_the_page_are_not_shown() -> None:
    issue = make_issue("marked", workarounds=["Run `ollama ps`.", "Wait."])
    assert dict(sections(issue))["What to do"] == ["• Run “ollama ps”.", "• Wait."]


def test_services_are_called_as_people_call_them() -> None:
    assert to_row(make_issue("one", subject="llamacpp")).subject == "llama.cpp"
    assert to_row(make_issue("one", subject="Something new")).subject == "Something new"
    own = make_issue("own", title="Streams end", subject="Streams end", own=True)
    assert to_row(own).subject == "vLLM, Open WebUI"
    # Both the name and what the page calls it are found.
    assert len(matching([to_row(own)], "open webui")) == len(matching([to_row(own)], "vllm webui")) == 1


@pytest.mark.parametrize(
    ("signature", "words"),
    [
        ("system role not supported", "system role not supported"),
        (r"\bnodeenv\b.{0,120}returned non-zero exit status", "nodeenv…returned non-zero exit status"),
        (r"error occurr?ed while installing", "error occurred while installing"),
        (r"'prisma@[^']*'\] returned non-zero", "'prisma@…'] returned non-zero"),
        (r"Loading model xtts(?:_v[\d.]+)? to (?:cuda|cpu|mps)", "Loading model xtts to cuda"),
        (r"(?:GET|POST) /models\S* HTTP/1\.[01]\" 404", 'GET /models… HTTP/1.…" 404'),
        (r"cannot connect to host 127\.0\.0\.1:\d+", "cannot connect to host 127.0.0.1:…"),
        (r"No module named '?vllm\.entrypoints", "No module named 'vllm.entrypoints"),
    ],
)
def test_signatures_are_read_as_words(signature: str, words: str) -> None:
    assert readable(signature) == words


@given(st.text(max_size=40))
def test_any_signature_can_be_read(signature: str) -> None:
    assert isinstance(readable(signature), str)


def test_words_about_imports_and_counts() -> None:
    assert imported_words(ImportedIssues()) == "Nothing was added."
    assert imported_words(ImportedIssues(added=["a", "b"], replaced=["c"])) == "Added 2 entries and replaced 1 entry."
    assert (count_words(3, 3), count_words(1, 3)) == ("3 entries", "1 of 3 entries")


@given(st.text(max_size=30))
def test_a_search_never_finds_what_lacks_a_word(typed: str) -> None:
    rows = [to_row(make_issue("one")), to_row(make_issue("two", cause="ÄÖ ß İ"))]
    for row in matching(rows, typed):
        assert all(word in row.needle for word in typed.lower().split())


def test_a_question_is_answered_by_keys(qtbot: QtBot) -> None:
    question = Question(None, title="Remove it?", text="It is deleted.", verb="Remove it", danger=True)
    qtbot.addWidget(question)
    with qtbot.waitExposed(question):
        question.open()
    assert question.cancel_button.isDefault()
    question.verb_button.setFocus()
    qtbot.keyClick(question.verb_button, Qt.Key.Key_Return)
    assert question.result() == QDialog.DialogCode.Accepted
