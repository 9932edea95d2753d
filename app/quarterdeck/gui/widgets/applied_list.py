"""The changes that were made against problems, each with a way back."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtWidgets import QFrame, QGridLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from quarterdeck.gui import theme
from quarterdeck.gui.presenters.problems import AppliedLine
from quarterdeck.gui.widgets.badge import shade
from quarterdeck.gui.widgets.elided import ElidedLabel
from quarterdeck.gui.widgets.emptying import empty


class AppliedList(QFrame):
    """A card with a line for each change; hidden without any. `undo_wanted(undo_id)`."""

    undo_wanted = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("card", True)
        self.setAccessibleName("Changes that were made")
        heading = QLabel("Changes that were made")
        heading.setProperty("role", "heading")
        self._grid = QGridLayout()
        self._grid.setHorizontalSpacing(10)
        self._grid.setVerticalSpacing(6)
        self._grid.setColumnStretch(2, 1)
        self._lines: tuple[AppliedLine, ...] = ()
        self.buttons: dict[str, QPushButton] = {}
        column = QVBoxLayout(self)
        column.setContentsMargins(16, 12, 16, 14)
        column.addWidget(heading)
        column.addLayout(self._grid)
        theme.notifier.changed.connect(self._fill)
        self.hide()

    def show_lines(self, lines: Sequence[AppliedLine], *, offline: bool) -> None:
        if tuple(lines) != self._lines:
            self._lines = tuple(lines)
            self._fill()
            self.setVisible(bool(lines))
        for line in self._lines:
            if line.undo_id:
                self.buttons[line.undo_id].setEnabled(not offline and not line.undoing)

    @property
    def texts(self) -> list[str]:
        return [f"{line.title}: {line.words}" for line in self._lines]

    @Slot()
    def _fill(self) -> None:
        empty(self._grid)
        self.buttons = {}
        for row, line in enumerate(self._lines):
            icon, title, words = QLabel(), QLabel(line.title), ElidedLabel()
            size = self.fontMetrics().height()
            icon.setPixmap(theme.pixmap(line.icon, shade(line.tone).fg, size, self.devicePixelRatioF()))
            title.setTextFormat(Qt.TextFormat.PlainText)
            words.setProperty("role", "muted")
            words.setText(line.words)
            for part in (title, words):
                part.setToolTip(line.tip)
            for place, part in enumerate((icon, title, words)):
                self._grid.addWidget(part, row, place)
            if line.undo_id:
                self._grid.addWidget(self._undo_button(line), row, 3)

    def _undo_button(self, line: AppliedLine) -> QPushButton:
        button = self.buttons[line.undo_id] = QPushButton(theme.icon("undo"), "Undoing…" if line.undoing else "Undo")
        button.setAccessibleName(f"Undo: {line.title}")
        button.setToolTip("Take this change back")
        button.setProperty("undo", line.undo_id)
        button.clicked.connect(self._undo)
        return button

    @Slot()
    def _undo(self) -> None:
        self.undo_wanted.emit(str(self.sender().property("undo")))
