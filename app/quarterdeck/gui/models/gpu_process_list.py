"""The processes that hold GPU memory as a Qt table. A row keeps its place for as long as its process holds memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QObject, QPersistentModelIndex, Qt
from PySide6.QtGui import QColor

from quarterdeck.gui import theme
from quarterdeck.gui.presenters.gpu_memory import COLUMNS, ProcessRow

Index = QModelIndex | QPersistentModelIndex
MODEL = COLUMNS.index("Model")
NUMBERS = (COLUMNS.index("PID"), COLUMNS.index("Memory"))


class GpuProcessList(QAbstractTableModel):
    """Rows of words; `row_at` gives everything about one process."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._rows: list[ProcessRow] = []

    def show(self, rows: Sequence[ProcessRow]) -> None:
        """Show these rows: those that stay are changed in place, new ones come last."""
        fresh = {row.key: row for row in rows}
        for place in reversed(range(len(self._rows))):
            if self._rows[place].key not in fresh:
                self.beginRemoveRows(QModelIndex(), place, place)
                del self._rows[place]
                self.endRemoveRows()
        for place, row in enumerate(self._rows):
            newer = fresh.pop(row.key)
            if newer != row:
                self._rows[place] = newer
                if newer[1:] != row[1:]:
                    self.dataChanged.emit(self.index(place, 0), self.index(place, len(COLUMNS) - 1))
        if fresh:
            self.beginInsertRows(QModelIndex(), len(self._rows), len(self._rows) + len(fresh) - 1)
            self._rows.extend(fresh.values())
            self.endInsertRows()

    def row_at(self, row: int) -> ProcessRow:
        return self._rows[row]

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's signature
        return 0 if parent.isValid() else len(self._rows)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's signature
        return 0 if parent.isValid() else len(COLUMNS)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if orientation == Qt.Orientation.Horizontal and role == Qt.ItemDataRole.DisplayRole:
            return COLUMNS[section]
        if orientation == Qt.Orientation.Horizontal and role == Qt.ItemDataRole.TextAlignmentRole:
            return _alignment(section)
        return None

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if not index.isValid() or index.row() >= len(self._rows):
            return None
        row, column = self._rows[index.row()], index.column()
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.AccessibleTextRole):
            return row.cells[column]
        if role == Qt.ItemDataRole.ToolTipRole:
            return row.tip
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return _alignment(column)
        return _mark(row, role) if column == MODEL else None


def _mark(row: ProcessRow, role: int) -> Any:
    """The colour that the model has in the bar, or a warning for a program that was left behind."""
    tokens = theme.tokens()
    if role == Qt.ItemDataRole.ForegroundRole and row.process.orphan:
        return QColor(tokens.warn.fg)
    if role == Qt.ItemDataRole.DecorationRole and row.process.orphan:
        return theme.icon("warn", tokens.warn.fg)
    if role == Qt.ItemDataRole.DecorationRole and row.colour is not None:
        return QColor(tokens.series[row.colour])
    return None


def _alignment(column: int) -> Qt.AlignmentFlag:
    side = Qt.AlignmentFlag.AlignRight if column in NUMBERS else Qt.AlignmentFlag.AlignLeft
    return side | Qt.AlignmentFlag.AlignVCenter
