"""A list of the parts of a long page: a click goes to one, and the one in sight is marked."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QSignalBlocker, QSize, Qt, Signal, Slot
from PySide6.QtWidgets import QFrame, QListWidget, QWidget

ROOM = 32
PADDING = 14


class SectionList(QListWidget):
    """`wanted(title)` asks for a part."""

    wanted = Signal(str)

    def __init__(self, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._width = 0
        self.setProperty("kind", "quiet")
        self.setAccessibleName(name)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAsNeeded)
        self.currentTextChanged.connect(self._go)
        self.itemClicked.connect(lambda item: self._go(item.text()))

    def offer(self, titles: Sequence[str]) -> None:
        """The parts there are, from top to bottom."""
        if list(titles) == [self.item(row).text() for row in range(self.count())]:
            return
        with QSignalBlocker(self):
            self.clear()
            self.addItems(titles)
            for row in range(self.count()):
                self.item(row).setSizeHint(QSize(0, self.fontMetrics().height() + PADDING))
        widest = max((self.fontMetrics().horizontalAdvance(title) for title in titles), default=0)
        # It keeps its width when parts are left out, so that the page does not jump.
        self._width = max(self._width, widest + ROOM)
        self.setFixedWidth(self._width)

    def mark(self, title: str) -> None:
        """Mark a part, without `wanted`."""
        found = self.findItems(title, Qt.MatchFlag.MatchExactly)
        with QSignalBlocker(self):
            self.setCurrentRow(self.row(found[0]) if found else -1)

    @Slot(str)
    def _go(self, title: str) -> None:
        if title:
            self.wanted.emit(title)
