"""The board of model cards: follows the filtered list row by row and moves the focus with the arrow keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, QTimer, Signal, Slot
from PySide6.QtWidgets import QFrame, QScrollArea, QWidget

from quarterdeck.gui.models.model_list import ModelFilter
from quarterdeck.gui.presenters.card import CardState, card_state
from quarterdeck.gui.widgets.card_flow import CardFlow
from quarterdeck.gui.widgets.model_card import ModelCard

if TYPE_CHECKING:
    from quarterdeck.gui.commands import Commands
    from quarterdeck.gui.store import Store

COLUMN_IN_LETTERS = 52


class CardBoard(QScrollArea):
    """Shows a card per model of `rows`; `created` carries each new card for the page to connect."""

    created = Signal(object)

    def __init__(self, store: Store, commands: Commands, rows: ModelFilter, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._store, self._commands, self._rows = store, commands, rows
        self.cards: dict[str, ModelCard] = {}
        self._order: list[str] = []
        self._current = ""
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._inside = QWidget()
        self._inside.setProperty("plain", True)
        self._flow = CardFlow(self._inside, column=self.fontMetrics().averageCharWidth() * COLUMN_IN_LETTERS)
        self._flow.setContentsMargins(2, 2, 12, 16)
        self.setWidget(self._inside)
        # Several rows often change in one turn of the loop; one look at the order is enough for all of them.
        self._soon = QTimer(self, interval=0, singleShot=True)
        self._soon.timeout.connect(self.arrange)
        for signal in (rows.rowsInserted, rows.rowsRemoved, rows.layoutChanged, rows.modelReset):
            signal.connect(self._soon.start)
        store.model_changed.connect(self.refresh)
        store.models_reset.connect(self._refresh_all)
        store.backends_changed.connect(self._refresh_all)
        commands.busy_changed.connect(self.refresh)
        self.arrange()

    @property
    def order(self) -> list[str]:
        """The names of the cards that are shown, in order."""
        return self._order

    @Slot()
    def arrange(self) -> None:
        """Show the cards of the filtered rows in their order; cards of other models are kept, hidden."""
        self._soon.stop()
        self._order = [model.name for model in self._rows.models()]
        for name in [name for name in self.cards if name not in self._store.models]:
            self.cards.pop(name).deleteLater()
        for name in self._order:
            if name not in self.cards:
                self._create(name)
        shown = set(self._order)
        for name, card in self.cards.items():
            card.setVisible(name in shown)
        self._flow.arrange([self.cards[name] for name in self._order])
        self._set_current(self._current if self._current in shown else next(iter(self._order), ""))
        self._tab_order()

    def focus_card(self, name: str = "") -> None:
        """Give the keyboard to a card: the named one, or the current one."""
        card = self.cards.get(name or self._current)
        if card is not None and card.isVisibleTo(self):
            self._set_current(card.state.name)
            card.setFocus(Qt.FocusReason.TabFocusReason)
            self.ensureWidgetVisible(card, 0, 20)

    @Slot(str)
    def refresh(self, name: str) -> None:
        card = self.cards.get(name)
        if card is not None and name in self._store.models:
            card.set_state(self._state(name))

    @Slot()
    def _refresh_all(self) -> None:
        for name in self.cards:
            self.refresh(name)

    def _create(self, name: str) -> None:
        card = ModelCard(self._state(name), self._inside)
        card.moved.connect(self._move)
        card.focused.connect(self._set_current)
        self.cards[name] = card
        self._flow.addWidget(card)
        self.created.emit(card)

    def _state(self, name: str) -> CardState:
        model = self._store.models[name]
        backend = self._store.backends.get(model.backend)
        return card_state(
            model,
            busy=self._commands.busy(name),
            error=self._commands.error(name),
            backend_title=backend.title if backend else "",
        )

    @Slot(str)
    def _set_current(self, name: str) -> None:
        if self._current in self.cards and self._current != name:
            self.cards[self._current].set_current(False)
        self._current = name
        if name in self.cards:
            self.cards[name].set_current(True)

    def _tab_order(self) -> None:
        before: QWidget | None = None
        for name in self._order:
            for part in self.cards[name].tab_parts():
                if before is not None:
                    QWidget.setTabOrder(before, part)
                before = part

    @Slot(str, int)
    def _move(self, name: str, key: int) -> None:
        if name not in self._order:
            return
        margins = self._flow.contentsMargins()
        columns = self._flow.columns(self._inside.width() - margins.left() - margins.right())
        place, last = self._order.index(name), len(self._order) - 1
        steps = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1, Qt.Key.Key_Up: -columns, Qt.Key.Key_Down: columns}
        if key == Qt.Key.Key_Home:
            target = 0
        elif key == Qt.Key.Key_End:
            target = last
        else:
            target = place + steps[Qt.Key(key)]
        if 0 <= target <= last:
            self.focus_card(self._order[target])
