"""The card of one model."""

from __future__ import annotations

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
from quarterdeck.gui.presenters.card import CardState, Verb
from quarterdeck.gui.widgets.badge import StatusBadge
from quarterdeck.gui.widgets.elided import ElidedLabel, LinkLine, NameButton

STEPS = 1000
_MENU = (
    ("details", "Details"),
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

    @property
    def state(self) -> CardState:
        return self._state

    def set_state(self, state: CardState) -> None:
        """Show another state; a state equal to the present one costs nothing."""
        if state == self._state:
            return
        if state.progress != self._state.progress:
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
        return (self, self.name, self.retest, self.error, self.more, self.button)

    def _build(self) -> None:
        column = QVBoxLayout(self)
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
        self.error = LinkLine()
        self.error.clicked.connect(self._open_history)
        column.addLayout(_row(self.name, self.badge))
        column.addWidget(self.facts)
        column.addWidget(self.backend)
        column.addWidget(self.retest)
        column.addWidget(self.error)
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
        self.word = QLabel()
        self.more = QToolButton()
        self.more.setProperty("kind", "quiet")
        self.more.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.more.setToolTip("More actions")
        menu = QMenu(self.more)
        for key, title in _MENU:
            action = menu.addAction(title)
            action.setData(key)
        menu.triggered.connect(self._menu_chosen)
        self.more.setMenu(menu)
        self.button = QPushButton()
        self.button.setMinimumWidth(self.fontMetrics().horizontalAdvance("Unloading…") + 34)
        self.button.clicked.connect(self._run_primary)
        row = QHBoxLayout()
        row.setContentsMargins(0, 4, 0, 0)
        row.setSpacing(6)
        row.addWidget(self.dot)
        row.addWidget(self.word)
        row.addStretch(1)
        row.addWidget(self.more)
        row.addWidget(self.button)
        column.addLayout(row)

    def _apply(self, state: CardState) -> None:
        self.setAccessibleName(state.accessible_name)
        self.setAccessibleDescription(". ".join(part for part in (state.retest, state.error) if part))
        self.name.setText(state.name)
        self.name.setToolTip(f"{state.name}\nShow details")
        self.name.setAccessibleName(f"Details of {state.name}")
        self.facts.setText(state.facts)
        self.facts.setToolTip(state.facts)
        self.backend.setText(state.backend)
        self.badge.show_badge(state.badge, state.badge_tip)
        self.badge.setAccessibleName(f"{state.name}: {state.badge.word}")
        _show_link(self.retest, state.retest, state.retest_tip)
        _show_link(self.error, state.error, f"{state.error}\nShow the history")
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
        self.word.setText(state.state_word)

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
        for link, icon, shade in ((self.retest, "restart", colours.warn.fg), (self.error, "warn", colours.error.fg)):
            link.setIcon(theme.icon(icon, shade))
            link.set_colour(shade)
        side = self.fontMetrics().height()
        self.dot.setPixmap(theme.pixmap("loaded", colours.ok.fg, side, self.devicePixelRatioF()))
        self.dot.setVisible(self._state.loaded)

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
