"""Adding a model from a file: its name, and what is wrong when it cannot be added."""

from __future__ import annotations

import re
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt, Slot
from PySide6.QtWidgets import QFileDialog, QHBoxLayout, QLineEdit, QPushButton, QWidget

from quarterdeck.errors import AppError
from quarterdeck.gui.dialogs.form import FormDialog
from quarterdeck.schemas.models import ModelCreate

if TYPE_CHECKING:
    from quarterdeck.gui.commands import Commands

FILE_FILTER = "Models (*.gguf);;All files (*)"
_PART = re.compile(r"-\d{5}-of-\d{5}$")


def proposed_name(path: Path) -> str:
    """A name for the model in this file: the file's name without its ending and part number."""
    stem = path.name[: -len(".gguf")] if path.name.lower().endswith(".gguf") else path.stem
    return _PART.sub("", stem).strip() or path.name


class AddModelDialog(FormDialog):
    """Adds one file to the list. It stays open, with the reason, until the core has accepted the model."""

    def __init__(self, commands: Commands, parent: QWidget | None, path: Path | None = None) -> None:
        super().__init__(
            parent,
            title="Add a model",
            about="Choose a model file in GGUF format. It stays where it is; Quarterdeck only remembers it.",
            verb="Add model",
            doing="Adding…",
        )
        self._commands = commands
        self._proposed = ""
        self._build()
        if path is not None:
            self.set_path(path)
        self.check()

    def set_path(self, path: Path) -> None:
        """Choose a file; a name that was not changed by hand follows it."""
        self.path.setText(str(path))
        if self.name.text() == self._proposed:
            self._proposed = proposed_name(path)
            self.name.setText(self._proposed)

    def _build(self) -> None:
        self.path = QLineEdit(placeholderText="/path/to/model.gguf")
        self.path.setAccessibleName("File")
        self.path.textChanged.connect(self.check)
        self.browse = QPushButton("Browse…")
        self.browse.setAutoDefault(False)
        self.browse.clicked.connect(self._browse)
        row = QHBoxLayout()
        row.addWidget(self.path, 1)
        row.addWidget(self.browse)
        self.name = QLineEdit()
        self.name.setAccessibleName("Name")
        self.name.textChanged.connect(self.check)
        self.form.addRow("File", row)
        self.form.addRow("Name", self.name)

    def missing(self) -> str:
        if not self.path.text().strip():
            return "Choose a file first."
        return "" if self.name.text().strip() else "Give the model a name first."

    def work(self) -> Coroutine[Any, Any, object]:
        path = str(Path(self.path.text().strip()).expanduser())
        return self._commands.add(ModelCreate(model_name=self.name.text().strip(), path=path))

    def failed(self, error: AppError) -> None:
        if error.code == "duplicate_model":
            self.name.setFocus()
            self.name.selectAll()

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
