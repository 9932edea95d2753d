"""The checklist of the status report, with a button that runs it."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtWidgets import QFrame, QGridLayout, QHBoxLayout, QLabel, QProgressBar, QPushButton, QVBoxLayout, QWidget

from quarterdeck.gui import theme
from quarterdeck.gui.presenters.report import CheckLine, check_lines, checklist_words
from quarterdeck.gui.widgets.badge import shade
from quarterdeck.gui.widgets.emptying import empty
from quarterdeck.gui.widgets.scrolling import ScrollingColumn
from quarterdeck.gui.widgets.words import words
from quarterdeck.schemas.report import CheckItem


class CheckList(QFrame):
    """`run_wanted` and `cancel_wanted` come from its one button."""

    run_wanted = Signal()
    cancel_wanted = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("card", True)
        self.setAccessibleName("Checklist")
        self._lines: list[CheckLine] = []
        self._icons: list[QLabel] = []
        self._running = False
        heading = QLabel("Checklist")
        heading.setProperty("role", "heading")
        self.button = QPushButton("Run")
        self.button.setAccessibleName("Run the checklist")
        self.button.setToolTip("Try every point now; models may be asked for a token")
        self.button.clicked.connect(self._on_clicked)
        top = QHBoxLayout()
        top.addWidget(heading, 1)
        top.addWidget(self.button)
        self.line = words("muted")
        self._bar = QProgressBar(textVisible=False)
        self._bar.setRange(0, 0)
        self._bar.setAccessibleName("Progress of the checklist")
        self._bar.hide()
        inside = QWidget()
        inside.setProperty("plain", True)
        self._grid = QGridLayout(inside)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(10)
        self._grid.setVerticalSpacing(8)
        self._grid.setColumnStretch(1, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(16, 12, 12, 12)
        column.setSpacing(8)
        column.addLayout(top)
        column.addWidget(self.line)
        column.addWidget(self._bar)
        column.addWidget(ScrollingColumn(inside), 1)
        theme.notifier.changed.connect(self._paint)
        self._paint()

    def show_items(self, items: Sequence[CheckItem]) -> None:
        self.line.setText(checklist_words(items))
        self._lines = check_lines(items)
        empty(self._grid)
        self._icons = []
        for row, line in enumerate(self._lines):
            icon, text = QLabel(), words("", line.title)
            icon.setToolTip(line.badge.word)
            text.setAccessibleName(line.spoken)
            self._icons.append(icon)
            self._grid.addWidget(icon, row, 0, Qt.AlignmentFlag.AlignTop)
            self._grid.addWidget(_cell(text, line.detail), row, 1)
        self._paint()

    def show_running(self, words: str) -> None:
        """`words` say how long it has run; empty when it does not."""
        self._running = bool(words)
        self._bar.setVisible(self._running)
        self.button.setText("Cancel" if self._running else "Run")
        if self._running:
            self.line.setText(words)
        self._paint()

    @property
    def texts(self) -> list[str]:
        return [line.spoken for line in self._lines]

    @Slot()
    def _on_clicked(self) -> None:
        (self.cancel_wanted if self._running else self.run_wanted).emit()

    @Slot()
    def _paint(self) -> None:
        size = self.fontMetrics().height()
        for icon, line in zip(self._icons, self._lines, strict=True):
            icon.setPixmap(theme.pixmap(line.badge.icon, shade(line.badge.tone).fg, size, self.devicePixelRatioF()))
        self.button.setIcon(theme.icon("stop" if self._running else "play"))


def _cell(title: QWidget, detail: str) -> QWidget:
    cell = QWidget()
    cell.setProperty("plain", True)
    column = QVBoxLayout(cell)
    column.setContentsMargins(0, 0, 0, 0)
    column.setSpacing(2)
    column.addWidget(title)
    if detail:
        column.addWidget(words("muted", detail))
    return cell
