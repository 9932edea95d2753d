"""What stands in the place of content: a picture, what is the case, what to do."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QSize, Qt, Signal, Slot
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from quarterdeck.gui import theme

PICTURE = 48
WIDTH_IN_LETTERS = 76
LEAST_IN_LETTERS = 36
LOW_IN_LINES = 16
SIDE = 24


class EmptyState(QWidget):
    """Centred words with buttons. `show_state` changes all of it; its one button emits `chosen`."""

    chosen = Signal()

    def __init__(self, picture: str = "info", title: str = "", words: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._name = picture
        self.picture = QLabel()
        self.title = _centred("heading")
        self.words = _centred("muted")
        self.button = QPushButton()
        self.button.setProperty("kind", "primary")
        self.button.clicked.connect(self.chosen)
        self._buttons = QHBoxLayout()
        self._buttons.setSpacing(8)
        self._buttons.addStretch(1)
        self._buttons.addWidget(self.button)
        self._buttons.addStretch(1)
        column = QVBoxLayout(self)
        column.setContentsMargins(SIDE, 16, SIDE, 16)
        column.setSpacing(10)
        column.addStretch(2)
        for part in (self.picture, self.title, self.words):
            column.addWidget(part, 0, Qt.AlignmentFlag.AlignHCenter)
        column.addSpacing(6)
        column.addLayout(self._buttons)
        column.addStretch(3)
        theme.notifier.changed.connect(self._paint_picture)
        self.show_state(picture, title, words)

    def show_state(self, picture: str, title: str, words: str, verb: str = "") -> None:
        self._name = picture
        for label, text in ((self.title, title), (self.words, words)):
            label.setText(text)
            label.setVisible(bool(text))
        self._fit()
        self.button.setText(verb)
        self.button.setVisible(bool(verb))
        self._paint_picture()

    def minimumSizeHint(self) -> QSize:
        """Its words wrap where there is little room."""
        return QSize(self.fontMetrics().averageCharWidth() * LEAST_IN_LETTERS, super().minimumSizeHint().height())

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()
        # In a low place the words count, not the picture.
        self.picture.setVisible(event.size().height() >= self.fontMetrics().lineSpacing() * LOW_IN_LINES)

    def add_button(self, text: str, action: Callable[[], object], *, primary: bool = False) -> QPushButton:
        """Add a button that calls `action`."""
        button = QPushButton(text)
        if primary:
            button.setProperty("kind", "primary")
        button.clicked.connect(lambda: action())  # noqa: PLW0108 - without the argument of the signal
        self._buttons.insertWidget(self._buttons.count() - 1, button)
        return button

    def _fit(self) -> None:
        least = self.fontMetrics().averageCharWidth() * LEAST_IN_LETTERS
        most = self.fontMetrics().averageCharWidth() * WIDTH_IN_LETTERS
        room = min(most, max(least, self.width()) - 2 * SIDE)
        for label in (self.title, self.words):
            if not label.text():
                continue
            label.ensurePolished()
            # A centred label gets neither the width nor the height that its wrapped text needs unless it is told.
            lines = label.text().splitlines()
            width = min(room, max(label.fontMetrics().horizontalAdvance(line) for line in lines) + 16)
            label.setMinimumSize(0, 0)  # What it needs is never told for less than that.
            label.setFixedSize(width, label.heightForWidth(width))

    @Slot()
    def _paint_picture(self) -> None:
        picture = theme.pixmap(self._name, theme.tokens().muted, PICTURE, self.devicePixelRatioF())
        self.picture.setPixmap(picture)


def _centred(role: str) -> QLabel:
    label = QLabel()
    label.setProperty("role", role)
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setWordWrap(True)
    label.setAlignment(Qt.AlignmentFlag.AlignHCenter)
    return label
