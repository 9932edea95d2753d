"""The foot of an editable tab: what is wrong or unsaved, Revert and Save."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget


class SaveBar(QWidget):
    """`saved` and `reverted` are emitted by its buttons; `show_state` says which of them can be used and why not."""

    saved = Signal()
    reverted = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.words = QLabel()
        self.words.setWordWrap(True)
        self.words.setTextFormat(Qt.TextFormat.PlainText)
        self.revert = QPushButton("Revert")
        self.revert.setToolTip("Go back to what is saved")
        self.revert.clicked.connect(self.reverted)
        self.save = QPushButton("Save")
        self.save.setProperty("kind", "primary")
        self.save.clicked.connect(self.saved)
        row = QHBoxLayout()
        row.addStretch(1)
        row.addWidget(self.revert)
        row.addWidget(self.save)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(8)
        column.addWidget(self.words)
        column.addLayout(row)
        self.show_state(dirty=False)

    def show_state(self, *, dirty: bool, error: str = "", blocked: bool = False, saving: bool = False) -> None:
        """`blocked`: `error` must be mended before anything can be saved."""
        self.words.setText(error or ("You have changes that are not saved." if dirty else ""))
        self.words.setProperty("role", "error" if error else "muted")
        self.words.style().unpolish(self.words)
        self.words.style().polish(self.words)
        self.words.setVisible(bool(self.words.text()))
        self.save.setText("Saving…" if saving else "Save")
        self.save.setEnabled(dirty and not blocked and not saving)
        self.revert.setEnabled(dirty and not saving)
        reason = error if blocked else ("" if dirty else "Nothing has changed.")
        self.save.setToolTip(reason)
