"""The board of model cards: only the cards in view exist; the arrow keys move among all of them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from PySide6.QtCore import QEvent, Qt, QTimer, Signal, Slot
from PySide6.QtGui import QResizeEvent, QShowEvent
from PySide6.QtWidgets import QFrame, QScrollArea, QWidget

from quarterdeck.gui.presenters.card import CardState, Shape, card_shape, card_state
from quarterdeck.gui.presenters.engines import engine_title
from quarterdeck.gui.presenters.grid import Grid, lay_out
from quarterdeck.gui.presenters.problems import why_line
from quarterdeck.gui.widgets.model_card import ModelCard

if TYPE_CHECKING:
    from quarterdeck.gui.commands import Commands
    from quarterdeck.gui.models.model_list import ModelRows
    from quarterdeck.gui.store import Store

COLUMN_IN_LETTERS = 52
GAP = 14
STEP = 40
LEFT, TOP, RIGHT, BOTTOM = 2, 2, 12, 16
# Cards this many pixels above and below the view are made too, so that slow scrolling finds them there.
AHEAD = 160
LONGEST_PAUSE_S = 3600.0


class CardBoard(QScrollArea):
    """Shows a card per model of `rows`; `created` carries each new card for the page to connect.

    A card that leaves the view is used again for another model. `cards` holds those that exist, by model name; the one
    that the keyboard is on is kept wherever it is.
    """

    created = Signal(object)

    def __init__(self, store: Store, commands: Commands, rows: ModelRows, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._store, self._commands, self._rows = store, commands, rows
        self.cards: dict[str, ModelCard] = {}
        self._spare: list[ModelCard] = []
        self._index: dict[str, int] = {}
        self._shapes: dict[str, Shape] = {}
        self._heights: dict[Shape, int] = {}
        self._measure: ModelCard | None = None
        self._grid: Grid = lay_out((), 1, column=1, gap=GAP)
        self._current = ""
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._inside = QWidget()
        self._inside.setProperty("plain", True)
        self.setWidget(self._inside)
        self._soon = QTimer(self, interval=0, singleShot=True)
        self._soon.timeout.connect(self._lay_out)
        # The pause after a failure ends without an event.
        self._pause_ends = QTimer(self, singleShot=True)
        self._pause_ends.timeout.connect(self._refresh_all)
        self.verticalScrollBar().setSingleStep(STEP)
        self.verticalScrollBar().valueChanged.connect(self._show_cards)
        rows.changed.connect(self.arrange)
        store.model_changed.connect(self.refresh)
        store.models_reset.connect(self._refresh_all)
        store.backends_changed.connect(self._refresh_all)
        store.problems.changed.connect(self._refresh_all)
        commands.busy_changed.connect(self.refresh)
        self.arrange()

    @property
    def order(self) -> list[str]:
        """The names of the models that are shown, in order."""
        return self._rows.names

    @Slot()
    def arrange(self) -> None:
        """Show the cards of the filtered rows in their order."""
        self._index = {name: place for place, name in enumerate(self.order)}
        self._lay_out()
        if self._current not in self._index:
            self._set_current(next(iter(self.order), ""))
            self._show_cards()

    def to_top(self) -> None:
        self.verticalScrollBar().setValue(0)

    def focus_card(self, name: str = "") -> None:
        """Give the keyboard to a card: the named one, or the current one."""
        name = name or self._current
        if name not in self._index:
            return
        self._set_current(name)
        self._show_cards()
        card = self.cards[name]
        self.ensureWidgetVisible(card, 0, 20)
        card.setFocus(Qt.FocusReason.TabFocusReason)

    @Slot(str)
    def refresh(self, name: str) -> None:
        """Show the present state of one model."""
        if name not in self._store.models:
            return
        if name in self.cards:
            self.cards[name].set_state(self._state(name))
        if name in self._shapes and self._shapes[name] != (shape := self._shape(name)):
            self._shapes[name] = shape
            if name in self._index:
                self._soon.start()

    @Slot()
    def _refresh_all(self) -> None:
        for name in list(self.cards):
            if name in self._store.models:
                self.cards[name].set_state(self._state(name))
        self._shapes.clear()
        self._soon.start()

    @Slot()
    def _lay_out(self) -> None:
        """Work out where all cards stand, and show those in view."""
        self._soon.stop()
        now = datetime.now(UTC)
        for name in self.order:
            if name not in self._shapes:
                self._shapes[name] = self._shape(name, now)
        heights = [self._height(self._shapes[name]) for name in self.order]
        column = self.fontMetrics().averageCharWidth() * COLUMN_IN_LETTERS
        # The cards end at the same place with and without a scroll bar.
        right = RIGHT - (self.verticalScrollBar().width() if self.verticalScrollBar().isVisible() else 0)
        self._grid = lay_out(heights, self.viewport().width() - LEFT - max(0, right), column=column, gap=GAP)
        self._inside.setMinimumHeight(self._grid.height + TOP + BOTTOM)
        self._show_cards()
        self._await_pauses(now)

    @Slot()
    def _show_cards(self) -> None:
        """Make the cards in view, and use those out of view again."""
        top = self.verticalScrollBar().value() - TOP
        bottom = top + self.viewport().height()
        wanted = [self.order[at] for at in self._grid.between(top - AHEAD, bottom + AHEAD, len(self.order))]
        if self._current in self._index and self._current not in wanted:
            wanted.append(self._current)
        self._give_up(self.cards.keys() - set(wanted))
        for name in wanted:
            if name in self._store.models:
                self._place(name)

    def _place(self, name: str) -> None:
        card = self.cards.get(name)
        place = self._grid.place(self._index[name])
        if card is None:
            card = self._take(name)
        card.setGeometry(LEFT + place.x, TOP + place.y, place.width, place.height)
        card.show()

    def _take(self, name: str) -> ModelCard:
        """A card for this model: one that is not needed any more, or a new one."""
        state = self._state(name)
        if self._spare:
            card = self._spare.pop()
            card.set_state(state)
        else:
            card = ModelCard(state, self._inside)
            card.moved.connect(self._move)
            card.focused.connect(self._set_current)
            self._chain(card)
            self.created.emit(card)
        card.set_current(name == self._current)
        self.cards[name] = card
        return card

    def _chain(self, card: ModelCard) -> None:
        """Tab reaches the parts of a card after the line of the search, whenever the card was made."""
        before: QWidget = self._inside
        for part in card.tab_parts():
            QWidget.setTabOrder(before, part)
            before = part

    def _give_up(self, names: Iterable[str]) -> None:
        for name in names:
            card = self.cards.pop(name)
            card.rest()
            self._spare.append(card)

    def _state(self, name: str) -> CardState:
        model = self._store.models[name]
        return card_state(
            model,
            busy=self._commands.busy(name),
            error=self._commands.error(name),
            why=why_line(self._store.problems.about(f"model:{name}"), self._store.problems.titles),
            backend_title=engine_title(model, self._store.backends),
        )

    def _shape(self, name: str, now: datetime | None = None) -> Shape:
        model = self._store.models.get(name)
        if model is None:
            return Shape()
        busy, error = self._commands.busy(name), self._commands.error(name)
        why = bool(self._store.problems.about(f"model:{name}"))
        return card_shape(model, busy=busy, error=error, why=why, now=now or datetime.now(UTC))

    def _height(self, shape: Shape) -> int:
        """How high cards of this shape are; asked of a card that is never shown."""
        if shape not in self._heights:
            if self._measure is None:
                self._measure = ModelCard.blank(self)
            self._heights[shape] = self._measure.height_of(shape)
        return self._heights[shape]

    def _await_pauses(self, now: datetime) -> None:
        models = (self._store.models.get(name) for name, shape in self._shapes.items() if shape.remark)
        ends = [model.cooldown_until for model in models if model is not None and model.cooldown_until is not None]
        later = [(end - now).total_seconds() for end in ends if end > now]
        if later:
            self._pause_ends.start(int(min([*later, LONGEST_PAUSE_S]) * 1000) + 200)

    @Slot(str)
    def _set_current(self, name: str) -> None:
        if self._current in self.cards and self._current != name:
            self.cards[self._current].set_current(False)
        self._current = name
        if name in self.cards:
            self.cards[name].set_current(True)

    @Slot(str, int)
    def _move(self, name: str, key: int) -> None:
        if name not in self._index:
            return
        place, last, columns = self._index[name], len(self.order) - 1, self._grid.columns
        steps = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1, Qt.Key.Key_Up: -columns, Qt.Key.Key_Down: columns}
        if key == Qt.Key.Key_Home:
            target = 0
        elif key == Qt.Key.Key_End:
            target = last
        else:
            target = place + steps[Qt.Key(key)]
        if 0 <= target <= last:
            self.focus_card(self.order[target])

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._lay_out()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._lay_out()

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() in (QEvent.Type.FontChange, QEvent.Type.StyleChange) and hasattr(self, "_soon"):
            self._heights.clear()
            self._soon.start()
