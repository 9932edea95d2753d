"""The API keys as a Qt table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QObject, QPersistentModelIndex, Qt
from PySide6.QtGui import QColor

from quarterdeck.gui import theme
from quarterdeck.gui.presenters.connect import KEY_COLUMNS, KeyRow
from quarterdeck.gui.widgets.badge import shade

Index = QModelIndex | QPersistentModelIndex
STATE = KEY_COLUMNS.index("State")


class KeyList(QAbstractTableModel):
    """Columns of words; `row_at` gives everything about one key."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._rows: list[KeyRow] = []

    def show(self, rows: Sequence[KeyRow]) -> None:
        self.beginResetModel()
        self._rows = list(rows)
        self.endResetModel()

    def row_at(self, row: int) -> KeyRow:
        return self._rows[row]

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's signature
        return 0 if parent.isValid() else len(self._rows)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's signature
        return 0 if parent.isValid() else len(KEY_COLUMNS)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if orientation == Qt.Orientation.Horizontal and role == Qt.ItemDataRole.DisplayRole:
            return KEY_COLUMNS[section]
        return None

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if not index.isValid() or index.row() >= len(self._rows):
            return None
        row, column = self._rows[index.row()], index.column()
        match role:
            case Qt.ItemDataRole.DisplayRole:
                return row.cells[column]
            case Qt.ItemDataRole.AccessibleTextRole:
                return f"{KEY_COLUMNS[column]}: {row.cells[column]}"
            case Qt.ItemDataRole.ToolTipRole:
                return row.badge.meaning if column == STATE else row.cells[column]
        return _look(row, role) if column == STATE else None


def _look(row: KeyRow, role: int) -> Any:
    colour = shade(row.badge.tone).fg
    if role == Qt.ItemDataRole.DecorationRole:
        return theme.icon(row.badge.icon, colour)
    return QColor(colour) if role == Qt.ItemDataRole.ForegroundRole else None
