"""How one program is connected: settings to copy, lines to paste, and a test."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtGui import QFontDatabase, QGuiApplication
from PySide6.QtWidgets import (
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPlainTextEdit,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from quarterdeck.errors import AppError
from quarterdeck.gui import theme
from quarterdeck.gui.presenters.connect import Entry
from quarterdeck.gui.widgets.emptying import empty
from quarterdeck.gui.widgets.scrolling import ScrollingColumn
from quarterdeck.schemas.access import ConnectStep, ConnectTest

MOST_LINES = 22


class ConnectGuideView(QWidget):
    """`copied(what)` says what was copied, `test_wanted(client, key)` asks for a test."""

    copied = Signal(str)
    test_wanted = Signal(str, str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._entry: Entry | None = None
        self._testing = False
        self._steps_shown: list[ConnectStep] = []
        self.copy_buttons: list[QPushButton] = []
        self._scroll = ScrollingColumn(self._build_settings(), self._build_snippet(), self._build_test())
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self._scroll)
        theme.notifier.changed.connect(self._paint)

    def _build_settings(self) -> QWidget:
        card, column = _card()
        self.title = QLabel()
        self.title.setProperty("role", "heading")
        self.title.setTextFormat(Qt.TextFormat.PlainText)
        self._fields = QGridLayout()
        self._fields.setHorizontalSpacing(12)
        self._fields.setVerticalSpacing(8)
        self._fields.setColumnStretch(1, 1)
        self.notes = _words("muted")
        self.notes.setAccessibleName("Notes")
        column.addWidget(self.title)
        column.addLayout(self._fields)
        column.addWidget(self.notes)
        return card

    def _build_snippet(self) -> QWidget:
        self._snippet_card, column = _card()
        self.snippet = QPlainTextEdit(readOnly=True)
        self.snippet.setProperty("detail", True)
        self.snippet.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self.snippet.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self.snippet.setTabChangesFocus(True)
        self.snippet.setAccessibleName("Lines to paste")
        self.copy_snippet = QPushButton("Copy")
        self.copy_snippet.setAccessibleName("Copy the lines")
        self.copy_snippet.clicked.connect(self._copy_snippet)
        top = QHBoxLayout()
        top.addWidget(QLabel("Lines to paste"), 1)
        top.addWidget(self.copy_snippet)
        column.addLayout(top)
        column.addWidget(self.snippet)
        return self._snippet_card

    def _build_test(self) -> QWidget:
        self._test_card, column = _card()
        self.key = QLineEdit(placeholderText="API key, if clients need one")
        self.key.setAccessibleName("API key for the test")
        self.key.setEchoMode(QLineEdit.EchoMode.Password)
        self.key.setMaximumWidth(self.fontMetrics().averageCharWidth() * 48)
        self.test = QPushButton("Test the connection")
        self.test.setProperty("kind", "primary")
        self.test.setToolTip("Ask Quarterdeck as this program would. No model is loaded for it.")
        self.test.clicked.connect(self._ask)
        self.key.returnPressed.connect(self._ask)
        row = QHBoxLayout()
        row.setSpacing(8)
        row.addWidget(self.key, 1)
        row.addWidget(self.test)
        row.addStretch()
        self._steps = QGridLayout()
        self._steps.setHorizontalSpacing(10)
        self._steps.setVerticalSpacing(6)
        self._steps.setColumnStretch(2, 1)
        column.addLayout(row)
        column.addLayout(self._steps)
        return self._test_card

    def show_entry(self, entry: Entry) -> None:
        """Show a program; the result of a test stays while it is the same one."""
        before, self._entry = self._entry, entry
        if entry == before:
            return
        if before is None or entry.key != before.key:
            self._steps_shown = []
        self.setAccessibleName(f"How {entry.title} is connected")
        self.title.setText(entry.title)
        self.notes.setText("\n".join(entry.notes))
        self.notes.setVisible(bool(entry.notes))
        self._show_fields(entry.fields)
        self._snippet_card.setVisible(bool(entry.snippet))
        self.snippet.setPlainText(entry.snippet)
        lines = min(MOST_LINES, entry.snippet.count("\n") + 1)
        self.snippet.setFixedHeight((lines + 2) * self.snippet.fontMetrics().lineSpacing() + 8)
        self._test_card.setVisible(bool(entry.client))
        self._paint()

    def show_testing(self, testing: bool) -> None:
        # A button that is switched off would hand its focus to the next field.
        self._testing = testing
        self.test.setText("Testing…" if testing else "Test the connection")

    def show_test(self, result: ConnectTest) -> None:
        if self._entry is not None and result.client == self._entry.client:
            self._steps_shown = result.steps
            self._paint()

    def show_error(self, error: AppError) -> None:
        self._steps_shown = [ConnectStep(title="Test", ok=False, sentence=error.sentence, hint=error.hint)]
        self._paint()

    @property
    def result(self) -> list[str]:
        """The steps of the last test as they are told."""
        return [f"{step.title}: {step.sentence} {step.hint}".strip() for step in self._steps_shown]

    def _show_fields(self, fields: tuple[tuple[str, str], ...]) -> None:
        empty(self._fields)
        self.copy_buttons = []
        for row, (label, value) in enumerate(fields):
            name, shown, copy = QLabel(label), QLineEdit(value, readOnly=True), QPushButton("Copy")
            name.setProperty("role", "muted")
            shown.setAccessibleName(label)
            shown.setCursorPosition(0)
            copy.setAccessibleName(f"Copy “{label}”")
            copy.clicked.connect(lambda _checked=False, what=label, text=value: self._copy(what, text))
            for column, part in enumerate((name, shown, copy)):
                self._fields.addWidget(part, row, column)
            self.copy_buttons.append(copy)

    def _copy(self, what: str, text: str) -> None:
        QGuiApplication.clipboard().setText(text)
        self.copied.emit(what)

    @Slot()
    def _copy_snippet(self) -> None:
        self._copy("the lines", self.snippet.toPlainText())

    @Slot()
    def _ask(self) -> None:
        if self._entry is not None and not self._testing:
            self.test_wanted.emit(self._entry.client, self.key.text().strip())

    @Slot()
    def _paint(self) -> None:
        empty(self._steps)
        colours = theme.tokens()
        side = self.fontMetrics().height()
        for row, step in enumerate(self._steps_shown):
            picture, title, words = QLabel(), QLabel(step.title), _words("" if step.ok else "error")
            shade = colours.ok if step.ok else colours.error
            picture.setPixmap(theme.pixmap("ok" if step.ok else "error", shade.fg, side, self.devicePixelRatioF()))
            picture.setAccessibleName("Works" if step.ok else "Does not work")
            title.setProperty("role", "muted")
            words.setText(f"{step.sentence} {step.hint}".strip())
            words.setAccessibleName(f"{step.title}: {words.text()}")
            for column, part in enumerate((picture, title)):
                self._steps.addWidget(part, row, column, Qt.AlignmentFlag.AlignTop)
            self._steps.addWidget(words, row, 2)


def _card() -> tuple[QFrame, QVBoxLayout]:
    card = QFrame()
    card.setProperty("card", True)
    card.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
    column = QVBoxLayout(card)
    column.setContentsMargins(16, 12, 16, 14)
    column.setSpacing(10)
    return card, column


def _words(role: str) -> QLabel:
    label = QLabel()
    label.setProperty("role", role)
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setWordWrap(True)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return label
