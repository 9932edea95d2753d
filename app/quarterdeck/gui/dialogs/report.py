"""Something longer to read: a summary and its parts."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QDialog, QDialogButtonBox, QLabel, QPlainTextEdit, QVBoxLayout, QWidget

from quarterdeck.gui.dialogs.ask import MARGIN, WIDTH_IN_LETTERS

LINES = 18


class Report(QDialog):
    """Shows sections of lines that can be selected and copied."""

    def __init__(
        self, parent: QWidget | None, *, title: str, text: str, sections: Sequence[tuple[str, Sequence[str]]]
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle(title)
        self.setWindowModality(Qt.WindowModality.WindowModal)
        self.setAccessibleName(title)
        heading = QLabel(title)
        heading.setProperty("role", "heading")
        about = QLabel(text)
        about.setTextFormat(Qt.TextFormat.PlainText)
        about.setWordWrap(True)
        self.body = QPlainTextEdit(as_text(sections))
        self.body.setReadOnly(True)
        self.body.setProperty("detail", True)
        self.body.setTabChangesFocus(True)
        self.body.setAccessibleName(title)
        self.body.setMinimumHeight(self.fontMetrics().lineSpacing() * LINES)
        box = QDialogButtonBox()
        self.close_button = box.addButton("Close", QDialogButtonBox.ButtonRole.RejectRole)
        self.close_button.setDefault(True)
        box.rejected.connect(self.reject)
        column = QVBoxLayout(self)
        column.setContentsMargins(MARGIN, MARGIN, MARGIN, MARGIN)
        column.setSpacing(14)
        for part in (heading, about, self.body, box):
            column.addWidget(part)
        self.setMinimumWidth(self.fontMetrics().averageCharWidth() * WIDTH_IN_LETTERS + 2 * MARGIN)
        self.close_button.setFocus()


def as_text(sections: Sequence[tuple[str, Sequence[str]]]) -> str:
    return "\n\n".join("\n".join([heading, *(f"  {line}" for line in lines)]) for heading, lines in sections)
