"""The Requests page: live rows, filters, details with the kept texts, and the switch that keeps them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fake_clients import captured, make_request
from fake_core import FakeCore
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QDialog
from pytestqt.qtbot import QtBot

from quarterdeck.gui.dialogs.ask import Question
from quarterdeck.gui.models.request_list import CAP, Column
from quarterdeck.gui.pages.requests import RequestsPage
from quarterdeck.gui.presenters.requests import Outcomes
from quarterdeck.gui.store import Store
from quarterdeck.gui.widgets.request_detail import ANSWER, REQUEST
from quarterdeck.schemas.requests import RequestDetail


@pytest.fixture
def page(store: Store, core: FakeCore, qtbot: QtBot) -> Iterator[RequestsPage]:
    core.clients.requests = [make_request(number) for number in (3, 2, 1)]
    made = RequestsPage(store)
    qtbot.addWidget(made)
    made.resize(1200, 800)
    made.show()
    qtbot.waitExposed(made)
    made.page_shown()
    qtbot.waitUntil(lambda: made.rows.rowCount() == 3)
    qtbot.waitUntil(lambda: any("request" in topics for topics, _ in core.stream_requests))
    qtbot.waitUntil(lambda: any("request" in stream.topics for stream in core.streams))
    yield made
    made.page_hidden()


def ids(page: RequestsPage) -> list[str]:
    return [row.id for row in page.rows.shown()]


def choose(page: RequestsPage, row: int) -> None:
    page.table.selectRow(row)


def question(page: RequestsPage) -> Question:
    return next(dialog for dialog in page.findChildren(Question) if dialog.isVisible())


def test_new_requests_come_on_top_once(page: RequestsPage, core: FakeCore, qtbot: QtBot) -> None:
    core.publish("request", "finished", make_request(4))
    core.publish("request", "finished", make_request(5))
    core.publish("request", "finished", make_request(3))
    qtbot.waitUntil(lambda: ids(page) == ["r5", "r4", "r3", "r2", "r1"])
    assert page.figures_text.startswith("5 requests")


def test_requests_are_asked_for_only_while_the_page_is_shown(
    page: RequestsPage, core: FakeCore, store: Store, qtbot: QtBot
) -> None:
    page.page_hidden()
    qtbot.waitUntil(lambda: bool(core.streams) and all("request" not in stream.topics for stream in core.streams))
    core.clients.requests.insert(0, make_request(4))
    page.page_shown()
    qtbot.waitUntil(lambda: ids(page)[0] == "r4")


def test_the_oldest_go_when_there_are_too_many(page: RequestsPage, core: FakeCore, qtbot: QtBot) -> None:
    for number in range(10, 10 + CAP + 5):
        core.publish("request", "finished", make_request(number))
    qtbot.waitUntil(lambda: ids(page)[:1] == [f"r{9 + CAP + 5}"])
    assert page.rows.rowCount() == CAP


def test_what_is_read_stays_in_place(page: RequestsPage, core: FakeCore, qtbot: QtBot) -> None:
    for number in range(10, 110):
        core.publish("request", "finished", make_request(number))
    qtbot.waitUntil(lambda: page.rows.rowCount() == 103)
    bar = page.table.verticalScrollBar()
    bar.setValue(20)
    read = page.rows.row_at(page.table.indexAt(page.table.viewport().rect().topLeft())).id
    core.publish("request", "finished", make_request(200))
    qtbot.waitUntil(lambda: page.rows.rowCount() == 104)
    assert page.rows.row_at(page.table.indexAt(page.table.viewport().rect().topLeft())).id == read
    assert page.jump.text() == "1 new request"
    qtbot.mouseClick(page.jump, Qt.MouseButton.LeftButton)
    assert (bar.value(), page.jump.isVisible()) == (0, False)


def test_held_requests_appear_afterwards(page: RequestsPage, core: FakeCore, qtbot: QtBot) -> None:
    page.pause.click()
    core.publish("request", "finished", make_request(4))
    qtbot.waitUntil(lambda: len(page._new) == 1)
    page.take_in()
    assert page.rows.rowCount() == 3
    page.pause.click()
    assert ids(page)[0] == "r4"


def test_filters_and_their_empty_state(page: RequestsPage, core: FakeCore, qtbot: QtBot) -> None:
    core.publish("request", "finished", make_request(4, status=502, error="It broke.", model="mistral-7b"))
    core.publish("request", "finished", make_request(5, dropped=["logit_bias"], key="open-webui"))
    qtbot.waitUntil(lambda: page.rows.rowCount() == 5)
    bar = page.filters
    bar.outcomes.setCurrentIndex(bar.outcomes.findData(Outcomes.FAILED.value))
    assert ids(page) == ["r4"]
    bar.outcomes.setCurrentIndex(bar.outcomes.findData(Outcomes.CHANGED.value))
    assert ids(page) == ["r5"]
    bar.outcomes.setCurrentIndex(0)
    bar.model.setCurrentIndex(bar.model.findData("mistral-7b"))
    assert ids(page) == ["r4"]
    bar.clear()
    bar.search.setText("webui LOGIT")
    assert ids(page) == ["r5"]
    bar.search.setText("no such thing")
    assert page.stack.currentWidget() is page.empty
    page.empty.button.click()
    assert len(ids(page)) == 5


def test_details_tell_what_became_of_a_request(page: RequestsPage, core: FakeCore, qtbot: QtBot) -> None:
    core.publish("request", "finished", make_request(
        4, asked="gpt-4o", route="alias", dropped=["n"], applied=["strip-tools", "default:temperature"],
        tried=["mistral-7b", "llama-70b"], key="me", warnings=["“qwen3-8b” cannot use tools."],
    ))  # fmt: skip
    qtbot.waitUntil(lambda: page.rows.rowCount() == 4)
    choose(page, 0)
    detail = page.detail
    assert detail.isVisible()
    assert detail.fact("Left out") == "“n”, which the backend does not know"
    assert detail.fact("Adapted") == "Tools were left out\n“temperature” was filled in"
    assert detail.fact("Please note") == "“qwen3-8b” cannot use tools."
    assert detail.fact("Tried before") == "mistral-7b, llama-70b"
    assert detail.fact("Asked for") == "gpt-4o"
    assert detail.fact("Backend") == "llama.cpp (built in)"
    assert detail.fact("Tokens") == "120 in, 96 out, 41.5 per second"
    assert "Keep texts" in detail.request.left.text.toPlainText()
    qtbot.keyClick(page, Qt.Key.Key_Escape)
    assert not detail.isVisible()


def test_kept_texts_stand_side_by_side(page: RequestsPage, core: FakeCore, qtbot: QtBot) -> None:
    view = make_request(4, captured=True)
    core.clients.details["r4"] = RequestDetail(
        request=view, original=captured('{"model":"gpt-4o","stream":true}'), converted=captured('{"model":"qwen3-8b"}'),
        upstream=captured("data: 1"), answer=captured("data: 1"),
    )  # fmt: skip
    core.publish("request", "finished", view)
    qtbot.waitUntil(lambda: page.rows.rowCount() == 4)
    choose(page, 0)
    request, answer = page.detail.request, page.detail.answer
    qtbot.waitUntil(lambda: '"model": "gpt-4o"' in request.left.text.toPlainText())
    page.detail.tabs.setCurrentIndex(REQUEST)
    assert (request.left.marked, request.right.marked) == ({1, 2}, {1})
    page.detail.tabs.setCurrentIndex(ANSWER)
    assert answer.same.text() == "Both are the same."
    answer.right.copy.click()
    assert QGuiApplication.clipboard().text() == "data: 1"


def test_texts_that_are_forgotten_are_said_so(page: RequestsPage, core: FakeCore, qtbot: QtBot) -> None:
    told: list[str] = []
    page._store.toast.connect(lambda text, _kind: told.append(text))
    core.publish("request", "finished", make_request(4, captured=True))
    qtbot.waitUntil(lambda: page.rows.rowCount() == 4)
    choose(page, 0)
    qtbot.waitUntil(lambda: bool(told))
    assert page.detail.isVisible()


def test_keeping_texts_is_asked_about_and_shown(page: RequestsPage, core: FakeCore, qtbot: QtBot) -> None:
    page.keep.click()
    assert not page.keep.isChecked()
    qtbot.waitUntil(lambda: any(dialog.isVisible() for dialog in page.findChildren(Question)))
    question(page).done(QDialog.DialogCode.Rejected)
    page.keep.click()
    qtbot.waitUntil(lambda: any(dialog.isVisible() for dialog in page.findChildren(Question)))
    assert core.called("PATCH", "/api/settings") == []
    question(page).done(QDialog.DialogCode.Accepted)
    qtbot.waitUntil(page.keep.isChecked)
    assert core.called("PATCH", "/api/settings") == [{"capture_requests": True}]
    assert "Texts are kept" in page.note.text()
    page.keep.click()
    qtbot.waitUntil(lambda: not page.note.isVisible())
    assert core.called("PATCH", "/api/settings")[1:] == [{"capture_requests": False}]


def test_without_requests_the_way_to_connect_is_shown(store: Store, core: FakeCore, qtbot: QtBot) -> None:
    page = RequestsPage(store)
    qtbot.addWidget(page)
    page.show()
    page.page_shown()
    qtbot.waitUntil(lambda: page.empty.title.text() == "No requests yet")
    with qtbot.waitSignal(page.connect_wanted):
        page.empty.button.click()
    page.page_hidden()


def test_a_lost_core_is_told_and_missed_requests_are_read(page: RequestsPage, core: FakeCore, qtbot: QtBot) -> None:
    core.drop()
    qtbot.waitUntil(lambda: not page.keep.isEnabled())
    core.clients.requests.insert(0, make_request(9))
    core.online = True
    qtbot.waitUntil(lambda: ids(page)[0] == "r9")


def test_a_small_window_keeps_what_matters(page: RequestsPage, qtbot: QtBot) -> None:
    page.resize(640, 700)
    assert page.table.isColumnHidden(Column.BACKEND)
    assert not page.table.isColumnHidden(Column.OUTCOME)
    page.resize(1400, 700)
    assert not any(page.table.isColumnHidden(column) for column in Column)
