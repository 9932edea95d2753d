"""A conversation as a column of messages that can be selected and read aloud one by one."""

from __future__ import annotations

from PySide6.QtCore import Qt, Slot
from PySide6.QtWidgets import QFrame, QLabel, QScrollArea, QVBoxLayout, QWidget

NEAR_END = 40


class Message(QFrame):
    """Who speaks, the words, and a line of figures below."""

    def __init__(self, speaker: str, words: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("card", True)
        self._speaker = speaker
        who = QLabel(speaker)
        who.setProperty("role", "muted")
        self.words = QLabel()
        self.words.setTextFormat(Qt.TextFormat.PlainText)
        self.words.setWordWrap(True)
        self.words.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.figures = QLabel()
        self.figures.setWordWrap(True)
        column = QVBoxLayout(self)
        column.setContentsMargins(12, 8, 12, 8)
        column.setSpacing(4)
        for part in (who, self.words, self.figures):
            column.addWidget(part)
        self.set_words(words)
        self.set_figures("")

    def set_words(self, words: str) -> None:
        self.words.setText(words)
        self.words.setAccessibleName(f"{self._speaker}: {words}")

    def set_figures(self, line: str, *, error: bool = False) -> None:
        role = "error" if error else "muted"
        if self.figures.property("role") != role:
            self.figures.setProperty("role", role)
            self.figures.style().unpolish(self.figures)
            self.figures.style().polish(self.figures)
        self.figures.setText(line)
        self.figures.setVisible(bool(line))


class Transcript(QScrollArea):
    """Shows messages and follows the last one, unless a person has scrolled up."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setAccessibleName("Conversation")
        inside = QWidget()
        inside.setProperty("plain", True)
        self._column = QVBoxLayout(inside)
        self._column.setContentsMargins(0, 0, 10, 0)
        self._column.setSpacing(8)
        self._column.addStretch(1)
        self.setWidget(inside)
        self._follow = True
        self.verticalScrollBar().valueChanged.connect(self._scrolled)
        self.verticalScrollBar().rangeChanged.connect(self._grown)

    def add(self, speaker: str, words: str = "") -> Message:
        message = Message(speaker, words)
        self._follow = True
        self._column.insertWidget(self._column.count() - 1, message)
        return message

    def messages(self) -> list[Message]:
        items = (self._column.itemAt(place) for place in range(self._column.count()))
        return [widget for item in items if item and isinstance(widget := item.widget(), Message)]

    @Slot()
    def clear(self) -> None:
        for message in self.messages():
            self._column.removeWidget(message)
            message.deleteLater()

    @Slot()
    def _scrolled(self) -> None:
        bar = self.verticalScrollBar()
        self._follow = bar.value() >= bar.maximum() - NEAR_END

    @Slot(int, int)
    def _grown(self, _least: int, most: int) -> None:
        if self._follow:
            self.verticalScrollBar().setValue(most)
