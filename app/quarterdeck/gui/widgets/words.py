"""Labels with longer texts."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel


def words(role: str = "", text: str = "") -> QLabel:
    """A text that wraps, can be selected, and is never read as markup."""
    label = QLabel(text)
    label.setProperty("role", role)
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setWordWrap(True)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return label


def say(label: QLabel, text: str) -> None:
    """Show a text, or no label at all."""
    label.setText(text)
    label.setVisible(bool(text))
