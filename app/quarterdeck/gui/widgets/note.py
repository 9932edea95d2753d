"""A calm message inside a page: an icon, what is so, why, and what to do."""

from __future__ import annotations

from PySide6.QtCore import Qt, Slot
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from quarterdeck.gui import theme
from quarterdeck.gui.presenters.hardware import Note

ICON_SIZE = 20


class NoteBox(QFrame):
    """Shows a Note, or nothing."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("note")
        self._note: Note | None = None
        self._icon = QLabel()
        self._title = QLabel()
        font = self._title.font()
        font.setBold(True)
        self._title.setFont(font)
        self._text = QLabel()
        for label in (self._title, self._text):
            label.setWordWrap(True)
            label.setTextFormat(Qt.TextFormat.PlainText)
            label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        words = QVBoxLayout()
        words.setSpacing(2)
        words.addWidget(self._title)
        words.addWidget(self._text)
        line = QHBoxLayout(self)
        line.setContentsMargins(14, 10, 14, 10)
        line.setSpacing(12)
        line.addWidget(self._icon, 0, Qt.AlignmentFlag.AlignTop)
        line.addLayout(words, 1)
        self.hide()
        theme.notifier.changed.connect(self._recolour)

    def text(self) -> str:
        return f"{self._title.text()} {self._text.text()}".strip()

    def show_note(self, note: Note | None) -> None:
        if note == self._note:
            return
        self._note = note
        self.setVisible(note is not None)
        if note is None:
            return
        self._title.setText(note.title)
        self._text.setText(f"{note.text} {note.hint}".strip())
        self._text.setVisible(bool(self._text.text()))
        self.setAccessibleName(self.text())
        self._recolour()

    @Slot()
    def _recolour(self) -> None:
        if self._note is None:
            return
        shade = getattr(theme.tokens(), self._note.tone)
        self._icon.setPixmap(theme.pixmap(self._note.icon, shade.fg, ICON_SIZE, self.devicePixelRatioF()))
        self.setStyleSheet(
            f"QFrame#note {{ background: {shade.bg}; border: 1px solid {shade.line}; border-radius: 10px; }}"
            f"QFrame#note QLabel {{ background: transparent; color: {theme.tokens().text}; }}"
        )
