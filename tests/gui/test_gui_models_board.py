"""The board of cards with thousands of models: few widgets, right places, nothing mixed up when cards are reused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from fake_core import FakeCore, make_model
from hypothesis import given
from hypothesis import strategies as st
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QWidget
from pytestqt.qtbot import QtBot

from quarterdeck.errors import AppError
from quarterdeck.gui.backend_commands import BackendCommands
from quarterdeck.gui.commands import Commands
from quarterdeck.gui.pages.models import ModelsPage
from quarterdeck.gui.presenters.card import Verb, card_shape, card_state
from quarterdeck.gui.presenters.filters import Filters, SortKey, natural, ordered
from quarterdeck.gui.presenters.grid import lay_out
from quarterdeck.gui.store import Store
from quarterdeck.schemas.models import LoadProgress, ModelView, Phase, Retest

MANY = 3000


@pytest.fixture
def page(store: Store, core: FakeCore, qtbot: QtBot) -> ModelsPage:
    for number in range(MANY):
        core.add(f"m-{number:04}")
    store.models = dict(core.models)
    made = ModelsPage(store, Commands(store), BackendCommands(store))
    qtbot.addWidget(made)
    made.resize(1100, 760)
    made.show()
    qtbot.waitExposed(made)
    qtbot.waitUntil(lambda: bool(made.board.cards))
    return made


def in_view(page: ModelsPage) -> list[str]:
    viewport = page.board.viewport().rect()
    board = page.board.viewport()
    found = [
        (card.mapTo(board, card.rect().topLeft()), name)
        for name, card in page.board.cards.items()
        if card.isVisible() and viewport.intersects(card.rect().translated(card.mapTo(board, card.rect().topLeft())))
    ]
    return [name for _, name in sorted(found, key=lambda each: (each[0].y(), each[0].x()))]


def test_only_the_cards_in_view_exist(page: ModelsPage) -> None:
    assert len(page.board.order) == MANY + 4
    assert len(page.findChildren(QWidget)) < 1200
    assert in_view(page) == page.board.order[: len(in_view(page))]


def test_scrolling_shows_other_models_in_order_and_makes_no_new_cards(page: ModelsPage, qtbot: QtBot) -> None:
    bar = page.board.verticalScrollBar()
    bar.setValue(bar.maximum() // 2)
    qtbot.waitUntil(lambda: page.board.order[0] not in in_view(page))
    made = {id(card) for card in page.board.cards.values()} | {id(card) for card in page.board._spare}
    for share in (0.1, 0.9, 0.3, 1.0):
        bar.setValue(int(bar.maximum() * share))
    seen = in_view(page)
    first = page.board.order.index(seen[0])
    assert seen == page.board.order[first : first + len(seen)]
    assert seen[-1] == page.board.order[-1]
    assert all(page.board.cards[name].name.text() == name for name in seen)
    now = {id(card) for card in page.board.cards.values()} | {id(card) for card in page.board._spare}
    assert len(now) <= len(made) + 4


def test_a_reused_card_acts_for_the_model_it_shows(page: ModelsPage, core: FakeCore, qtbot: QtBot) -> None:
    bar = page.board.verticalScrollBar()
    bar.setValue(bar.maximum())
    last = page.board.order[-1]
    qtbot.waitUntil(lambda: last in page.board.cards)
    qtbot.mouseClick(page.board.cards[last].button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: core.models[last].loaded)
    qtbot.waitUntil(lambda: page.board.cards[last].button.text() == "Unload")


def test_the_keyboard_reaches_every_model(page: ModelsPage, qtbot: QtBot) -> None:
    page.board.focus_card(page.board.order[0])
    first = page.board.cards[page.board.order[0]]
    assert first.hasFocus()
    qtbot.keyClick(first, Qt.Key.Key_End)
    last = page.board.cards[page.board.order[-1]]
    assert last.hasFocus()
    assert page.board.order[-1] in in_view(page)
    page.board.verticalScrollBar().setValue(0)
    assert page.board.cards[page.board.order[-1]] is last  # the card with the keyboard is kept
    qtbot.keyClick(last, Qt.Key.Key_Home)
    assert QApplication.focusWidget() is page.board.cards[page.board.order[0]]


def test_a_search_starts_at_the_top(page: ModelsPage, qtbot: QtBot) -> None:
    page.board.verticalScrollBar().setValue(20_000)
    qtbot.keyClicks(page.toolbar.search, "m-29")
    qtbot.waitUntil(lambda: len(page.board.order) == 100)
    assert page.board.verticalScrollBar().value() == 0
    assert in_view(page)[0] == "m-2900"


def test_rows_below_move_down_when_a_card_grows(page: ModelsPage, core: FakeCore, qtbot: QtBot) -> None:
    below = page.board.cards[page.board.order[4]]
    before = below.y()
    name = page.board.order[0]
    core.change(name, phase=Phase.LOADING, progress=LoadProgress(stage="reading", fraction=0.5))
    qtbot.waitUntil(lambda: below.y() > before)
    card = page.board.cards[name]
    assert card.bar.isVisible()
    assert card.height() >= card.sizeHint().height()
    core.change(name, phase=Phase.UNLOADED, progress=None)
    qtbot.waitUntil(lambda: below.y() == before)


def test_a_pause_after_a_failure_ends_by_itself(page: ModelsPage, core: FakeCore, qtbot: QtBot) -> None:
    name = page.board.order[0]
    core.change(name, cooldown_until=datetime.now(UTC) + timedelta(seconds=0.8))
    card = page.board.cards[name]
    qtbot.waitUntil(lambda: card.remark.isVisible())
    assert card.remark.text().startswith("Cools down until ")
    qtbot.waitUntil(lambda: not card.remark.isVisible(), timeout=5000)


def test_an_alarm_stands_on_the_card(page: ModelsPage, core: FakeCore, qtbot: QtBot) -> None:
    name = page.board.order[1]
    core.change(name, alarm="Nothing of it is in memory.", pinned=True, locked=True)
    card = page.board.cards[name]
    qtbot.waitUntil(lambda: card.remark.isVisible())
    assert card.remark.text() == "Nothing of it is in memory."
    assert "Nothing of it is in memory" in card.accessibleDescription()
    assert [mark.isVisible() for mark in card.marks] == [True, True]
    assert card.marks[1].toolTip().startswith("Locked")


def test_a_sleeping_model_wakes_and_can_be_unloaded(page: ModelsPage, core: FakeCore, qtbot: QtBot) -> None:
    name = "m-0001"
    core.change(name, phase=Phase.SLEEPING)
    card = page.board.cards[name]
    qtbot.waitUntil(lambda: card.button.text() == "Wake")
    assert card.word.text() == "Sleeping"
    entries = [action.text() for action in card.more.menu().actions() if action.isVisible()]
    assert entries == ["Details", "Load with options…", "Unload", "Copy API name", "Show file", "Remove…"]
    qtbot.mouseClick(card.button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: core.models[name].loaded)


heights = st.lists(st.integers(min_value=1, max_value=300), max_size=60)


@given(heights, st.integers(min_value=1, max_value=2000), st.integers(min_value=0, max_value=40_000))
def test_every_card_in_a_stretch_is_found_and_no_cards_overlap(sizes: list[int], width: int, top: int) -> None:
    grid = lay_out(sizes, width, column=320, gap=14)
    places = [grid.place(index) for index in range(len(sizes))]
    bottom = top + 500
    found = set(grid.between(top, bottom, len(sizes)))
    touching = {index for index, place in enumerate(places) if place.y < bottom and place.y + place.height > top}
    assert touching <= found
    for index, place in enumerate(places):
        assert place.height >= sizes[index]
        assert place.y + place.height <= grid.height
        if index + grid.columns < len(places):
            assert places[index + grid.columns].y >= place.y + place.height + grid.gap


models = st.builds(
    lambda **fields: make_model("m", **fields),
    phase=st.sampled_from(Phase),
    retest=st.sampled_from([None, Retest.CONFIG]),
    last_error=st.sampled_from([None, "", " \n", "It broke.\nTrace"]),
    alarm=st.sampled_from([None, "", "Nothing resident."]),
    installed=st.booleans(),
    cooldown_until=st.sampled_from([None, datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)]),
    progress=st.sampled_from([None, LoadProgress(stage="reading")]),
)


@given(models, st.sampled_from([None, *Verb]), st.sampled_from([None, AppError("x", "It failed.")]))
def test_the_shape_of_a_card_is_known_without_its_state(
    model: ModelView, busy: Verb | None, error: AppError | None
) -> None:
    now = datetime(2026, 5, 1, tzinfo=UTC)
    state = card_state(model, busy=busy, error=error, now=now)
    assert card_shape(model, busy=busy, error=error, now=now) == state.shape


def test_names_with_numbers_are_in_the_order_of_the_numbers() -> None:
    names = ["qwen-14b", "Qwen-8b", "qwen-8b-v10", "qwen-8b-v2"]
    assert sorted(names, key=natural) == ["Qwen-8b", "qwen-8b-v2", "qwen-8b-v10", "qwen-14b"]


def test_models_are_found_by_other_names_engine_and_group_and_sorted_by_engine() -> None:
    one = make_model("b", backend="ollama", aliases=["gpt-4o"], group="writers")
    two = make_model("a", backend="vllm")
    for words in ("GPT-4", "ollama", "writers"):
        assert Filters(words=words).accepts(one)
        assert not Filters(words=words).accepts(two)
    assert Filters(words="built in").accepts(make_model("c"))
    assert [model.name for model in ordered([two, one], Filters(sort=SortKey.ENGINE))] == ["b", "a"]
