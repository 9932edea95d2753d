"""Importing a list of models: choose a file or paste a text, look at what would happen, take it over."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QModelIndex, QSize, Qt, Slot
from PySide6.QtWidgets import (
    QCheckBox,
    QDialog,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPlainTextEdit,
    QPushButton,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)
from shiboken6 import isValid

from quarterdeck.errors import AppError
from quarterdeck.gui.dialogs.ask import MARGIN
from quarterdeck.gui.models.import_list import ImportList
from quarterdeck.gui.presenters import imports
from quarterdeck.gui.widgets.elided import LinkLine
from quarterdeck.gui.widgets.empty_state import EmptyState
from quarterdeck.gui.widgets.tables import line_table
from quarterdeck.schemas.discovery import ImportPreview, ImportRequest
from quarterdeck.tasks import spawn

if TYPE_CHECKING:
    from quarterdeck.gui.commands import Commands

SOURCE, PREVIEW, RESULT = range(3)
USUAL = QSize(860, 600)
DETAIL_LINES = 5
MOST_WARNINGS = 8
ABOUT = (
    "Quarterdeck reads a model_registry.json, the configuration of LiteLLM or llama-swap, an Ollama Modelfile, and "
    "lists of server addresses as Open WebUI keeps them. Nothing is changed before you have seen what would happen."
)


class ImportWizard(QDialog):
    """Three steps: source, preview, result. What goes wrong is said in its place, and nothing typed is lost."""

    def __init__(self, commands: Commands, parent: QWidget | None, path: Path | None = None) -> None:
        super().__init__(parent)
        self._commands = commands
        self._task: asyncio.Task[None] | None = None
        self._request = ImportRequest()
        self._shown: ImportPreview | None = None
        self._at = (1, 1)
        self.setWindowTitle("Import models")
        self.setAccessibleName(self.windowTitle())
        self.setWindowModality(Qt.WindowModality.WindowModal)
        self._build()
        self._go(SOURCE)
        self.resize(USUAL.boundedTo(self.screen().availableSize() - QSize(80, 120)))
        if path is not None:
            self.path.setText(str(path))

    def _build(self) -> None:
        self._heading = QLabel()
        self._heading.setProperty("role", "heading")
        self._heading.setWordWrap(True)
        self._heading.setTextFormat(Qt.TextFormat.PlainText)
        self.stack = QStackedWidget()
        for page in (self._source(), self._preview(), self._result()):
            self.stack.addWidget(page)
        self.problem = QLabel()
        self.problem.setProperty("role", "error")
        self.problem.setWordWrap(True)
        self.problem.setTextFormat(Qt.TextFormat.PlainText)
        self.place = LinkLine()
        self.place.clicked.connect(self._go_to_place)
        self.back, self.cancel, self.next = QPushButton("Back"), QPushButton("Cancel"), QPushButton()
        self.next.setProperty("kind", "primary")
        self.next.setDefault(True)
        for button, slot in ((self.back, self._back), (self.cancel, self.reject), (self.next, self._forward)):
            button.setAutoDefault(False)
            button.clicked.connect(slot)
        row = QHBoxLayout()
        row.setSpacing(8)
        row.addWidget(self.back)
        row.addStretch(1)
        row.addWidget(self.next)
        row.addWidget(self.cancel)
        column = QVBoxLayout(self)
        column.setContentsMargins(MARGIN, MARGIN, MARGIN, MARGIN)
        column.setSpacing(12)
        column.addWidget(self._heading)
        column.addWidget(self.stack, 1)
        for part in (self.problem, self.place):
            column.addWidget(part)
            part.hide()
        column.addLayout(row)

    def _source(self) -> QWidget:
        about = QLabel(ABOUT)
        about.setProperty("role", "muted")
        about.setWordWrap(True)
        self.path = QLineEdit(placeholderText="/path/to/model_registry.json")
        self.path.setAccessibleName("File")
        self.path.textChanged.connect(self._edited)
        browse = QPushButton("Browse…")
        browse.setAutoDefault(False)
        browse.clicked.connect(self._browse)
        row = QHBoxLayout()
        row.addWidget(QLabel("File"))
        row.addWidget(self.path, 1)
        row.addWidget(browse)
        label = QLabel("Or paste the text")
        self.text = QPlainTextEdit()
        self.text.setAccessibleName("Text to import")
        self.text.setTabChangesFocus(True)
        self.text.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self.text.textChanged.connect(self._edited)
        label.setBuddy(self.text)
        return _page(about, row, label, (self.text, 1))

    def _preview(self) -> QWidget:
        self.entries = ImportList(self)
        self.entries.chosen_changed.connect(self._edited)
        self.notes = QLabel()
        self.notes.setWordWrap(True)
        self.notes.setTextFormat(Qt.TextFormat.PlainText)
        self.table = line_table(self.entries, "Entries of the import", widths=(5, 36, 20, 22))
        self.table.selectionModel().currentRowChanged.connect(self._show_entry)
        self.detail = QPlainTextEdit(readOnly=True)
        self.detail.setProperty("detail", True)
        self.detail.setAccessibleName("What happens to the entry")
        self.detail.setTabChangesFocus(True)
        self.detail.setFixedHeight(self.fontMetrics().lineSpacing() * DETAIL_LINES + 16)
        self.all = QCheckBox("Take over all that can be taken over")
        self.all.clicked.connect(self.entries.choose_all)
        self.follow = QCheckBox("Follow this file: read it again whenever it changes")
        self.follow.toggled.connect(self._edited)
        return _page(self.notes, self.all, (self.table, 1), self.detail, self.follow)

    def _result(self) -> QWidget:
        self.done_words = EmptyState("ok")
        return _page((self.done_words, 1))

    @property
    def _step(self) -> int:
        return self.stack.currentIndex()

    def _go(self, step: int) -> None:
        self.stack.setCurrentIndex(step)
        self.back.setVisible(step == PREVIEW)
        self.cancel.setVisible(step != RESULT)
        if step == SOURCE:
            self._heading.setText("Import models")
            self.path.setFocus()
        self._edited()

    @Slot()
    def _edited(self) -> None:
        """Say whether the next step can be taken; what went wrong before no longer holds."""
        for part in (self.problem, self.place):
            part.hide()
        chosen = len(self.entries.chosen())
        follows = self.follow.isChecked()
        words = {
            SOURCE: "Show what would happen",
            PREVIEW: f"Import {chosen:,} model{'' if chosen == 1 else 's'}" if chosen else "Import",
            RESULT: "Done",
        }
        reasons = {
            SOURCE: ""
            if self.path.text().strip() or self.text.toPlainText().strip()
            else "Choose a file or paste text.",
            PREVIEW: "" if chosen or follows or self._names_servers else "Nothing is chosen.",
            RESULT: "",
        }
        self.next.setText(words[self._step])
        self.next.setEnabled(not reasons[self._step] and self._task is None)
        self.next.setToolTip(reasons[self._step])
        self.all.setChecked(bool(chosen) and chosen == self.entries.choosable)

    @property
    def _names_servers(self) -> bool:
        return bool(self._shown and self._shown.servers)

    @Slot()
    def _forward(self) -> None:
        if self._step == RESULT:
            self.accept()
        elif self._step == SOURCE:
            self._request = self._source_request()
            self._run(self._look(), "Reading…")
        else:
            self._run(self._apply(), "Importing…")

    @Slot()
    def _back(self) -> None:
        self._go(SOURCE)

    def _source_request(self) -> ImportRequest:
        path = self.path.text().strip()
        if path:
            return ImportRequest(path=str(Path(path).expanduser()))
        return ImportRequest(text=self.text.toPlainText())

    def _run(self, work: Coroutine[Any, Any, object], words: str) -> None:
        self._task = spawn(self._try(work), name="import")
        self.next.setEnabled(False)
        self.next.setText(words)

    async def _try(self, work: Coroutine[Any, Any, object]) -> None:
        try:
            await work
        except AppError as error:
            self._task = None
            self._edited()
            self._show_problem(error)
        finally:
            self._task = None
            if isValid(self):
                self.next.setEnabled(not self.next.toolTip())

    async def _look(self) -> None:
        found = await self._commands.import_models(self._request)
        self._shown = found
        self._heading.setText(imports.heading(found))
        self.entries.show(found.entries)
        self.notes.setText("\n".join(imports.notes(found)))
        self.notes.setVisible(bool(self.notes.text()))
        self.follow.setVisible(self._request.path is not None)
        self.all.setVisible(self.entries.choosable > 1)
        self.detail.clear()
        self._task = None
        self._go(PREVIEW)
        self.table.setFocus()
        if found.entries:
            self.table.selectRow(0)

    async def _apply(self) -> None:
        follow = self._request.path is not None and self.follow.isChecked()
        wanted = self._request.model_copy(update={"apply": True, "names": self.entries.chosen(), "follow": follow})
        done = await self._commands.import_models(wanted)
        self._heading.setText("Import models")
        words = [imports.result(done), *done.warnings[:MOST_WARNINGS]]
        if len(done.warnings) > MOST_WARNINGS:
            words.append(f"There are {len(done.warnings) - MOST_WARNINGS} more warnings of this kind.")
        if follow:
            words.append(f"{self._request.path} is read again whenever it changes.")
        self.done_words.show_state("ok", "Import finished", "\n".join(words))
        self._task = None
        self._go(RESULT)
        self.next.setFocus()

    def _show_problem(self, error: AppError) -> None:
        self.problem.setText(f"{error.sentence} {error.hint}".strip())
        self.problem.show()
        line = error.details.get("line")
        if isinstance(line, int) and line > 0 and self._request.text is not None:
            column = error.details.get("column")
            self._at = (line, column if isinstance(column, int) and column > 0 else 1)
            self.place.setText(f"Go to line {self._at[0]}, column {self._at[1]}")
            self.place.show()

    @Slot()
    def _go_to_place(self) -> None:
        block = self.text.document().findBlockByNumber(self._at[0] - 1)
        cursor = self.text.textCursor()
        cursor.setPosition(block.position() + min(self._at[1] - 1, max(0, block.length() - 1)))
        self.text.setTextCursor(cursor)
        self.text.setFocus()

    @Slot(QModelIndex)
    def _show_entry(self, index: QModelIndex) -> None:
        self.detail.setPlainText(imports.detail(self.entries.entry(index.row())) if index.isValid() else "")

    @Slot()
    def _browse(self) -> None:
        dialog = QFileDialog(self, "Choose a list or configuration", "", imports.FILE_FILTER)
        dialog.setFileMode(QFileDialog.FileMode.ExistingFile)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.fileSelected.connect(self.path.setText)
        dialog.open()

    def done(self, result: int) -> None:
        if self._task is not None:
            self._task.cancel()
        super().done(result)


def _page(*parts: Any) -> QWidget:
    page = QWidget()
    column = QVBoxLayout(page)
    column.setContentsMargins(0, 0, 0, 0)
    column.setSpacing(10)
    for part in parts:
        widget, stretch = part if isinstance(part, tuple) else (part, 0)
        if isinstance(widget, QWidget):
            column.addWidget(widget, stretch)
        else:
            column.addLayout(widget, stretch)
    return page
