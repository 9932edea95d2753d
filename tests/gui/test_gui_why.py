"""Why something failed: beside the log, on the cards, and as a number in the sidebar."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fake_clients import make_request
from fake_core import FakeCore
from fake_diagnosis import make_problem
from PySide6.QtCore import QSettings, Qt
from PySide6.QtGui import QColor
from pytestqt.qtbot import QtBot

from quarterdeck.gui import theme
from quarterdeck.gui.backend_commands import BackendCommands
from quarterdeck.gui.commands import Commands
from quarterdeck.gui.models.log_model import Column
from quarterdeck.gui.notices import Notices
from quarterdeck.gui.pages.backends import BackendsPage
from quarterdeck.gui.pages.logs import LogsPage
from quarterdeck.gui.pages.models import ModelsPage
from quarterdeck.gui.pages.requests import RequestsPage
from quarterdeck.gui.presenters.logs import OWN_SOURCE, to_row
from quarterdeck.gui.presenters.problems import of_request, refusals, why_line
from quarterdeck.gui.presenters.text import sentence_start
from quarterdeck.gui.presenters.why import chosen_source, explanation, patch_words, service_of
from quarterdeck.gui.store import Store
from quarterdeck.gui.widgets.evidence import EvidenceList
from quarterdeck.gui.window import MainWindow
from quarterdeck.schemas.backends import LogLine
from quarterdeck.schemas.diagnosis import Diagnosis, Evidence, Remedy
from quarterdeck.schemas.problems import Severity

START = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


def line(number: int, *, source: str = "embedded", level: str = "info") -> LogLine:
    return LogLine(number=number, at=START + timedelta(seconds=number), source=source, level=level,
                   text=f"line {number}")  # fmt: skip


@pytest.fixture
def logs(store: Store, core: FakeCore, qtbot: QtBot) -> Iterator[LogsPage]:
    core.log_lines = {
        OWN_SOURCE: [line(number, source=OWN_SOURCE) for number in range(1, 4)],
        "embedded": [line(number, level="error" if number == 5 else "info") for number in range(1, 6)],
    }
    made = LogsPage(store)
    qtbot.addWidget(made)
    made.resize(1100, 600)
    made.show()
    made.page_shown()
    qtbot.waitUntil(lambda: made.model.rowCount() == 8)
    yield made
    made.page_hidden()


def explained(logs: LogsPage, qtbot: QtBot) -> None:
    logs.explain()
    qtbot.waitUntil(lambda: logs.why.panel.badge.text == "Failure")


class TestBesideTheLog:
    def test_the_cause_is_named_with_what_helps(self, logs: LogsPage, core: FakeCore, qtbot: QtBot) -> None:
        explained(logs, qtbot)
        (asked,) = core.called("POST", "/api/diagnose")
        assert asked["text"] == "\n".join(f"line {number}" for number in range(1, 6))
        assert asked["service"] == "llama.cpp"
        panel = logs.why.panel
        assert panel.isVisible()
        assert panel.texts == [
            "From the log of llama.cpp (built in)", "The GPU ran out of memory", "The buffer did not fit.",
            "• Use a shorter context", "n_ctx = 4096", "• See who holds memory", "nvidia-smi",
        ]  # fmt: skip
        assert panel.known.text() == "Known issue: Title of gemma-system"
        with qtbot.waitSignal(logs.issue_wanted) as wanted:
            panel.known.click()
        assert wanted.args == ["gemma-system"]

    def test_the_proving_line_is_marked_and_shown(self, logs: LogsPage, qtbot: QtBot) -> None:
        logs.filters.search.setText("line 4")
        explained(logs, qtbot)
        (row,) = logs.table.selected_rows()
        assert (row.source, row.text) == ("embedded", "line 2")
        shades = {
            logs.model.rows[place].text: logs.model.index(place, Column.TEXT).data(Qt.ItemDataRole.BackgroundRole)
            for place in range(logs.model.rowCount())
            if logs.model.rows[place].source == "embedded"
        }
        assert shades == {f"line {n}": QColor(theme.tokens().error.bg) if n == 2 else None for n in range(1, 6)}
        logs.table.clearSelection()
        logs.why.panel.evidence.itemClicked.emit(logs.why.panel.evidence.item(0))
        assert [row.text for row in logs.table.selected_rows()] == ["line 2"]

    def test_escape_takes_explanation_and_marks_away(self, logs: LogsPage, qtbot: QtBot) -> None:
        explained(logs, qtbot)
        qtbot.keyClick(logs, Qt.Key.Key_Escape)
        assert not logs.why.panel.isVisible()
        marks = [logs.model.index(row, 0).data(Qt.ItemDataRole.BackgroundRole) for row in range(8)]
        assert marks == [None] * 8

    def test_a_healthy_log_is_told_so(self, logs: LogsPage, core: FakeCore, qtbot: QtBot) -> None:
        core.diagnosis.found = Diagnosis(kind="healthy", title="Nothing failed", why="The server is ready.")
        logs.explain()
        qtbot.waitUntil(lambda: logs.why.panel.badge.text == "No failure")
        assert not logs.why.panel.evidence.isVisible()

    def test_a_failure_to_explain_is_told(self, logs: LogsPage, core: FakeCore, qtbot: QtBot) -> None:
        core.answers[("POST", "/api/diagnose")] = (500, {"detail": "It broke.", "code": "internal", "hint": "Wait."})
        logs.explain()
        qtbot.waitUntil(lambda: logs.why.panel.badge.text == "Not read")
        assert logs.why.panel.texts[1:] == ["It broke.", "Wait."]


class TestOnCards:
    def test_a_model_says_what_is_known_and_leads_there(self, store: Store, core: FakeCore, qtbot: QtBot) -> None:
        core.diagnosis.problems = [make_problem("one", known_issue="gemma-system"), make_problem("two")]
        page = ModelsPage(store, Commands(store), BackendCommands(store))
        qtbot.addWidget(page)
        page.resize(1100, 800)
        page.show()
        before = page.board.cards["qwen3-8b"].height()
        store.problems.refresh()
        card = page.board.cards["qwen3-8b"]
        qtbot.waitUntil(card.why.isVisible)
        assert card.why.text() == "Known issue: Title of gemma-system"
        qtbot.waitUntil(lambda: card.height() > before)
        assert not page.board.cards["mistral-7b"].why.isVisible()
        with qtbot.waitSignal(page.why_wanted) as wanted:
            card.why.click()
        assert wanted.args == ["model:qwen3-8b"]

    def test_a_backend_does_too(self, store: Store, core: FakeCore, qtbot: QtBot) -> None:
        core.diagnosis.problems = [make_problem("one", subject="server:embedded")]
        page = BackendsPage(store, BackendCommands(store))
        qtbot.addWidget(page)
        page.show()
        page.page_shown()
        store.problems.refresh()
        qtbot.waitUntil(page.card("embedded").why.isVisible)
        assert page.card("embedded").why.text() == "Why? The context does not fit"
        with qtbot.waitSignal(page.why_wanted) as wanted:
            page.card("embedded").why.click()
        assert wanted.args == ["server:embedded"]
        core.diagnosis.problems = []
        store.problems.refresh()
        qtbot.waitUntil(lambda: not page.card("embedded").why.isVisible())
        page.page_hidden()


class TestElsewhere:
    def test_the_details_of_a_model_say_it_too(self, store: Store, core: FakeCore, qtbot: QtBot) -> None:
        page = ModelsPage(store, Commands(store), BackendCommands(store))
        qtbot.addWidget(page)
        page.resize(1400, 800)
        page.show()
        page.show_details("qwen3-8b")
        assert not page.panel.why.isVisible()
        core.diagnosis.problems = [make_problem("one")]
        store.problems.refresh()
        qtbot.waitUntil(page.panel.why.isVisible)
        with qtbot.waitSignal(page.why_wanted) as wanted:
            page.panel.why.click()
        assert wanted.args == ["model:qwen3-8b"]

    def test_a_failed_request_leads_to_the_problem_it_shows(self, store: Store, core: FakeCore, qtbot: QtBot) -> None:
        shown = [Evidence(line=1, text="tools are off")]
        core.diagnosis.problems = [
            make_problem("load"), make_problem("other", source="request", title="Other", evidence=[]),
            make_problem("tools", source="request", title="No tools", evidence=shown),
        ]  # fmt: skip
        core.clients.requests = [make_request(2, status=400, error="400: tools are off"), make_request(1)]
        page = RequestsPage(store)
        qtbot.addWidget(page)
        page.show()
        page.page_shown()
        qtbot.waitUntil(lambda: page.rows.rowCount() == 2)
        page.table.selectRow(0)
        store.problems.refresh()
        qtbot.waitUntil(page.detail.why.isVisible)
        assert page.detail.why.text() == "Why? No tools"
        with qtbot.waitSignal(page.why_wanted) as wanted:
            page.detail.why.click()
        assert wanted.args == ["model:qwen3-8b"]
        page.table.selectRow(1)
        assert not page.detail.why.isVisible()
        page.page_hidden()


class TestTheNumber:
    def test_serious_problems_are_counted_in_the_sidebar(
        self, store: Store, core: FakeCore, tmp_path: Path, qtbot: QtBot
    ) -> None:
        window = MainWindow(QSettings(str(tmp_path / "memory.ini"), QSettings.Format.IniFormat))
        qtbot.addWidget(window)
        Notices(store, window)
        window.show()
        core.diagnosis.problems = [
            make_problem(str(place), severity=severity) for place, severity in enumerate(Severity)
        ]  # fmt: skip
        store.problems.refresh()
        mark = window.sidebar.marks["diagnosis"]
        qtbot.waitUntil(mark.isVisible)
        assert mark.text() == "2"
        assert window.sidebar.buttons["diagnosis"].accessibleName() == "Diagnosis, 2 serious problems"
        core.diagnosis.problems = []
        store.problems.refresh()
        qtbot.waitUntil(lambda: not mark.isVisible())
        assert window.sidebar.buttons["diagnosis"].accessibleName() == "Diagnosis"

    def test_problems_are_asked_for_when_something_happened(self, store: Store, core: FakeCore, qtbot: QtBot) -> None:
        qtbot.waitUntil(lambda: store.problems.read)
        asked = len(core.called("GET", "/api/problems"))
        core.diagnosis.problems = [make_problem("one")]
        core.publish("backend", "changed", core.backends["embedded"])
        qtbot.waitUntil(lambda: store.problems.pressing == 1)
        assert len(core.called("GET", "/api/problems")) == asked + 1

    def test_a_hidden_window_asks_when_it_is_shown(self, store: Store, core: FakeCore, qtbot: QtBot) -> None:
        qtbot.waitUntil(lambda: store.problems.read)
        store.set_visible(False)
        core.diagnosis.problems = [make_problem("one")]
        store.backends_changed.emit()
        assert not store.problems._settle.isActive()
        store.set_visible(True)
        qtbot.waitUntil(lambda: store.problems.pressing == 1)

    def test_known_issues_are_asked_for_once(self, store: Store, core: FakeCore, qtbot: QtBot) -> None:
        core.diagnosis.problems = [make_problem("one", known_issue="gone")]
        store.problems.refresh()
        qtbot.waitUntil(lambda: store.problems.pressing == 1)
        core.diagnosis.problems = []
        store.problems.refresh()
        qtbot.waitUntil(lambda: store.problems.pressing == 0)
        assert len(core.called("GET", "/api/known-issues")) == 1
        assert store.problems.titles["gone"] == "gone"


def test_the_source_that_matters_is_chosen() -> None:
    rows = [to_row(line(1, source="vllm", level="error")), to_row(line(2)), to_row(line(3, source=OWN_SOURCE))]
    assert chosen_source("embedded", [], rows) == "embedded"
    assert chosen_source("", rows[2:], rows) == OWN_SOURCE
    assert chosen_source("", [], rows) == "vllm"
    assert chosen_source("", [], rows[1:]) == "embedded"
    assert chosen_source("", [], rows[2:]) == OWN_SOURCE
    assert chosen_source("", [], []) == ""


@pytest.mark.parametrize(("confidence", "word"), [(0.95, "Failure"), (0.6, "Likely"), (0.2, "Not certain")])
def test_how_sure_it_is_has_a_word(confidence: float, word: str) -> None:
    found = Diagnosis(kind="failure", confidence=confidence, title="", why="")
    assert explanation(found).badge.word == word


def test_patches_are_told_as_entries() -> None:
    remedy = Remedy(title="", patch={"n_ctx": 4096, "flash_attn": None, "dtype": "half", "jinja": True})
    assert patch_words(remedy) == "n_ctx = 4096, without flash_attn, dtype = half, jinja = true"
    assert service_of("vllm") == "vllm"


def test_the_worst_problem_is_on_the_card() -> None:
    assert why_line([], {}) == ""
    assert why_line([make_problem("one", known_issue="x")], {}) == "Known issue: x"
    assert why_line([make_problem("one")], {}) == "Why? The context does not fit"
    both = make_problem("one", known_issue="x", failure_class="connection_refused")
    assert why_line([both], {}) == "Why? The context does not fit – a known issue"
    # Its name stands over the line already.
    named = make_problem("one", title="“qwen3-8b” did not load: two options contradict each other")
    assert why_line([named], {}) == "Why? Two options contradict each other"
    other = make_problem("one", title="Tool calls: declared and running differ")
    assert why_line([other], {}) == "Why? Tool calls: declared and running differ"


def test_a_refused_client_has_its_problem_beside_the_request() -> None:
    key = make_problem("key", subject="client:laptop", why="laptop: This address needs an API key.")
    name = make_problem("name", subject="client:laptop", title="A client asks for “gpt-5”", why="It is unknown.")
    refused = make_request(1, status=401, model="", asked="", error="This address needs an API key.")
    assert refusals([name, key], refused) == [key]
    unknown = make_request(1, status=404, model="", asked="gpt-5", error="There is no model named “gpt-5”.")
    assert refusals([name, key], unknown) == [name]


@pytest.mark.parametrize(
    ("text", "start"),
    [("two options", "Two options"), ("vLLM does not run", "vLLM does not run"), ("n_ctx is 0", "n_ctx is 0"),
     ("llama.cpp ended", "llama.cpp ended"), ("queued.", "Queued."), ("", "")],
)  # fmt: skip
def test_a_sentence_begins_with_a_capital_or_a_name(text: str, start: str) -> None:
    assert sentence_start(text) == start


def test_evidence_without_a_line_has_no_number(qtbot: QtBot) -> None:
    shown = EvidenceList()
    qtbot.addWidget(shown)
    shown.show_lines([Evidence(line=0, text="HTTP 400"), Evidence(line=12, text="refused")])
    assert shown.lines == ["HTTP 400", "12  refused"]


def test_long_evidence_wraps_where_it_is_narrow(qtbot: QtBot) -> None:
    shown = EvidenceList()
    qtbot.addWidget(shown)
    shown.resize(900, 100)
    shown.show_lines([Evidence(line=1, text="word " * 20)])
    shown.show()
    wide = shown.height()
    shown.resize(300, 100)
    qtbot.waitUntil(lambda: shown.height() > wide)


def test_a_request_shows_the_load_that_refused_it() -> None:
    load = make_problem("load", why="The file is cut off. It has 60,000,000 bytes.")
    other = make_problem("other", why="The template has an error.")
    asked = make_problem("asked", source="request", why="The prompt is too long.", evidence=[])
    assert of_request([other, load, asked], "The file is cut off.") == [load, asked]
    assert of_request([other, load], "") == []


def test_a_narrow_log_keeps_its_texts(logs: LogsPage, qtbot: QtBot) -> None:
    assert not logs.table.isColumnHidden(Column.SOURCE)
    logs.resize(700, 600)
    explained(logs, qtbot)
    qtbot.waitUntil(lambda: logs.table.isColumnHidden(Column.SOURCE))
