"""One line of text that is there to be copied, such as a command."""

from __future__ import annotations

from PySide6.QtCore import Signal, Slot
from PySide6.QtGui import QFontDatabase, QGuiApplication
from PySide6.QtWidgets import QHBoxLayout, QLineEdit, QPushButton, QWidget

from quarterdeck.gui import theme


class CopyLine(QWidget):
    """Emits `copied(what)`; `what` is how the line is called in messages."""

    copied = Signal(str)

    def __init__(self, text: str, what: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._what = what
        self.line = QLineEdit(text, readOnly=True)
        self.line.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self.line.setAccessibleName(what[:1].upper() + what[1:])
        self.line.setToolTip(text)
        self.line.setCursorPosition(0)
        self.button = QPushButton("Copy")
        self.button.setAccessibleName(f"Copy {what}")
        self.button.setToolTip(f"Copy {what}")
        self.button.clicked.connect(self._copy)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(8)
        row.addWidget(self.line, 1)
        row.addWidget(self.button)
        theme.notifier.changed.connect(self._icons)
        self._icons()

    @Slot()
    def _copy(self) -> None:
        QGuiApplication.clipboard().setText(self.line.text())
        self.copied.emit(self._what)

    @Slot()
    def _icons(self) -> None:
        self.button.setIcon(theme.icon("copy"))
