"""Two texts side by side, with the lines marked that only one of them has."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtGui import QColor, QFontDatabase, QGuiApplication, QTextCursor, QTextFormat
from PySide6.QtWidgets import QHBoxLayout, QLabel, QPlainTextEdit, QPushButton, QTextEdit, QVBoxLayout, QWidget

from quarterdeck.gui import theme
from quarterdeck.gui.presenters.texts import Side, differing


class CapturedText(QWidget):
    """One text under its title, with a button that copies it."""

    copied = Signal()

    def __init__(self, title: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.title = title
        self._marked: frozenset[int] = frozenset()
        heading = QLabel(title)
        self._about = QLabel()
        self._about.setProperty("role", "muted")
        self.copy = QPushButton("Copy")
        self.copy.setAccessibleName(f"Copy “{title}”")
        self.copy.clicked.connect(self._copy)
        self.text = QPlainTextEdit(readOnly=True)
        self.text.setProperty("detail", True)
        self.text.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self.text.setTabChangesFocus(True)
        self.text.setAccessibleName(title)
        self.text.setMinimumHeight(self.fontMetrics().lineSpacing() * 4)
        top = QHBoxLayout()
        top.setSpacing(10)
        top.addWidget(heading)
        top.addWidget(self._about, 1)
        top.addWidget(self.copy)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(6)
        column.addLayout(top)
        column.addWidget(self.text, 1)
        theme.notifier.changed.connect(self._mark)

    def show_side(self, side: Side) -> None:
        if side.text != self.text.toPlainText():
            self.text.setPlainText(side.text)
        self._about.setText(side.about)
        self.copy.setVisible(side.kept)

    def mark(self, lines: frozenset[int]) -> None:
        """Mark the lines with these numbers, from 0."""
        self._marked = lines
        self._mark()

    @property
    def marked(self) -> frozenset[int]:
        return self._marked

    @Slot()
    def _mark(self) -> None:
        colour = QColor(theme.tokens().warn.bg)
        marks = []
        for number in sorted(self._marked):
            mark = QTextEdit.ExtraSelection()
            mark.format.setBackground(colour)
            mark.format.setProperty(QTextFormat.Property.FullWidthSelection, True)
            mark.cursor = QTextCursor(self.text.document().findBlockByNumber(number))
            marks.append(mark)
        self.text.setExtraSelections(marks)

    @Slot()
    def _copy(self) -> None:
        QGuiApplication.clipboard().setText(self.text.toPlainText())
        self.copied.emit()


class TextPair(QWidget):
    """What came in on the left, what went on to the right."""

    copied = Signal()

    def __init__(self, left: str, right: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.left, self.right = CapturedText(left), CapturedText(right)
        self.same = QLabel()
        self.same.setProperty("role", "muted")
        self.same.setAlignment(Qt.AlignmentFlag.AlignLeft)
        texts = QHBoxLayout()
        texts.setSpacing(12)
        for part in (self.left, self.right):
            part.copied.connect(self.copied)
            texts.addWidget(part, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 10, 0, 0)
        column.setSpacing(4)
        column.addLayout(texts, 1)
        column.addWidget(self.same)

    def show_sides(self, left: Side, right: Side) -> None:
        self.left.show_side(left)
        self.right.show_side(right)
        both = left.kept and right.kept
        lefts, rights = differing(left.text, right.text) if both else (frozenset(), frozenset())
        self.left.mark(lefts)
        self.right.mark(rights)
        self.same.setVisible(both)
        self.same.setText("Lines that differ are marked." if lefts or rights else "Both are the same.")
