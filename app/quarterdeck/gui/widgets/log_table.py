"""The table of the Logs page: follows the newest line until a person scrolls up."""

from __future__ import annotations

from PySide6.QtCore import QItemSelection, QModelIndex, Qt, Signal, Slot
from PySide6.QtGui import QColor, QKeyEvent, QPainter, QPaintEvent, QResizeEvent
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QTableView, QWidget

from quarterdeck.gui import theme
from quarterdeck.gui.models.log_model import Column, LogFilter
from quarterdeck.gui.presenters.logs import Row, placeholder

ROW_PADDING = 6
NARROW_IN_LETTERS = 86
WIDTHS = {Column.TIME: "00:00:00", Column.LEVEL: "Warning ⬤⬤", Column.SOURCE: "llama.cpp (built in)"}


class LogTable(QTableView):
    """`missed_changed(count)`: lines that came while not following. `current_row(Row | None)`: the line being read."""

    missed_changed = Signal(int)
    current_row = Signal(object)

    def __init__(self, rows: LogFilter, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._rows = rows
        self._following = True
        self._missed = 0
        self.setModel(rows)
        self.setAccessibleName("Log lines")
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.setTabKeyNavigation(False)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerItem)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._size_columns()
        self.verticalScrollBar().valueChanged.connect(self._on_scrolled)
        self.verticalScrollBar().rangeChanged.connect(self._on_range)
        rows.rowsInserted.connect(self._on_inserted)
        rows.rowsAboutToBeRemoved.connect(self._on_removing)
        rows.modelReset.connect(self.follow)

    def _size_columns(self) -> None:
        metrics = self.fontMetrics()
        rows = self.verticalHeader()
        rows.setVisible(False)
        rows.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        rows.setMinimumSectionSize(1)
        rows.setDefaultSectionSize(metrics.height() + ROW_PADDING)
        header = self.horizontalHeader()
        header.setHighlightSections(False)
        header.setStyleSheet("QHeaderView::section { padding: 6px 3px; }")
        for column, widest in WIDTHS.items():
            header.resizeSection(column, metrics.horizontalAdvance(widest) + 3 * ROW_PADDING)
        header.setSectionResizeMode(Column.TEXT, QHeaderView.ResizeMode.Stretch)

    @property
    def following(self) -> bool:
        return self._following

    @Slot()
    def follow(self) -> None:
        """Go to the newest line and stay with it."""
        self._following = True
        self._set_missed(0)
        self.scrollToBottom()

    def show_row(self, row: Row) -> None:
        """Select a line and bring it into view; nothing happens when it is filtered out or gone."""
        shown = self._rows.shown()
        if row in shown:
            index = self._rows.index(shown.index(row), Column.TEXT)
            self._following = False
            self.selectRow(index.row())
            self.scrollTo(index, QTableView.ScrollHint.PositionAtCenter)

    def selected_rows(self) -> list[Row]:
        """The selected lines from top to bottom."""
        chosen = sorted(self.selectionModel().selectedRows(), key=QModelIndex.row)
        return [self._rows.row_at(index) for index in chosen]

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        # Beside an explanation the texts count; whose lines they are stands there too.
        narrow = self.viewport().width() < self.fontMetrics().averageCharWidth() * NARROW_IN_LETTERS
        self.setColumnHidden(Column.SOURCE, narrow)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape and self.selectionModel().hasSelection():
            self.clearSelection()
        elif event.key() == Qt.Key.Key_End and event.modifiers() == Qt.KeyboardModifier.NoModifier:
            self.follow()
        else:
            super().keyPressEvent(event)

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        if self._rows.rowCount() == 0:
            painter = QPainter(self.viewport())
            painter.setPen(QColor(theme.tokens().muted))
            text = placeholder(self._rows.sourceModel().rowCount())
            painter.drawText(self.viewport().rect(), Qt.AlignmentFlag.AlignCenter, text)
            painter.end()

    def selectionChanged(self, selected: QItemSelection, deselected: QItemSelection) -> None:
        super().selectionChanged(selected, deselected)
        chosen = self.selectionModel().selectedRows()
        current = self.currentIndex()
        if current.isValid() and self.selectionModel().isRowSelected(current.row(), QModelIndex()):
            self.current_row.emit(self._rows.row_at(current))
        else:
            self.current_row.emit(self._rows.row_at(chosen[-1]) if chosen else None)

    @Slot(int)
    def _on_scrolled(self, value: int) -> None:
        at_end = value >= self.verticalScrollBar().maximum()
        if at_end != self._following:
            self._following = at_end
            if at_end:
                self._set_missed(0)

    @Slot(int, int)
    def _on_range(self, _least: int, most: int) -> None:
        if self._following:
            self.verticalScrollBar().setValue(most)

    @Slot(QModelIndex, int, int)
    def _on_inserted(self, _parent: QModelIndex, first: int, last: int) -> None:
        if not self._following:
            self._set_missed(self._missed + last - first + 1)

    @Slot(QModelIndex, int, int)
    def _on_removing(self, _parent: QModelIndex, first: int, last: int) -> None:
        # The oldest lines go at the top: what is read must not move away under the reader.
        bar = self.verticalScrollBar()
        if not self._following and first == 0:
            bar.blockSignals(True)
            bar.setValue(max(0, bar.value() - (last + 1)))
            bar.blockSignals(False)

    def _set_missed(self, count: int) -> None:
        if count != self._missed:
            self._missed = count
            self.missed_changed.emit(count)
