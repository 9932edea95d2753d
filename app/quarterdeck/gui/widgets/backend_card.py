"""The card of one backend: state, owner, facts, the models it holds, command line, last error and what can be done."""

from __future__ import annotations

from time import monotonic

from PySide6.QtCore import QSize, Qt, QTimer, Signal, Slot
from PySide6.QtGui import QGuiApplication, QHideEvent
from PySide6.QtWidgets import QFrame, QGridLayout, QHBoxLayout, QLabel, QProgressBar, QPushButton, QVBoxLayout, QWidget

from quarterdeck.gui import theme
from quarterdeck.gui.presenters.backends import ACTIONS, BackendCard
from quarterdeck.gui.presenters.text import elapsed
from quarterdeck.gui.widgets.badge import StatusBadge
from quarterdeck.gui.widgets.elided import ElidedLabel, LinkLine
from quarterdeck.gui.widgets.emptying import empty
from quarterdeck.gui.widgets.instance_table import InstanceTable

ICON = QSize(16, 16)
FACT_COLUMNS = 3
WIDEST_FACT = "Address"


class BackendCardWidget(QFrame):
    """Shows a BackendCard. `action_wanted(name, action)` and `logs_wanted(name)` are for the page to do."""

    action_wanted = Signal(str, str)
    logs_wanted = Signal(str)
    why_wanted = Signal(str)
    copied = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("card", True)
        self._card: BackendCard | None = None
        self._doing = ""
        self._began = 0.0
        self._title = QLabel()
        self._title.setProperty("role", "heading")
        self._badge = StatusBadge()
        self._owner = ElidedLabel()
        self._owner.setProperty("role", "muted")
        self._models = _plain_label("muted")
        self._detail = _plain_label("muted")
        self._error = _plain_label("error")
        self.why = LinkLine()
        self.why.clicked.connect(self._on_why)
        self.why.hide()
        self.instances = InstanceTable()
        self.instances.copied.connect(self.copied)
        self.instances.hide()
        self._facts = QGridLayout()
        self._facts.setHorizontalSpacing(8)
        for column in range(FACT_COLUMNS):
            self._facts.setColumnStretch(2 * column + 1, 1)
        self._shown_facts: tuple[tuple[str, str], ...] = ()
        self._clock = QTimer(self, interval=1000)
        self._clock.timeout.connect(self._tick)
        self._build_command()
        self._build_buttons()
        self._lay_out()
        theme.notifier.changed.connect(self._set_icons)
        self._set_icons()

    def _build_command(self) -> None:
        self._command = ElidedLabel()
        self._command.setProperty("role", "mono")
        self._copy = QPushButton("Copy")
        self._copy.setIconSize(ICON)
        self._copy.setAccessibleName("Copy the command line")
        self._copy.clicked.connect(self._on_copy)
        self._command_row = QWidget()
        line = QHBoxLayout(self._command_row)
        line.setContentsMargins(0, 2, 0, 0)
        line.addWidget(self._command, 1)
        line.addWidget(self._copy)

    def _build_buttons(self) -> None:
        self.buttons: dict[str, QPushButton] = {}
        for action in ACTIONS.values():
            button = QPushButton(action.verb)
            button.setProperty("action", action.name)
            button.setIconSize(ICON)
            button.clicked.connect(self._on_action)
            self.buttons[action.name] = button
        self.logs = QPushButton("Show log")
        self.logs.setIconSize(ICON)
        self.logs.clicked.connect(self._on_logs)
        self._progress_line = QLabel()
        self._progress_line.setProperty("role", "muted")
        self._bar = QProgressBar(textVisible=False)
        self._bar.setRange(0, 0)

    def _lay_out(self) -> None:
        header = QHBoxLayout()
        header.setSpacing(10)
        header.addWidget(self._title)
        header.addWidget(self._badge)
        header.addWidget(self._owner, 1)
        buttons = [button for name, button in self.buttons.items() if name != "remove"]
        for button in (*buttons, self.logs, self.buttons["remove"]):
            header.addWidget(button)
        column = QVBoxLayout(self)
        column.setContentsMargins(16, 12, 16, 14)
        column.setSpacing(6)
        column.addLayout(header)
        for part in (self._progress_line, self._bar, self._models, self._detail, self._error, self.why):
            column.addWidget(part)
        column.addLayout(self._facts)
        column.addWidget(self.instances)
        column.addWidget(self._command_row)

    def show_card(self, card: BackendCard, *, doing: str, failure: str, why: str, offline: bool) -> None:
        """`doing` is the action that waits for the core's answer, `failure` is why the last one did not work.

        `why` is the line that leads to its problems.
        """
        before, self._card = self._card, card
        self._show_doing(card, doing)
        error = failure or card.error
        if error != self._error.text():
            self._error.setText(error)
        self._error.setVisible(bool(error))
        self.why.setText(why)
        self.why.setToolTip(f"{why}\nShow what helps")
        self.why.setVisible(bool(why))
        for name, button in self.buttons.items():
            button.setVisible(any(action.name == name for action in card.actions))
            button.setEnabled(not doing and not offline)
            button.setToolTip("Waiting for the backend…" if doing else "")
        if card == before:
            return
        self.setAccessibleName(", ".join(part for part in (card.title, card.badge.word, card.owner) if part))
        self.setAccessibleDescription(card.models)
        self._title.setText(card.title)
        self._badge.show_badge(card.badge, card.detail or card.badge.meaning)
        self._owner.setText(card.owner)
        self._owner.setToolTip(card.owner_tip)
        self._models.setToolTip(card.models_tip)
        for label, words in ((self._models, card.models), (self._detail, card.detail)):
            label.setText(words)
            label.setVisible(bool(words))
        self._command.setText(card.command)
        self._command.setToolTip(card.command)
        self._copy.setToolTip(f"Copy the exact command line:\n{card.command}")
        self._command_row.setVisible(bool(card.command))
        for button in self.buttons.values():
            button.setAccessibleName(f"{button.text().rstrip('…')} {card.title}")
        self.logs.setAccessibleName(f"Show the log of {card.title}")
        self._show_facts(card.facts)
        self.instances.show_lines(card.instances)

    def fact(self, name: str) -> str:
        """The text shown for a fact; empty when it is not shown."""
        return dict(self._shown_facts).get(name, "")

    @property
    def error_text(self) -> str:
        return self._error.text()

    @property
    def doing_text(self) -> str:
        """What is being done to it just now; empty when nothing is."""
        return self._progress_line.text() if self._doing else ""

    def _show_doing(self, card: BackendCard, doing: str) -> None:
        if doing != self._doing:
            self._doing, self._began = doing, monotonic()
        for part in (self._progress_line, self._bar):
            part.setVisible(bool(doing))
        self._bar.setAccessibleName(f"Progress of {card.title}")
        if doing:
            self._tick()
            self._clock.start()
        else:
            self._clock.stop()

    @Slot()
    def _tick(self) -> None:
        self._progress_line.setText(f"{ACTIONS[self._doing].doing} · {elapsed(monotonic() - self._began)}")

    def _show_facts(self, facts: tuple[tuple[str, str], ...]) -> None:
        if facts == self._shown_facts:
            return
        self._shown_facts = facts
        empty(self._facts)
        for index, (name, value) in enumerate(facts):
            row, column = divmod(index, FACT_COLUMNS)
            label = _plain_label("muted")
            label.setText(name)
            label.setWordWrap(False)
            label.setMinimumWidth(self.fontMetrics().horizontalAdvance(WIDEST_FACT) + 8)
            shown = ElidedLabel()
            shown.setText(value)
            shown.setToolTip(value)
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
    def _on_why(self) -> None:
        if self._card is not None:
            self.why_wanted.emit(self._card.name)

    @Slot()
    def _on_copy(self) -> None:
        QGuiApplication.clipboard().setText(self._command.text())
        self.copied.emit()

    @Slot()
    def _set_icons(self) -> None:
        for action in ACTIONS.values():
            self.buttons[action.name].setIcon(theme.icon(action.icon))
        self.logs.setIcon(theme.icon("logs"))
        told = theme.tokens().info.fg
        self.why.setIcon(theme.icon("diagnosis", told))
        self.why.set_colour(told)
        self._copy.setIcon(theme.icon("copy"))

    def hideEvent(self, event: QHideEvent) -> None:
        self._clock.stop()
        super().hideEvent(event)


def _plain_label(role: str) -> QLabel:
    label = QLabel()
    label.setProperty("role", role)
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setWordWrap(True)
    return label
