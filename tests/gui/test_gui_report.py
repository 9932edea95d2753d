"""Drift and the status report in the window: files, differences, the page, the checklist."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from fake_core import NOW, FakeCore
from fake_diagnosis import MARKDOWN, make_drift, make_problem
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QLabel
from pytestqt.qtbot import QtBot

from quarterdeck.gui.diagnosis.drift_tab import DriftTab
from quarterdeck.gui.diagnosis.report_tab import ReportTab
from quarterdeck.gui.presenters.drift import STATES, difference_row, file_row
from quarterdeck.gui.presenters.drift import summary as drift_summary
from quarterdeck.gui.presenters.report import check_lines, checklist_words, file_name
from quarterdeck.gui.store import Store
from quarterdeck.schemas.report import CheckItem, ConfigFileView, Difference, DriftReport, FileState


@pytest.fixture
def toasts(store: Store) -> list[str]:
    words: list[str] = []
    store.toast.connect(lambda text, kind: words.append(f"{kind}: {text}"))
    return words


@pytest.fixture
def drift(store: Store, qtbot: QtBot) -> DriftTab:
    made = DriftTab(store)
    qtbot.addWidget(made)
    made.resize(1000, 800)
    made.show()
    made.tab_shown()
    qtbot.waitUntil(lambda: made.files.rowCount() == 2 and made.again.text() == "Compare again")
    return made


@pytest.fixture
def report(store: Store, qtbot: QtBot) -> Iterator[ReportTab]:
    made = ReportTab(store)
    qtbot.addWidget(made)
    made.resize(1000, 800)
    made.show()
    made.tab_shown()
    qtbot.waitUntil(lambda: bool(made.page.page) and made.again.text() == "Write again")
    yield made
    made.cancel_checklist()


def row(tab: DriftTab, place: int) -> list[str]:
    return [tab.files.index(place, column).data() for column in range(tab.files.columnCount())]


class TestDrift:
    def test_files_and_differences_are_listed(self, drift: DriftTab) -> None:
        assert row(drift, 0)[:4] == ["Not committed", "config.yaml", "litellm", "2 models"]
        assert row(drift, 1)[:3] == ["Out of date", "old.yaml", "Nobody"]
        cells = [drift.differences.index(0, column).data() for column in range(5)]
        assert cells == ["High", "Server llama.cpp (built in)", "tool calls", "yes", "no"]
        assert "2 files · 1 difference · 1 fault in a file" in drift.line.text()

    def test_the_chosen_file_is_told_whole(self, drift: DriftTab, qtbot: QtBot) -> None:
        assert drift.detail.isVisible()
        told = [label.text() for label in drift.detail.findChildren(QLabel)]
        assert "Line 12: “gpt-4o” falls back to itself" in told
        assert "Not committed, in use" in told
        assert "2.0 KiB, 61 lines" in told
        assert not drift.problems.isVisible()

    def test_a_file_leads_to_its_problems(self, drift: DriftTab, store: Store, core: FakeCore, qtbot: QtBot) -> None:
        core.diagnosis.problems = [make_problem("circle", subject="file:/etc/litellm/config.yaml")]
        store.problems.refresh()
        qtbot.waitUntil(drift.problems.isVisible)
        with qtbot.waitSignal(drift.problems_wanted) as wanted:
            drift.problems.click()
        assert wanted.args == ["file:/etc/litellm/config.yaml"]

    def test_without_differences_that_is_said(self, drift: DriftTab, core: FakeCore, qtbot: QtBot) -> None:
        core.diagnosis.drift = make_drift().model_copy(update={"differences": []})
        drift.again.click()
        qtbot.waitUntil(lambda: drift.no_difference.isVisible() and drift.again.text() == "Compare again")
        core.diagnosis.drift = DriftReport(checked_at=NOW)
        drift.again.click()
        qtbot.waitUntil(lambda: drift.empty.title.text() == "Nothing to compare")

    def test_a_failure_can_be_tried_again(self, drift: DriftTab, core: FakeCore, qtbot: QtBot) -> None:
        core.answers[("GET", "/api/drift")] = (500, {"detail": "It broke.", "code": "internal", "hint": ""})
        drift.again.click()
        qtbot.waitUntil(lambda: drift.empty.title.text() == "It broke.")
        del core.answers[("GET", "/api/drift")]
        drift.empty.button.click()
        qtbot.waitUntil(lambda: drift.stack.currentWidget() is not drift.empty)


class TestReport:
    def test_the_page_is_rendered_and_copied_as_it_is(self, report: ReportTab, toasts: list[str]) -> None:
        shown = report.page.toPlainText()
        assert "gateway" in shown
        assert "|---|" not in shown
        assert "<b>not markup</b>" in shown
        assert report.assessment.text() == "Needs attention"
        report.copy.click()
        assert QGuiApplication.clipboard().text() == MARKDOWN
        assert toasts == ["info: Copied the report"]

    def test_the_page_is_saved(self, report: ReportTab, toasts: list[str], tmp_path: Path, qtbot: QtBot) -> None:
        report.save_to(str(tmp_path / "status.md"))
        qtbot.waitUntil(lambda: len(toasts) == 1)
        assert (tmp_path / "status.md").read_text(encoding="utf-8") == MARKDOWN
        report.save_to(str(tmp_path / "nowhere" / "status.md"))
        qtbot.waitUntil(lambda: len(toasts) == 2)
        assert toasts[1].startswith("error: ")

    def test_the_checklist_is_run(self, report: ReportTab, core: FakeCore, qtbot: QtBot) -> None:
        assert report.checks.line.text() == "2 checks, not run yet"
        report.checks.button.click()
        qtbot.waitUntil(lambda: report.checks.line.text() == "1 of 2 checks passed")
        assert report.checks.texts == ["The gateway answers. Passed", "A chat. Failed. 503 after 2 s"]
        qtbot.waitUntil(lambda: len(core.called("GET", "/api/report")) == 2)

    def test_the_checklist_can_be_cancelled(self, report: ReportTab, core: FakeCore, qtbot: QtBot) -> None:
        core.diagnosis.gate = asyncio.Event()
        report.checks.button.click()
        qtbot.waitUntil(lambda: report.checks.line.text().startswith("Checking…"))
        report.checks.button.click()
        qtbot.waitUntil(lambda: report.checks.button.text() == "Run")
        assert report.checks.line.text() == "2 checks, not run yet"

    def test_a_checklist_that_fails_is_told(
        self, report: ReportTab, core: FakeCore, toasts: list[str], qtbot: QtBot
    ) -> None:
        core.answers[("POST", "/api/report/checklist")] = (
            500, {"detail": "It broke.", "code": "internal", "hint": "Try again."},
        )  # fmt: skip
        report.run_checklist()
        qtbot.waitUntil(lambda: toasts == ["error: It broke. Try again."])
        assert report.checks.line.text() == "2 checks, not run yet"

    def test_without_a_report_nothing_can_be_saved(self, store: Store, core: FakeCore, qtbot: QtBot) -> None:
        core.answers[("GET", "/api/report")] = (500, {"detail": "It broke.", "code": "internal", "hint": ""})
        tab = ReportTab(store)
        qtbot.addWidget(tab)
        tab.tab_shown()
        qtbot.waitUntil(lambda: tab.empty.title.text() == "It broke.")
        assert not tab.save.isEnabled()


def test_the_worst_state_of_a_file_is_its_badge() -> None:
    assert set(STATES) == set(FileState)
    view = ConfigFileView(path="/a.yaml", kind="", states=[FileState.ACTIVE, FileState.MISSING])
    assert file_row(view, NOW).badge.word == "Missing"
    assert file_row(ConfigFileView(path="/a.yaml", kind=""), NOW).states == "Not known"


def test_a_difference_of_unknown_weight_is_still_shown() -> None:
    found = Difference(subject="server:x", what="context", declared="", running="4096", severity="odd")
    assert difference_row(found, {}).badge.word == "Medium"
    assert difference_row(found, {}).declared == "nothing"


def test_words_about_reports() -> None:
    checks = [CheckItem(name=name, title=name, passed=passed) for name, passed in (("a", True), ("b", None))]
    assert checklist_words([]) == "There is nothing to check."
    assert checklist_words(checks) == "1 of 2 checks passed, 1 not tried"
    assert checklist_words(checks[:1] * 3) == "All 3 checks passed"
    assert len({line.badge.icon for line in check_lines(checks)}) == 2
    assert drift_summary(DriftReport(checked_at=NOW), NOW + timedelta(hours=1)).startswith("0 files · 0 differences")


def test_saved_reports_are_named_by_their_time(report: ReportTab) -> None:
    assert report._report is not None
    assert file_name(report._report).startswith("status-2026-05-01-")
