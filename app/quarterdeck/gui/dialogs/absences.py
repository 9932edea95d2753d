"""Why a model is not in the list that clients see."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QModelIndex, QSize, Qt, Slot
from PySide6.QtWidgets import QDialog, QDialogButtonBox, QLabel, QPlainTextEdit, QStackedWidget, QVBoxLayout, QWidget

from quarterdeck.errors import AppError
from quarterdeck.gui.dialogs.ask import MARGIN
from quarterdeck.gui.models.absence_list import AbsenceList, reasons
from quarterdeck.gui.widgets.empty_state import EmptyState
from quarterdeck.gui.widgets.model_toolbar import SearchField
from quarterdeck.gui.widgets.tables import line_table
from quarterdeck.tasks import spawn

if TYPE_CHECKING:
    from quarterdeck.gui.commands import Commands

USUAL = QSize(760, 540)
DETAIL_LINES = 4


class AbsencesDialog(QDialog):
    """Reads the reasons when it opens."""

    def __init__(self, commands: Commands, parent: QWidget | None) -> None:
        super().__init__(parent)
        self._commands = commands
        self.setWindowTitle("Models that are not listed")
        self.setAccessibleName(self.windowTitle())
        self.setWindowModality(Qt.WindowModality.WindowModal)
        self._build()
        self.resize(USUAL.boundedTo(self.screen().availableSize() - QSize(80, 120)))
        self._reading = spawn(self._read(), name="read absences")

    def _build(self) -> None:
        heading = QLabel("Models that are not listed")
        heading.setProperty("role", "heading")
        about = QLabel(
            "These are known to Quarterdeck or were passed over by the last scan, and clients do not see them."
        )
        about.setProperty("role", "muted")
        about.setWordWrap(True)
        self.search = SearchField(placeholderText="Search by name or reason")
        self.search.setClearButtonEnabled(True)
        self.search.setAccessibleName("Search models that are not listed")
        self.rows = AbsenceList(self)
        self.search.textChanged.connect(self._search)
        self.table = line_table(self.rows, "Models that are not listed", widths=(36,))
        self.table.selectionModel().currentRowChanged.connect(self._show_row)
        self.detail = QPlainTextEdit(readOnly=True)
        self.detail.setProperty("detail", True)
        self.detail.setAccessibleName("The reasons and what to do")
        self.detail.setTabChangesFocus(True)
        self.detail.setFixedHeight(self.fontMetrics().lineSpacing() * DETAIL_LINES + 16)
        lists = QWidget()
        inside = QVBoxLayout(lists)
        inside.setContentsMargins(0, 0, 0, 0)
        inside.setSpacing(10)
        for part in (self.search, self.table, self.detail):
            inside.addWidget(part)
        self.empty = EmptyState("queued", "Reading the reasons…", "")
        self.stack = QStackedWidget()
        self.stack.addWidget(self.empty)
        self.stack.addWidget(lists)
        box = QDialogButtonBox()
        close = box.addButton("Close", QDialogButtonBox.ButtonRole.RejectRole)
        close.setAutoDefault(False)
        box.rejected.connect(self.reject)
        column = QVBoxLayout(self)
        column.setContentsMargins(MARGIN, MARGIN, MARGIN, MARGIN)
        column.setSpacing(12)
        column.addWidget(heading)
        column.addWidget(about)
        column.addWidget(self.stack, 1)
        column.addWidget(box)

    async def _read(self) -> None:
        try:
            found = await self._commands.absences()
        except AppError as error:
            self.empty.show_state("error", error.sentence, error.hint)
            return
        self.rows.show([absence for absence in found if not absence.listed])
        if self.rows.total:
            self.stack.setCurrentIndex(1)
            self.table.selectRow(0)
            self.search.setFocus()
        else:
            words = "If one is missing all the same, scan again, or add its file."
            self.empty.show_state("ok", "Every model that is known is listed", words)

    @Slot(str)
    def _search(self, words: str) -> None:
        self.rows.search(words)
        self.detail.clear()
        if self.rows.rowCount():
            self.table.selectRow(0)

    @Slot(QModelIndex)
    def _show_row(self, index: QModelIndex) -> None:
        self.detail.setPlainText(reasons(self.rows.absence(index.row())) if index.isValid() else "")

    def done(self, result: int) -> None:
        self._reading.cancel()
        super().done(result)
