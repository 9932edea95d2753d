"""Questions to a person: a verb on the button, Cancel as the safe default, no nested event loop."""

from __future__ import annotations

import asyncio

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QDialog, QDialogButtonBox, QLabel, QPlainTextEdit, QPushButton, QVBoxLayout, QWidget
from shiboken6 import isValid

MARGIN = 24
WIDTH_IN_LETTERS = 68
DETAIL_LINES = 6


class Question(QDialog):
    """One question: title, consequence, an optional longer text to read, a verb and Cancel."""

    def __init__(
        self,
        parent: QWidget | None,
        *,
        title: str,
        text: str,
        detail: str = "",
        verb: str,
        cancel: str = "Cancel",
        danger: bool = False,
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle(title)
        self.setWindowModality(Qt.WindowModality.WindowModal)
        self.setAccessibleName(title)
        self.setAccessibleDescription(text)
        self.setMinimumWidth(self.fontMetrics().averageCharWidth() * WIDTH_IN_LETTERS + 2 * MARGIN)
        self.column = QVBoxLayout(self)
        self.column.setContentsMargins(MARGIN, MARGIN, MARGIN, MARGIN)
        self.column.setSpacing(14)
        self.column.addWidget(_heading(title))
        self.column.addWidget(_paragraph(text))
        if detail:
            self.column.addWidget(self._detail(detail))
        self.column.addLayout(self._buttons(verb, cancel, danger))
        self.cancel_button.setFocus()

    def _detail(self, detail: str) -> QWidget:
        box = QPlainTextEdit(detail)
        box.setReadOnly(True)
        box.setTabChangesFocus(True)
        box.setAccessibleName("Notes")
        lines = min(DETAIL_LINES, max(2, 1 + detail.count("\n") + 1 + len(detail) // WIDTH_IN_LETTERS))
        box.setFixedHeight(self.fontMetrics().lineSpacing() * lines + 26)
        return box

    def _buttons(self, verb: str, cancel: str, danger: bool) -> QVBoxLayout:
        holder = QVBoxLayout()
        holder.setContentsMargins(0, 6, 0, 0)
        box = QDialogButtonBox()
        self.cancel_button = QPushButton(cancel)
        self.verb_button = QPushButton(verb)
        box.addButton(self.cancel_button, QDialogButtonBox.ButtonRole.RejectRole)
        box.addButton(self.verb_button, QDialogButtonBox.ButtonRole.AcceptRole)
        if danger:
            self.verb_button.setProperty("kind", "danger")
        self.cancel_button.setDefault(True)
        box.accepted.connect(self.accept)
        box.rejected.connect(self.reject)
        holder.addWidget(box)
        return holder


async def answer(dialog: QDialog) -> bool:
    """Open `dialog` and wait for its end; True when it was accepted. The dialog is deleted afterwards."""
    future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def finished(result: int) -> None:
        if not future.done():
            future.set_result(result == QDialog.DialogCode.Accepted)

    dialog.finished.connect(finished)
    dialog.open()
    try:
        return await future
    finally:
        if isValid(dialog):
            dialog.deleteLater()


async def confirm(
    parent: QWidget | None,
    *,
    title: str,
    text: str,
    detail: str = "",
    verb: str,
    cancel: str = "Cancel",
    danger: bool = False,
) -> bool:
    """Ask a person; True when the verb was chosen. `title` is a question, `text` says what follows from it."""
    question = Question(parent, title=title, text=text, detail=detail, verb=verb, cancel=cancel, danger=danger)
    return await answer(question)


def _heading(text: str) -> QLabel:
    label = _paragraph(text)
    label.setProperty("role", "heading")
    return label


def _paragraph(text: str) -> QLabel:
    label = QLabel(text)
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setWordWrap(True)
    return label
