"""The requests of clients as a Qt table, newest first and capped, with a filter over plain strings."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QObject, QPersistentModelIndex, QSortFilterProxyModel, Qt
from PySide6.QtGui import QColor

from quarterdeck.gui import theme
from quarterdeck.gui.presenters.changes import remarks
from quarterdeck.gui.presenters.requests import RequestFilter, RequestRow
from quarterdeck.gui.widgets.badge import shade

Index = QModelIndex | QPersistentModelIndex

CAP = 500


class Column(IntEnum):
    TIME = 0
    OUTCOME = 1
    MODEL = 2
    OPERATION = 3
    DIALECT = 4
    BACKEND = 5
    FIRST = 6
    TOTAL = 7
    SPEED = 8
    CHANGES = 9


HEADERS = {
    Column.TIME: "Time", Column.OUTCOME: "Outcome", Column.MODEL: "Model", Column.OPERATION: "Request",
    Column.DIALECT: "API", Column.BACKEND: "Backend", Column.FIRST: "First token", Column.TOTAL: "Total",
    Column.SPEED: "Speed", Column.CHANGES: "Changed",
}  # fmt: skip
_NUMBERS = (Column.FIRST, Column.TOTAL, Column.SPEED)


class RequestList(QAbstractTableModel):
    """At most `CAP` rows; the oldest go first."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.rows: list[RequestRow] = []

    def add(self, rows: Sequence[RequestRow]) -> None:
        """Put rows that are not known yet on top; the newest is first."""
        known = {row.id for row in self.rows}
        new = [row for row in rows if row.id not in known][:CAP]
        if not new:
            return
        self.beginInsertRows(QModelIndex(), 0, len(new) - 1)
        self.rows[:0] = new
        self.endInsertRows()
        if len(self.rows) > CAP:
            self.beginRemoveRows(QModelIndex(), CAP, len(self.rows) - 1)
            del self.rows[CAP:]
            self.endRemoveRows()

    def clear(self) -> None:
        self.beginResetModel()
        self.rows.clear()
        self.endResetModel()

    def refresh_looks(self) -> None:
        """Colours have changed."""
        if self.rows:
            self.dataChanged.emit(self.index(0, 0), self.index(len(self.rows) - 1, len(Column) - 1))

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's signature
        return 0 if parent.isValid() else len(self.rows)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's signature
        return 0 if parent.isValid() else len(Column)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if orientation is not Qt.Orientation.Horizontal or not 0 <= section < len(Column):
            return None
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return _alignment(Column(section))
        return HEADERS[Column(section)] if role == Qt.ItemDataRole.DisplayRole else None

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if not index.isValid() or not 0 <= index.row() < len(self.rows):
            return None
        row, column = self.rows[index.row()], Column(index.column())
        match role:
            case Qt.ItemDataRole.DisplayRole:
                return cell(row, column)
            case Qt.ItemDataRole.AccessibleTextRole:
                return f"{HEADERS[column]}: {cell(row, column)}"
            case Qt.ItemDataRole.TextAlignmentRole:
                return _alignment(column)
            case Qt.ItemDataRole.ToolTipRole:
                return _tip(row, column)
        return _look(row, column, role)


class FilteredRequests(QSortFilterProxyModel):
    """The rows that pass a RequestFilter."""

    def __init__(self, model: RequestList, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._model = model
        self._wanted = RequestFilter()
        self.setSourceModel(model)

    @property
    def wanted(self) -> RequestFilter:
        return self._wanted

    def set_filter(self, wanted: RequestFilter) -> None:
        if wanted == self._wanted:
            return
        # Older Qt has only invalidateFilter; newer Qt warns about it.
        if hasattr(self, "beginFilterChange"):
            self.beginFilterChange()
            self._wanted = wanted
            self.endFilterChange()
        else:
            self._wanted = wanted
            self.invalidateFilter()

    def filterAcceptsRow(self, source_row: int, source_parent: Index) -> bool:
        rows = self._model.rows
        return source_row < len(rows) and self._wanted.accepts(rows[source_row])

    def row_at(self, index: Index) -> RequestRow:
        return self._model.rows[self.mapToSource(index).row()]

    def shown(self) -> list[RequestRow]:
        """All rows that pass, newest first."""
        return [row for row in self._model.rows if self._wanted.accepts(row)]


def cell(row: RequestRow, column: Column) -> str:
    """The words of one cell."""
    cells = (
        row.time, row.badge.word, row.model, row.operation, row.dialect, row.backend, row.first, row.total, row.speed,
        row.changes,
    )  # fmt: skip
    return cells[column]


def _tip(row: RequestRow, column: Column) -> str:
    if column is Column.OUTCOME:
        return row.badge.meaning
    if column is Column.CHANGES:
        return "\n".join(f"{heading}: {item}" for heading, items in remarks(row.view) for item in items)
    return cell(row, column)


def _look(row: RequestRow, column: Column, role: int) -> Any:
    tone = shade(row.badge.tone)
    if role == Qt.ItemDataRole.DecorationRole:
        if column is Column.CHANGES and row.view.warnings:
            return theme.icon("warn", theme.tokens().warn.fg)
        return theme.icon(row.badge.icon, tone.fg) if column is Column.OUTCOME else None
    if role == Qt.ItemDataRole.ForegroundRole:
        if column is Column.OUTCOME:
            return QColor(tone.fg)
        return None if column is Column.MODEL else QColor(theme.tokens().muted)
    return None


def _alignment(column: Column) -> Qt.AlignmentFlag:
    across = Qt.AlignmentFlag.AlignRight if column in _NUMBERS else Qt.AlignmentFlag.AlignLeft
    return across | Qt.AlignmentFlag.AlignVCenter
