"""What the dialogs with fields have in common: a heading, a form, a place for what went wrong, verbs below."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from PySide6.QtCore import Qt, Slot
from PySide6.QtWidgets import QDialog, QDialogButtonBox, QFormLayout, QLabel, QPushButton, QVBoxLayout, QWidget
from shiboken6 import isValid

from quarterdeck.errors import AppError
from quarterdeck.gui.dialogs.ask import MARGIN, WIDTH_IN_LETTERS
from quarterdeck.tasks import spawn


class FormDialog(QDialog):
    """Stays open, with the reason, until its work has succeeded; Cancel and Escape end the work too."""

    def __init__(self, parent: QWidget | None, *, title: str, about: str, verb: str, doing: str) -> None:
        super().__init__(parent)
        self._verb, self._doing = verb, doing
        self._task: asyncio.Task[None] | None = None
        self.setWindowTitle(title)
        self.setAccessibleName(title)
        self.setWindowModality(Qt.WindowModality.WindowModal)
        self.setMinimumWidth(self.fontMetrics().averageCharWidth() * WIDTH_IN_LETTERS + 2 * MARGIN)
        self.column = QVBoxLayout(self)
        self.column.setContentsMargins(MARGIN, MARGIN, MARGIN, MARGIN)
        self.column.setSpacing(14)
        heading = QLabel(title)
        heading.setProperty("role", "heading")
        words = QLabel(about)
        words.setWordWrap(True)
        self.form = QFormLayout()
        self.form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self.form.setSpacing(10)
        self.form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        self.problem = QLabel()
        self.problem.setProperty("role", "error")
        self.problem.setWordWrap(True)
        self.problem.setTextFormat(Qt.TextFormat.PlainText)
        self.problem.hide()
        self.column.addWidget(heading)
        self.column.addWidget(words)
        self.column.addLayout(self.form)
        self.column.addWidget(self.problem)
        self.column.addWidget(self._buttons())

    def _buttons(self) -> QDialogButtonBox:
        box = QDialogButtonBox()
        self.cancel: QPushButton = box.addButton("Cancel", QDialogButtonBox.ButtonRole.RejectRole)
        self.send: QPushButton = box.addButton(self._verb, QDialogButtonBox.ButtonRole.ActionRole)
        self.send.setProperty("kind", "primary")
        self.send.setDefault(True)
        self.send.clicked.connect(self._send)
        box.rejected.connect(self.reject)
        return box

    def work(self) -> Coroutine[Any, Any, object]:
        """What the verb does; its AppError is shown in the dialog."""
        raise NotImplementedError

    def missing(self) -> str:
        """What has to be filled in first; empty when the verb can be used."""
        return ""

    def failed(self, error: AppError) -> None:
        """Called when the work failed and the reason is shown."""

    @Slot()
    def check(self) -> None:
        """Say whether the verb can be used; what went wrong before no longer holds."""
        self.problem.hide()
        missing = self.missing()
        self.send.setEnabled(not missing and self._task is None)
        self.send.setToolTip(missing)

    @Slot()
    def fit(self) -> None:
        """Take the height that the wrapped texts need; a layout does not do that for an open window."""
        self.column.activate()
        self.resize(self.width(), self.column.totalHeightForWidth(self.width()))

    @Slot()
    def _send(self) -> None:
        if self._task is None and not self.missing():
            self._task = spawn(self._try(), name=self._verb)

    async def _try(self) -> None:
        self.send.setEnabled(False)
        self.send.setText(self._doing)
        try:
            await self.work()
        except AppError as error:
            self._task = None
            self.check()
            self.problem.setText(f"{error.sentence} {error.hint}".strip())
            self.problem.show()
            self.fit()
            self.failed(error)
            return
        finally:
            if isValid(self):
                self.send.setText(self._verb)
        self._task = None
        self.accept()

    def done(self, result: int) -> None:
        if self._task is not None:
            self._task.cancel()
        super().done(result)
