"""The whole content area with one thing to say: that it starts, or why it cannot."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import Qt, Slot
from PySide6.QtWidgets import QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from quarterdeck.gui import theme

WIDTH_IN_LETTERS = 70


class Notice(QWidget):
    """An icon, a heading, a text that can be selected, and buttons, in the middle of the space it gets."""

    def __init__(self, icon: str, tone: str, heading: str, text: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._icon = icon
        self._tone = tone
        self._picture = QLabel()
        self._heading = QLabel(heading)
        self._heading.setProperty("role", "heading")
        self._text = QLabel(text)
        self._text.setProperty("role", "muted")
        self._text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._text.setVisible(bool(text))
        self.setAccessibleName(heading)
        self.setAccessibleDescription(text)
        self._buttons = QHBoxLayout()
        self._buttons.setSpacing(10)
        words = QVBoxLayout()
        words.setSpacing(12)
        for label in (self._heading, self._text):
            label.setTextFormat(Qt.TextFormat.PlainText)
            label.setWordWrap(True)
            label.setAlignment(Qt.AlignmentFlag.AlignHCenter)
            label.setFixedWidth(self.fontMetrics().averageCharWidth() * WIDTH_IN_LETTERS)
            words.addWidget(label)
        # Stretches instead of an alignment: an aligned item loses the height that its wrapped text needs.
        middle = QHBoxLayout()
        middle.addStretch()
        middle.addLayout(words)
        middle.addStretch()
        column = QVBoxLayout(self)
        column.setContentsMargins(40, 32, 40, 32)
        column.setSpacing(12)
        column.addStretch(2)
        column.addWidget(self._picture, 0, Qt.AlignmentFlag.AlignHCenter)
        column.addLayout(middle)
        column.addSpacing(8)
        column.addLayout(self._buttons)
        column.setAlignment(self._buttons, Qt.AlignmentFlag.AlignHCenter)
        column.addStretch(3)
        self._paint()
        theme.notifier.changed.connect(self._paint)

    def add_button(self, words: str, action: Callable[[], object], *, primary: bool = False) -> None:
        button = QPushButton(words)
        if primary:
            button.setProperty("kind", "primary")
        button.clicked.connect(lambda _checked=False: action())
        self._buttons.addWidget(button)

    @property
    def heading(self) -> str:
        return self._heading.text()

    @property
    def text(self) -> str:
        return self._text.text()

    @Slot()
    def _paint(self) -> None:
        shade: theme.Shade = getattr(theme.tokens(), self._tone)
        side = self.fontMetrics().height() * 3
        self._picture.setPixmap(theme.pixmap(self._icon, shade.fg, side, self.devicePixelRatioF()))
