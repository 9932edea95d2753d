"""The table of the Requests page: the newest on top, and what is being read stays where it is."""

from __future__ import annotations

from PySide6.QtCore import QItemSelection, QModelIndex, Qt, Signal, Slot
from PySide6.QtGui import QKeyEvent, QResizeEvent
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QTableView, QWidget

from quarterdeck.gui.models.request_list import Column, FilteredRequests

ROW_PADDING = 10
WIDTHS = {
    Column.TIME: "00:00:00", Column.OUTCOME: "Refused, 000 ⬤⬤", Column.OPERATION: "Transcription",
    Column.DIALECT: "Responses", Column.BACKEND: "llama.cpp (built in)", Column.FIRST: "First token",
    Column.TOTAL: "12 min 59 s", Column.SPEED: "1000.0 tok/s", Column.CHANGES: "00 changes ⬤",
}  # fmt: skip
LEAST_MODEL = "gpt-4o → qwen3-coder-30b"
# What is given up first in a small window; the details tell it all.
SPARE = (Column.BACKEND, Column.OPERATION, Column.DIALECT, Column.SPEED, Column.CHANGES)


class RequestTable(QTableView):
    """`missed_changed(count)`: requests that came while an older one was read. `chosen(RequestRow | None)`."""

    missed_changed = Signal(int)
    chosen = Signal(object)

    def __init__(self, rows: FilteredRequests, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._rows = rows
        self._missed = 0
        self.setModel(rows)
        self.setAccessibleName("Requests, newest first")
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.setTabKeyNavigation(False)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerItem)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setStyleSheet("QTableView::item { padding: 0 5px; }")
        self._size_columns()
        self.verticalScrollBar().valueChanged.connect(self._on_scrolled)
        rows.rowsInserted.connect(self._on_inserted)
        rows.modelReset.connect(self.to_newest)

    def _size_columns(self) -> None:
        metrics = self.fontMetrics()
        lines = self.verticalHeader()
        lines.setVisible(False)
        lines.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        lines.setDefaultSectionSize(metrics.height() + ROW_PADDING)
        header = self.horizontalHeader()
        header.setHighlightSections(False)
        header.setSectionsClickable(False)
        self._needed = {
            column: metrics.horizontalAdvance(widest) + 2 * ROW_PADDING for column, widest in WIDTHS.items()
        }
        self._model_width = metrics.horizontalAdvance(LEAST_MODEL) + 2 * ROW_PADDING
        for column, width in self._needed.items():
            header.resizeSection(column, width)
        header.setSectionResizeMode(Column.MODEL, QHeaderView.ResizeMode.Stretch)

    @Slot()
    def to_newest(self) -> None:
        """Go to the newest request and stay with it."""
        self.scrollToTop()
        self._set_missed(0)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        needed = self._model_width + sum(self._needed.values())
        for column in SPARE:
            hidden = needed > self.viewport().width()
            self.setColumnHidden(column, hidden)
            needed -= self._needed[column] if hidden else 0

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape and self.selectionModel().hasSelection():
            self.clearSelection()
        else:
            super().keyPressEvent(event)

    def selectionChanged(self, selected: QItemSelection, deselected: QItemSelection) -> None:
        super().selectionChanged(selected, deselected)
        rows = self.selectionModel().selectedRows()
        self.chosen.emit(self._rows.row_at(rows[0]) if rows else None)

    @Slot(int)
    def _on_scrolled(self, value: int) -> None:
        if value == 0:
            self._set_missed(0)

    @Slot(QModelIndex, int, int)
    def _on_inserted(self, _parent: QModelIndex, first: int, last: int) -> None:
        # What is read must not move away under the reader.
        bar = self.verticalScrollBar()
        if first == 0 and bar.value() > 0:
            bar.setValue(bar.value() + last + 1)
            self._set_missed(self._missed + last + 1)

    def _set_missed(self, count: int) -> None:
        if count != self._missed:
            self._missed = count
            self.missed_changed.emit(count)
