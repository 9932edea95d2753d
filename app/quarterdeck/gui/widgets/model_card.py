"""The card of one model."""

from __future__ import annotations

from datetime import UTC, datetime
from time import monotonic

from PySide6.QtCore import QEvent, QPoint, Qt, QTimer, Signal, Slot
from PySide6.QtGui import QAction, QContextMenuEvent, QFocusEvent, QHideEvent, QKeyEvent, QMouseEvent, QShowEvent
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QMenu,
    QProgressBar,
    QPushButton,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from quarterdeck.gui import theme
from quarterdeck.gui.presenters.badges import Tone
from quarterdeck.gui.presenters.card import CardState, Shape, Verb, card_state
from quarterdeck.gui.widgets.badge import StatusBadge, shade
from quarterdeck.gui.widgets.elided import ElidedLabel, LinkLine, NameButton
from quarterdeck.schemas.models import ModelView

STEPS = 1000
_MENU = (
    ("details", "Details"),
    ("options", "Load with options…"),
    ("unload", "Unload"),
    ("copy", "Copy API name"),
    ("show", "Show file"),
    ("remove", "Remove…"),
)


class ModelCard(QFrame):
    """Shows one CardState. Signals carry the model's name; `chosen` adds a key of the overflow menu.

    Only the current card takes part in the tab order, arrow keys move among cards (`moved`).
    """

    primary = Signal(str, str)
    details = Signal(str)
    history = Signal(str)
    why_wanted = Signal(str)
    chosen = Signal(str, str)
    moved = Signal(str, int)
    focused = Signal(str)

    def __init__(self, state: CardState, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("card", True)
        self.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        self._state = state
        self._received = monotonic()
        self._build()
        self._ticker = QTimer(self, interval=1000)
        self._ticker.timeout.connect(self._tick)
        theme.notifier.changed.connect(self._icons)
        self._icons()
        self._apply(state)

    @classmethod
    def blank(cls, parent: QWidget) -> ModelCard:
        """A card that is never shown, to measure with."""
        model = ModelView(name="", backend="", served_name="", layer="", created_at=datetime.now(UTC))
        card = cls(card_state(model), parent)
        card.hide()
        return card

    def height_of(self, shape: Shape) -> int:
        """How high a card of this shape wants to be; changes what this card shows."""
        parts: dict[QWidget, bool] = {
            self.retest: shape.retest, self.remark: shape.remark, self.error: shape.error, self.why: shape.why,
            self.progress_line: shape.progress, self.bar: shape.progress,
        }  # fmt: skip
        for part, shown in parts.items():
            part.setVisible(shown)
        for part in (self, *self.findChildren(QWidget)):
            part.ensurePolished()
        self._column.invalidate()
        return self.sizeHint().height()

    def rest(self) -> None:
        """Leave the board until another model needs a card."""
        self.more.menu().close()
        self.hide()

    @property
    def state(self) -> CardState:
        return self._state

    def set_state(self, state: CardState) -> None:
        """Show another state; a state equal to the present one costs nothing."""
        if state == self._state:
            return
        if state.progress != self._state.progress or state.name != self._state.name:
            self._received = monotonic()
        self._state = state
        self._apply(state)

    def set_current(self, current: bool) -> None:
        """Take part in the tab order, or leave it to the card that does."""
        policy = Qt.FocusPolicy.StrongFocus if current else Qt.FocusPolicy.ClickFocus
        for widget in self.tab_parts():
            widget.setFocusPolicy(policy)

    def tab_parts(self) -> tuple[QWidget, ...]:
        """The widgets that take the keyboard, in reading order."""
        return (self, self.name, self.retest, self.remark, self.error, self.why, self.more, self.button)

    def _build(self) -> None:
        column = self._column = QVBoxLayout(self)
        column.setContentsMargins(16, 12, 12, 12)
        column.setSpacing(6)
        self.name = NameButton()
        self.name.clicked.connect(self._open)
        self.badge = StatusBadge()
        self.facts = ElidedLabel()
        self.backend = ElidedLabel()
        for label in (self.facts, self.backend):
            label.setProperty("role", "muted")
        self.retest = LinkLine()
        self.retest.clicked.connect(self._load_again)
        self.remark = LinkLine()
        self.remark.clicked.connect(self._open)
        self.error = LinkLine()
        self.error.clicked.connect(self._open_history)
        self.why = LinkLine()
        self.why.clicked.connect(self._open_why)
        column.addLayout(_row(self.name, self.badge))
        column.addWidget(self.facts)
        column.addWidget(self.backend)
        column.addWidget(self.retest)
        column.addWidget(self.remark)
        column.addWidget(self.error)
        column.addWidget(self.why)
        column.addStretch(1)
        self._build_progress(column)
        self._build_bottom(column)

    def _build_progress(self, column: QVBoxLayout) -> None:
        self.progress_line = ElidedLabel()
        self.progress_line.setProperty("role", "muted")
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        column.addWidget(self.progress_line)
        column.addWidget(self.bar)

    def _build_bottom(self, column: QVBoxLayout) -> None:
        self.dot = QLabel()
        self.word = ElidedLabel()
        self.marks = (QLabel(), QLabel())
        self.more = QToolButton()
        self.more.setProperty("kind", "quiet")
        self.more.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.more.setToolTip("More actions")
        menu = QMenu(self.more)
        self._entries: dict[str, QAction] = {}
        for key, title in _MENU:
            self._entries[key] = menu.addAction(title)
            self._entries[key].setData(key)
        menu.triggered.connect(self._menu_chosen)
        self.more.setMenu(menu)
        self.button = QPushButton()
        self.button.setMinimumWidth(self.fontMetrics().horizontalAdvance("Unloading…") + 34)
        self.button.clicked.connect(self._run_primary)
        row = QHBoxLayout()
        row.setContentsMargins(0, 4, 0, 0)
        row.setSpacing(6)
        row.addWidget(self.dot)
        row.addWidget(self.word, 1)
        for mark in self.marks:
            row.addWidget(mark)
        row.addWidget(self.more)
        row.addWidget(self.button)
        column.addLayout(row)

    def _apply(self, state: CardState) -> None:
        self.setAccessibleName(state.accessible_name)
        remark = state.remark.text if state.remark is not None else ""
        meanings = [mark.meaning for mark in state.marks]
        described = (state.also, state.retest, remark, state.error, state.why, *meanings)
        self.setAccessibleDescription(". ".join(part.rstrip(".") for part in described if part))
        self.name.setText(state.name)
        self.name.setToolTip("\n".join(part for part in (state.name, state.also, "Show details") if part))
        self.name.setAccessibleName(f"Details of {state.name}")
        self.facts.setText(state.facts)
        self.facts.setToolTip(state.facts)
        self.backend.setText(state.backend)
        self.badge.show_badge(state.badge, state.badge_tip)
        self.badge.setAccessibleName(f"{state.name}: {state.badge.word}")
        _show_link(self.retest, state.retest, state.retest_tip)
        _show_link(self.remark, remark, f"{state.remark.tip}\nShow details" if state.remark is not None else "")
        _show_link(self.error, state.error, f"{state.error}\nShow the history")
        _show_link(self.why, state.why, f"{state.why}\nShow what helps")
        for key, entry in self._entries.items():
            entry.setVisible(key in state.menu)
        self._apply_button(state)
        self._apply_progress()
        self._icons()

    def _apply_button(self, state: CardState) -> None:
        verb = state.primary.verb
        kind = "primary" if verb is Verb.LOAD else ""
        if self.button.property("kind") != kind:
            self.button.setProperty("kind", kind)
            self.button.style().unpolish(self.button)
            self.button.style().polish(self.button)
        self.button.setText(state.primary.label)
        if verb is None and self.button.hasFocus():
            # Else the keyboard would wander off to another widget.
            self.setFocus(Qt.FocusReason.OtherFocusReason)
        self.button.setEnabled(verb is not None)
        self.button.setToolTip(state.primary.reason)
        self.button.setAccessibleName(f"{state.primary.label} {state.name}")
        self.more.setAccessibleName(f"More actions for {state.name}")
        self.word.setText(" · ".join(part for part in (state.state_word, state.state_more) if part))
        self.word.setToolTip(state.primary.reason)

    def _apply_progress(self) -> None:
        progress = self._state.progress
        self.bar.setVisible(progress is not None)
        self.progress_line.setVisible(progress is not None)
        if progress is None:
            self._ticker.stop()
            return
        known = progress.fraction is not None
        self.bar.setRange(0, STEPS if known else 0)
        self.bar.setValue(round((progress.fraction or 0.0) * STEPS))
        self.bar.setAccessibleName(f"Progress of {self._state.name}")
        self._tick()
        if self.isVisible():
            self._ticker.start()

    @Slot()
    def _tick(self) -> None:
        if self._state.progress is not None:
            line = self._state.progress.line(monotonic() - self._received)
            self.progress_line.setText(line)
            self.progress_line.setToolTip(line)

    @Slot()
    def _icons(self) -> None:
        colours = theme.tokens()
        self.more.setIcon(theme.icon("more", colours.muted))
        remark = self._state.remark
        tone, icon = (remark.tone, remark.icon) if remark is not None else (Tone.WARN, "warn")
        links = (
            (self.retest, "restart", Tone.WARN), (self.remark, icon, tone), (self.error, "warn", Tone.ERROR),
            (self.why, "diagnosis", Tone.INFO),
        )  # fmt: skip
        for link, picture, shown in links:
            link.setIcon(theme.icon(picture, shade(shown).fg))
            link.set_colour(shade(shown).fg)
        side, ratio = self.fontMetrics().height(), self.devicePixelRatioF()
        asleep = self._state.state_word == "Sleeping"
        self.dot.setPixmap(theme.pixmap("sleep" if asleep else "loaded", colours.ok.fg, side, ratio))
        self.dot.setVisible(self._state.loaded or asleep)
        for place, label in enumerate(self.marks):
            label.setVisible(place < len(self._state.marks))
            if place < len(self._state.marks):
                label.setPixmap(theme.pixmap(self._state.marks[place].icon, colours.muted, side, ratio))
                label.setToolTip(self._state.marks[place].meaning)

    @Slot()
    def _run_primary(self) -> None:
        if self._state.primary.verb is not None:
            self.primary.emit(self._state.name, self._state.primary.verb.value)

    @Slot()
    def _load_again(self) -> None:
        if self._state.primary.verb is Verb.LOAD:
            self._run_primary()

    @Slot()
    def _open(self) -> None:
        self.details.emit(self._state.name)

    @Slot()
    def _open_history(self) -> None:
        self.history.emit(self._state.name)

    @Slot()
    def _open_why(self) -> None:
        self.why_wanted.emit(self._state.name)

    @Slot(QAction)
    def _menu_chosen(self, action: QAction) -> None:
        self.chosen.emit(self._state.name, str(action.data()))

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        self.more.menu().popup(event.globalPos())

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        self._open()

    def focusInEvent(self, event: QFocusEvent) -> None:
        self.focused.emit(self._state.name)
        super().focusInEvent(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        key, on_card = event.key(), self.hasFocus()
        unload = key == Qt.Key.Key_Delete and self._state.primary.verb is Verb.UNLOAD
        if key in _ARROWS:
            self.moved.emit(self._state.name, key)
        elif unload or (on_card and key in _ACTIVATE):
            self._run_primary()
        elif key == Qt.Key.Key_Menu:
            self.more.menu().popup(self.more.mapToGlobal(QPoint(0, self.more.height())))
        elif key == Qt.Key.Key_Escape and not on_card:
            self.setFocus(Qt.FocusReason.OtherFocusReason)
        else:
            super().keyPressEvent(event)

    def showEvent(self, event: QShowEvent) -> None:
        if self._state.progress is not None:
            self._tick()
            self._ticker.start()
        super().showEvent(event)

    def hideEvent(self, event: QHideEvent) -> None:
        self._ticker.stop()
        super().hideEvent(event)

    def changeEvent(self, event: QEvent) -> None:
        if event.type() == QEvent.Type.FontChange and hasattr(self, "dot"):
            self._icons()
        super().changeEvent(event)


_ACTIVATE = (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space)
_ARROWS = (Qt.Key.Key_Left, Qt.Key.Key_Right, Qt.Key.Key_Up, Qt.Key.Key_Down, Qt.Key.Key_Home, Qt.Key.Key_End)


def _show_link(link: LinkLine, words: str, tip: str) -> None:
    link.setVisible(bool(words))
    link.setText(words)
    link.setToolTip(tip)


def _row(wide: QWidget, narrow: QWidget) -> QHBoxLayout:
    row = QHBoxLayout()
    row.setSpacing(8)
    row.addWidget(wide, 1)
    row.addWidget(narrow, 0, Qt.AlignmentFlag.AlignTop)
    return row
