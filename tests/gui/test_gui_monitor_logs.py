"""The Logs page and its table model: filter, follow, pause, cap, copy and save."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fake_core import FakeCore
from PySide6.QtCore import QAbstractItemModel, Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtTest import QAbstractItemModelTester
from pytestqt.qtbot import QtBot

from quarterdeck.gui.models.log_model import Column, LogFilter, LogModel
from quarterdeck.gui.pages.logs import LogsPage
from quarterdeck.gui.presenters.logs import Level, LineFilter, to_row
from quarterdeck.gui.store import Store
from quarterdeck.schemas.backends import LogLine

START = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


def line(number: int, text: str = "", *, source: str = "embedded", level: str = "info") -> LogLine:
    at = START + timedelta(seconds=number)
    return LogLine(number=number, at=at, source=source, level=level, text=text or f"line {number}")


def lines(first: int, last: int) -> list[LogLine]:
    return [line(number) for number in range(first, last + 1)]


@pytest.fixture
def page(store: Store, core: FakeCore, qtbot: QtBot) -> Iterator[LogsPage]:
    made = LogsPage(store)
    qtbot.addWidget(made)
    made.resize(900, 500)
    made.show()
    yield made
    made.page_hidden()


def opened(page: LogsPage, qtbot: QtBot) -> LogsPage:
    page.page_shown()
    qtbot.waitUntil(lambda: page.state_text == "")
    return page


def texts(page: LogsPage) -> list[str]:
    model = page.table.model()
    return [model.index(row, Column.TEXT).data() for row in range(model.rowCount())]


def arrive(page: LogsPage, new: list[LogLine]) -> None:
    page._store.log_arrived.emit("embedded", new)


def checked(model: QAbstractItemModel) -> QAbstractItemModelTester:
    return QAbstractItemModelTester(model, QAbstractItemModelTester.FailureReportingMode.Warning)


class TestModel:
    def test_the_oldest_lines_go_when_the_cap_is_reached(self) -> None:
        model = LogModel(cap=50)
        watch, rows = checked(model), LogFilter(model)
        watch_rows = checked(rows)
        for first in range(1, 200, 30):
            model.append([to_row(new) for new in lines(first, first + 29)])
        assert model.rowCount() == 50
        assert model.index(49, Column.TEXT).data() == "line 210"
        assert rows.rowCount() == 50
        del watch, watch_rows

    def test_one_batch_larger_than_the_cap_keeps_its_newest(self) -> None:
        model = LogModel(cap=10)
        watch = checked(model)
        model.append([to_row(new) for new in lines(1, 5)])
        model.append([to_row(new) for new in lines(6, 100)])
        assert [row.text for row in model.rows][:1] == ["line 91"]
        assert model.rowCount() == 10
        model.clear()
        assert model.rowCount() == 0
        del watch

    def test_a_level_is_a_word_and_an_icon(self) -> None:
        model = LogModel()
        model.append([to_row(line(1, level="error"))])
        cell = model.index(0, Column.LEVEL)
        assert cell.data() == "Error"
        assert not cell.data(Qt.ItemDataRole.DecorationRole).isNull()
        assert cell.data(Qt.ItemDataRole.AccessibleTextRole) == "Level: Error"

    def test_a_filter_can_change_while_lines_arrive(self) -> None:
        model = LogModel(cap=40)
        rows = LogFilter(model)
        watch = checked(rows)
        model.append([to_row(new) for new in lines(1, 30)])
        rows.set_filter(LineFilter.of("line 1", Level.DEBUG, ""))
        assert rows.rowCount() == 12
        model.append([to_row(new) for new in lines(100, 119)])
        assert rows.rowCount() == 30
        rows.set_filter(LineFilter())
        assert rows.rowCount() == 40
        del watch


def test_the_history_comes_first_and_no_line_twice(page: LogsPage, core: FakeCore, qtbot: QtBot) -> None:
    core.log_lines = {"embedded": lines(1, 3), "quarterdeck": [line(1, "own", source="quarterdeck")]}
    opened(page, qtbot)
    qtbot.waitUntil(lambda: any("log" in stream.topics for stream in core.streams))
    arrive(page, lines(3, 4))
    assert sorted(texts(page)) == ["line 1", "line 2", "line 3", "line 4", "own"]


def test_lines_that_arrive_while_the_history_is_read_stand_behind_it(
    page: LogsPage, core: FakeCore, qtbot: QtBot
) -> None:
    core.log_lines = {"embedded": lines(1, 3)}
    page.page_shown()
    arrive(page, lines(3, 5))
    qtbot.waitUntil(lambda: page.model.rowCount() == 5)
    assert texts(page) == [f"line {number}" for number in range(1, 6)]


def test_a_hidden_page_takes_nothing_in_and_catches_up(page: LogsPage, core: FakeCore, qtbot: QtBot) -> None:
    opened(page, qtbot)
    page.page_hidden()
    qtbot.waitUntil(lambda: bool(core.streams) and not any("log" in stream.topics for stream in core.streams))
    arrive(page, lines(1, 3))
    assert texts(page) == []
    core.log_lines = {"embedded": lines(1, 4)}
    page.page_shown()
    qtbot.waitUntil(lambda: len(texts(page)) == 4)


def test_hiding_while_the_history_is_read_loses_nothing(page: LogsPage, core: FakeCore, qtbot: QtBot) -> None:
    core.log_lines = {"embedded": lines(1, 3)}
    page.page_shown()
    page.page_hidden()
    page.page_shown()
    qtbot.waitUntil(lambda: texts(page) == ["line 1", "line 2", "line 3"])


def test_after_a_lost_connection_missed_lines_are_read(page: LogsPage, core: FakeCore, qtbot: QtBot) -> None:
    opened(page, qtbot)
    core.drop()
    qtbot.waitUntil(lambda: page.state_text.startswith("Not connected"))
    core.log_lines = {"embedded": lines(1, 2)}
    core.online = True
    qtbot.waitUntil(lambda: texts(page) == ["line 1", "line 2"], timeout=10_000)
    qtbot.waitUntil(lambda: page.state_text == "")


def test_text_and_level_filter_with_a_count(page: LogsPage, qtbot: QtBot) -> None:
    opened(page, qtbot)
    arrive(page, [*lines(1, 8), line(9, "CUDA out of memory", level="error"), line(10, "memory low", level="warning")])
    assert page.count_text == "10 lines"
    page.filters.search.setText("MEMORY")
    assert page.count_text == "2 of 10 lines match"
    page.filters.level.setCurrentIndex(page.filters.level.findData(int(Level.ERROR)))
    assert texts(page) == ["CUDA out of memory"]
    qtbot.mouseClick(page.clear_filters, Qt.MouseButton.LeftButton)
    assert page.count_text == "10 lines"


def test_ctrl_f_goes_to_the_filter(page: LogsPage, qtbot: QtBot) -> None:
    opened(page, qtbot)
    page.activateWindow()
    page.table.setFocus()
    qtbot.keyClick(page.table, Qt.Key.Key_F, Qt.KeyboardModifier.ControlModifier)
    qtbot.waitUntil(page.filters.search.hasFocus)


def test_one_source_can_be_shown(page: LogsPage, qtbot: QtBot) -> None:
    opened(page, qtbot)
    arrive(page, [line(1), line(1, "own", source="quarterdeck"), line(1, "else", source="ollama")])
    assert [page.filters.source.itemText(index) for index in range(page.filters.source.count())] == [
        "All sources", "Quarterdeck", "llama.cpp (built in)", "ollama",
    ]  # fmt: skip
    page.show_source("quarterdeck")
    assert texts(page) == ["own"]


def test_following_stops_when_scrolled_up_and_returns_by_the_button(page: LogsPage, qtbot: QtBot) -> None:
    opened(page, qtbot)
    bar = page.table.verticalScrollBar()
    arrive(page, lines(1, 200))
    qtbot.waitUntil(lambda: bar.maximum() > 0 and bar.value() == bar.maximum())
    bar.setValue(10)
    arrive(page, lines(201, 332))
    assert page.jump.isVisible()
    assert page.jump.text() == "132 new lines"
    assert bar.value() == 10
    qtbot.mouseClick(page.jump, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: bar.value() == bar.maximum())
    assert not page.jump.isVisible()
    arrive(page, lines(333, 400))
    qtbot.waitUntil(lambda: bar.value() == bar.maximum() and page.table.following)


def test_what_is_read_stays_in_place_when_old_lines_go(page: LogsPage, qtbot: QtBot) -> None:
    opened(page, qtbot)
    page.model.cap = 300
    arrive(page, lines(1, 300))
    bar = page.table.verticalScrollBar()
    qtbot.waitUntil(lambda: bar.value() == bar.maximum() > 0)
    bar.setValue(100)
    before = texts(page)[bar.value()]
    arrive(page, lines(301, 340))
    qtbot.waitUntil(lambda: texts(page)[bar.value()] == before)
    assert not page.table.following


def test_paused_lines_are_held_back_and_not_lost(page: LogsPage, qtbot: QtBot) -> None:
    opened(page, qtbot)
    arrive(page, lines(1, 3))
    page.toggle_pause()
    arrive(page, lines(4, 6))
    assert len(texts(page)) == 3
    assert page.state_text == "Paused — 3 new lines held back."
    page.toggle_pause()
    assert len(texts(page)) == 6
    assert page.state_text == ""


def test_clearing_leaves_later_lines(page: LogsPage, qtbot: QtBot) -> None:
    opened(page, qtbot)
    arrive(page, lines(1, 3))
    page.clear()
    assert texts(page) == []
    arrive(page, lines(3, 4))
    assert texts(page) == ["line 4"]


def test_the_selection_is_copied_in_order(page: LogsPage, qtbot: QtBot) -> None:
    opened(page, qtbot)
    arrive(page, [line(1, level="error"), line(2), line(3)])
    page.table.selectRow(0)
    page.table.selectionModel().select(
        page.table.model().index(1, 0),
        page.table.selectionModel().SelectionFlag.Select | page.table.selectionModel().SelectionFlag.Rows,
    )
    with qtbot.waitSignal(page._store.toast) as told:
        page.copy_selection()
    copied = QGuiApplication.clipboard().text().splitlines()
    assert [text.split(" ", 2)[2] for text in copied] == [
        "ERROR   llama.cpp (built in): line 1", "INFO    llama.cpp (built in): line 2",
    ]  # fmt: skip
    assert told.args == ["Copied 2 lines", "info"]


def test_the_selected_line_is_shown_whole(page: LogsPage, qtbot: QtBot) -> None:
    opened(page, qtbot)
    long = "x" * 2000
    arrive(page, [line(1, f"\x1b[31m{long}\x1b[0m")])
    assert not page.details.isVisible()
    page.table.selectRow(0)
    assert page.details.isVisible()
    assert page.details.toPlainText() == long
    qtbot.keyClick(page.table, Qt.Key.Key_Escape)
    assert not page.details.isVisible()


def test_shown_lines_are_saved(page: LogsPage, qtbot: QtBot, tmp_path: Path) -> None:
    opened(page, qtbot)
    arrive(page, [line(1), line(2, "größer")])
    page.filters.search.setText("größer")
    target = tmp_path / "log.txt"
    page.save_to(str(target))
    assert target.read_text(encoding="utf-8").endswith("llama.cpp (built in): größer\n")
    assert len(target.read_text(encoding="utf-8").splitlines()) == 1


def test_a_file_that_cannot_be_written_is_said(page: LogsPage, qtbot: QtBot, tmp_path: Path) -> None:
    opened(page, qtbot)
    with qtbot.waitSignal(page._store.toast) as told:
        page.save_to(str(tmp_path / "missing" / "log.txt"))
    assert told.args[1] == "error"
    assert "could not be written: No such file or directory. Choose another folder." in told.args[0]


def test_a_log_that_cannot_be_read_is_said_and_the_others_are_shown(
    page: LogsPage, core: FakeCore, qtbot: QtBot
) -> None:
    core.log_lines = {"quarterdeck": [line(1, "own", source="quarterdeck")]}
    failure = {"detail": "The log could not be read.", "code": "x", "hint": "Check the disk."}
    core.answers[("GET", "/api/backends/embedded/logs")] = (500, failure)
    page.page_shown()
    qtbot.waitUntil(lambda: page.state_text == "The log could not be read. Check the disk.")
    assert texts(page) == ["own"]


def test_a_backend_without_a_log_is_no_failure(page: LogsPage, core: FakeCore, qtbot: QtBot) -> None:
    answer = {"detail": "There is no log.", "code": "unknown_backend", "hint": ""}
    core.answers[("GET", "/api/backends/embedded/logs")] = (404, answer)
    opened(page, qtbot)
