"""The models that one backend holds, a line for each."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt, Signal, Slot
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QGridLayout, QLabel, QSizePolicy, QToolButton, QWidget

from quarterdeck.gui import theme
from quarterdeck.gui.presenters.backends import InstanceLine
from quarterdeck.gui.widgets.elided import ElidedLabel

HEADER = ("Model", "State", "VRAM", "Memory", "Up for")
FIGURES = 4
ICON = QSize(16, 16)


class InstanceTable(QWidget):
    """Shows InstanceLines in columns; `copied` follows a command line that was copied."""

    copied = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._lines: tuple[InstanceLine, ...] = ()
        self._rows: list[tuple[list[QLabel], QToolButton, QLabel]] = []
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 6, 0, 2)
        self._grid.setHorizontalSpacing(18)
        self._grid.setVerticalSpacing(4)
        self._grid.setColumnStretch(0, 1)
        for column, words in enumerate(HEADER):
            label = QLabel(words)
            label.setProperty("role", "muted")
            self._grid.addWidget(label, 0, column, _alignment(column))
        theme.notifier.changed.connect(self._icons)

    def show_lines(self, lines: tuple[InstanceLine, ...]) -> None:
        if lines == self._lines:
            return
        self._lines = lines
        while len(self._rows) > len(lines):
            labels, button, alarm = self._rows.pop()
            for widget in (*labels, button, alarm):
                self._grid.removeWidget(widget)
                widget.deleteLater()
        while len(self._rows) < len(lines):
            self._add()
        for (labels, button, alarm), line in zip(self._rows, lines, strict=True):
            for label, words in zip(labels, (line.model, line.state, line.vram, line.memory, line.uptime), strict=True):
                label.setText(words)
            labels[0].setToolTip(line.model)
            button.setVisible(bool(line.command))
            button.setToolTip(f"Copy the command line:\n{line.command}")
            button.setAccessibleName(f"Copy the command line of {line.model}")
            alarm.setText(line.alarm)
            alarm.setVisible(bool(line.alarm))
        self.setVisible(bool(lines))

    def texts(self) -> list[list[str]]:
        """What stands in each line."""
        return [[label.text() for label in (*labels, alarm)] for labels, _, alarm in self._rows]

    def _add(self) -> None:
        row = 1 + 2 * len(self._rows)
        labels: list[QLabel] = [ElidedLabel(Qt.TextElideMode.ElideMiddle)]
        labels += [QLabel() for _ in range(FIGURES)]
        for column, label in enumerate(labels):
            label.setTextFormat(Qt.TextFormat.PlainText)
            if column:
                self._grid.addWidget(label, row, column, _alignment(column))
            else:
                self._grid.addWidget(label, row, column)
        button = QToolButton()
        button.setProperty("kind", "quiet")
        button.setIcon(theme.icon("copy"))
        button.setIconSize(ICON)
        button.setProperty("row", len(self._rows))
        button.clicked.connect(self._copy)
        self._grid.addWidget(button, row, len(HEADER))
        alarm = QLabel()
        alarm.setProperty("role", "error")
        alarm.setWordWrap(True)
        alarm.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)
        self._grid.addWidget(alarm, row + 1, 0, 1, len(HEADER) + 1)
        self._rows.append((labels, button, alarm))

    @Slot()
    def _copy(self) -> None:
        line = self._lines[int(self.sender().property("row"))]
        QGuiApplication.clipboard().setText(line.command)
        self.copied.emit()

    @Slot()
    def _icons(self) -> None:
        for _, button, _ in self._rows:
            button.setIcon(theme.icon("copy"))


def _alignment(column: int) -> Qt.AlignmentFlag:
    """Figures end at the same place, words begin at it."""
    return Qt.AlignmentFlag.AlignRight if column >= 2 else Qt.AlignmentFlag.AlignLeft
