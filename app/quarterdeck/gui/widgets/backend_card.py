"""The card of one backend: state, facts, command line, last error and what can be done."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt, Signal, Slot
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QFrame, QGridLayout, QHBoxLayout, QLabel, QLineEdit, QPushButton, QVBoxLayout, QWidget

from quarterdeck.gui import theme
from quarterdeck.gui.presenters.backends import RESTART, START, STOP, BackendCard
from quarterdeck.gui.widgets.badge import StatusBadge

ICON = QSize(16, 16)
FACT_COLUMNS = 3
WIDEST_FACT = "Running since"


class BackendCardWidget(QFrame):
    """Shows a BackendCard. `action_wanted(name, action)` and `logs_wanted(name)` are for the page to do."""

    action_wanted = Signal(str, str)
    logs_wanted = Signal(str)
    copied = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("card", True)
        self._card: BackendCard | None = None
        self._title = QLabel()
        self._title.setProperty("role", "heading")
        self._badge = StatusBadge()
        self._models = _plain_label("muted")
        self._foreign = _plain_label("muted")
        self._error = _plain_label("error")
        self._facts = QGridLayout()
        self._facts.setHorizontalSpacing(8)
        for column in range(FACT_COLUMNS):
            self._facts.setColumnStretch(2 * column + 1, 1)
        self._shown_facts: tuple[tuple[str, str], ...] = ()
        self._build_command()
        self._build_buttons()
        self._lay_out()
        theme.notifier.changed.connect(self._set_icons)
        self._set_icons()

    def _build_command(self) -> None:
        self._command = QLineEdit(readOnly=True)
        self._command.setAccessibleName("Command line")
        self._command.setToolTip("The exact command this backend was started with")
        self._copy = QPushButton("Copy")
        self._copy.setAccessibleName("Copy the command line")
        self._copy.setToolTip("Copy the command line")
        self._copy.clicked.connect(self._on_copy)
        self._command_row = QWidget()
        line = QHBoxLayout(self._command_row)
        line.setContentsMargins(0, 4, 0, 0)
        line.addWidget(self._command, 1)
        line.addWidget(self._copy)

    def _build_buttons(self) -> None:
        self.buttons: dict[str, QPushButton] = {}
        for action in (START, RESTART, STOP):
            button = QPushButton(action.verb)
            button.setProperty("action", action.name)
            button.setIconSize(ICON)
            button.clicked.connect(self._on_action)
            self.buttons[action.name] = button
        self.logs = QPushButton("Logs")
        self.logs.setIconSize(ICON)
        self.logs.clicked.connect(self._on_logs)

    def _lay_out(self) -> None:
        header = QHBoxLayout()
        header.setSpacing(10)
        header.addWidget(self._title)
        header.addWidget(self._badge)
        header.addStretch()
        for button in (*self.buttons.values(), self.logs):
            header.addWidget(button)
        column = QVBoxLayout(self)
        column.setContentsMargins(16, 12, 16, 14)
        column.setSpacing(6)
        column.addLayout(header)
        for label in (self._models, self._foreign, self._error):
            column.addWidget(label)
        column.addLayout(self._facts)
        column.addWidget(self._command_row)

    def show_card(self, card: BackendCard, *, busy: bool, failure: str) -> None:
        """`busy` while an action waits for the core's answer, `failure` is why the last one did not work."""
        self._card = card
        self.setAccessibleName(f"{card.title}, {card.badge.word}, {card.models}")
        self._title.setText(card.title)
        self._badge.show_badge(card.badge)
        self._models.setText(card.models)
        self._foreign.setText(card.foreign)
        self._foreign.setVisible(bool(card.foreign))
        self._error.setText(failure or card.error)
        self._error.setVisible(bool(failure or card.error))
        if self._command.text() != card.command:
            self._command.setText(card.command)
            self._command.setCursorPosition(0)
        self._command_row.setVisible(bool(card.command))
        offered = {action.name for action in card.actions}
        for name, button in self.buttons.items():
            button.setVisible(name in offered)
            button.setEnabled(not busy)
            button.setToolTip("Waiting for the backend…" if busy else "")
            button.setAccessibleName(f"{button.text()} {card.title}")
        self.logs.setAccessibleName(f"Show the log of {card.title}")
        self._show_facts(card.facts)

    def fact(self, name: str) -> str:
        """The text shown for a fact; empty when it is not shown."""
        return dict(self._shown_facts).get(name, "")

    @property
    def error_text(self) -> str:
        return self._error.text()

    def _show_facts(self, facts: tuple[tuple[str, str], ...]) -> None:
        if facts == self._shown_facts:
            return
        self._shown_facts = facts
        while (item := self._facts.takeAt(0)) is not None:
            if (old := item.widget()) is not None:
                old.deleteLater()
        for index, (name, value) in enumerate(facts):
            row, column = divmod(index, FACT_COLUMNS)
            label = _plain_label("muted")
            label.setText(name)
            label.setWordWrap(False)
            label.setMinimumWidth(self.fontMetrics().horizontalAdvance(WIDEST_FACT) + 8)
            shown = QLabel(value)
            shown.setTextFormat(Qt.TextFormat.PlainText)
            shown.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
            self._facts.addWidget(label, row, 2 * column)
            self._facts.addWidget(shown, row, 2 * column + 1)

    @Slot()
    def _on_action(self) -> None:
        if self._card is not None:
            self.action_wanted.emit(self._card.name, str(self.sender().property("action")))

    @Slot()
    def _on_logs(self) -> None:
        if self._card is not None:
            self.logs_wanted.emit(self._card.name)

    @Slot()
    def _on_copy(self) -> None:
        QGuiApplication.clipboard().setText(self._command.text())
        self.copied.emit()

    @Slot()
    def _set_icons(self) -> None:
        for action in (START, RESTART, STOP):
            self.buttons[action.name].setIcon(theme.icon(action.icon))
        self.logs.setIcon(theme.icon("logs"))
        self._copy.setIcon(theme.icon("copy"))


def _plain_label(role: str) -> QLabel:
    label = QLabel()
    label.setProperty("role", role)
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setWordWrap(True)
    return label
