"""Adding a model from a file: its name, and what is wrong when it cannot be added."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Slot
from PySide6.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)
from shiboken6 import isValid

from quarterdeck.errors import AppError
from quarterdeck.gui.dialogs.ask import MARGIN, WIDTH_IN_LETTERS
from quarterdeck.schemas.models import ModelCreate
from quarterdeck.tasks import spawn

if TYPE_CHECKING:
    from quarterdeck.gui.commands import Commands

FILE_FILTER = "Models (*.gguf);;All files (*)"
_PART = re.compile(r"-\d{5}-of-\d{5}$")


def proposed_name(path: Path) -> str:
    """A name for the model in this file: the file's name without its ending and part number."""
    stem = path.name[: -len(".gguf")] if path.name.lower().endswith(".gguf") else path.stem
    return _PART.sub("", stem).strip() or path.name


class AddModelDialog(QDialog):
    """Adds one file to the list. It stays open, with the reason, until the core has accepted the model."""

    def __init__(self, commands: Commands, parent: QWidget | None, path: Path | None = None) -> None:
        super().__init__(parent)
        self._commands = commands
        self._proposed = ""
        self._task: asyncio.Task[None] | None = None
        self.setWindowTitle("Add a model")
        self.setWindowModality(Qt.WindowModality.WindowModal)
        self.setMinimumWidth(self.fontMetrics().averageCharWidth() * WIDTH_IN_LETTERS + 2 * MARGIN)
        self._build()
        if path is not None:
            self.set_path(path)
        self._check()

    def set_path(self, path: Path) -> None:
        """Choose a file; a name that was not changed by hand follows it."""
        self.path.setText(str(path))
        if self.name.text() == self._proposed:
            self._proposed = proposed_name(path)
            self.name.setText(self._proposed)

    def _build(self) -> None:
        column = QVBoxLayout(self)
        column.setContentsMargins(MARGIN, MARGIN, MARGIN, MARGIN)
        column.setSpacing(14)
        heading = QLabel("Add a model")
        heading.setProperty("role", "heading")
        about = QLabel("Choose a model file in GGUF format. It stays where it is; Quarterdeck only remembers it.")
        about.setWordWrap(True)
        self.path = QLineEdit(placeholderText="/path/to/model.gguf")
        self.path.setAccessibleName("File")
        self.path.textChanged.connect(self._check)
        self.browse = QPushButton("Browse…")
        self.browse.setAutoDefault(False)
        self.browse.clicked.connect(self._browse)
        row = QHBoxLayout()
        row.addWidget(self.path, 1)
        row.addWidget(self.browse)
        self.name = QLineEdit()
        self.name.setAccessibleName("Name")
        self.name.textChanged.connect(self._check)
        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        form.setSpacing(10)
        form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        form.addRow("File", row)
        form.addRow("Name", self.name)
        self.problem = QLabel()
        self.problem.setProperty("role", "error")
        self.problem.setWordWrap(True)
        self.problem.setTextFormat(Qt.TextFormat.PlainText)
        self.problem.hide()
        for part in (heading, about):
            column.addWidget(part)
        column.addLayout(form)
        column.addWidget(self.problem)
        column.addWidget(self._buttons())

    def _buttons(self) -> QDialogButtonBox:
        box = QDialogButtonBox()
        self.cancel = box.addButton("Cancel", QDialogButtonBox.ButtonRole.RejectRole)
        self.add = box.addButton("Add model", QDialogButtonBox.ButtonRole.ActionRole)
        self.add.setProperty("kind", "primary")
        self.add.setDefault(True)
        self.add.clicked.connect(self._add)
        box.rejected.connect(self.reject)
        return box

    @Slot()
    def _check(self) -> None:
        self.problem.hide()
        missing = "Choose a file first." if not self.path.text().strip() else ""
        if not missing and not self.name.text().strip():
            missing = "Give the model a name first."
        self.add.setEnabled(not missing)
        self.add.setToolTip(missing)

    def _fit(self) -> None:
        """Grow to the height that the wrapped texts need; a layout does not do that for an open window."""
        layout = self.layout()
        if layout is not None:
            layout.activate()
            self.resize(self.width(), max(self.height(), layout.totalHeightForWidth(self.width())))

    @Slot()
    def _browse(self) -> None:
        dialog = QFileDialog(self, "Choose a model file", "", FILE_FILTER)
        dialog.setFileMode(QFileDialog.FileMode.ExistingFile)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.fileSelected.connect(self._chosen)
        dialog.open()

    @Slot(str)
    def _chosen(self, path: str) -> None:
        self.set_path(Path(path))

    @Slot()
    def _add(self) -> None:
        path = str(Path(self.path.text().strip()).expanduser())
        new = ModelCreate(model_name=self.name.text().strip(), path=path)
        self._task = spawn(self._send(new), name="add model")

    def done(self, result: int) -> None:
        if self._task is not None:
            self._task.cancel()
        super().done(result)

    async def _send(self, new: ModelCreate) -> None:
        self.add.setEnabled(False)
        self.add.setText("Adding…")
        try:
            await self._commands.add(new)
        except AppError as error:
            self._check()
            self.problem.setText(f"{error.sentence} {error.hint}".strip())
            self.problem.show()
            self._fit()
            if error.code == "duplicate_model":
                self.name.setFocus()
                self.name.selectAll()
            return
        finally:
            if isValid(self):
                self.add.setText("Add model")
                self.add.setEnabled(True)
        self._task = None
        self.accept()
