"""The lines of the Logs page as a table, capped, with a filter over plain strings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QObject, QPersistentModelIndex, QSortFilterProxyModel, Qt
from PySide6.QtGui import QColor, QFontDatabase

from quarterdeck.gui import theme
from quarterdeck.gui.presenters.logs import LOOKS, LineFilter, Row, shorten

Index = QModelIndex | QPersistentModelIndex

CAP = 20_000


class Column(IntEnum):
    TIME = 0
    LEVEL = 1
    SOURCE = 2
    TEXT = 3


HEADERS = {Column.TIME: "Time", Column.LEVEL: "Level", Column.SOURCE: "Source", Column.TEXT: "Text"}


class LogModel(QAbstractTableModel):
    """At most `cap` rows; the oldest go first. `title_of` turns a source into the name people know."""

    def __init__(self, parent: QObject | None = None, *, cap: int = CAP) -> None:
        super().__init__(parent)
        self.rows: list[Row] = []
        self.cap = cap
        self.title_of: Callable[[str], str] = str
        self._marked: frozenset[Row] = frozenset()
        self._fixed = QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont)

    def append(self, rows: Sequence[Row]) -> None:
        new = rows[-self.cap :]
        surplus = len(self.rows) + len(new) - self.cap
        if surplus > 0:
            self.beginRemoveRows(QModelIndex(), 0, surplus - 1)
            del self.rows[:surplus]
            self.endRemoveRows()
        if new:
            first = len(self.rows)
            self.beginInsertRows(QModelIndex(), first, first + len(new) - 1)
            self.rows.extend(new)
            self.endInsertRows()

    def clear(self) -> None:
        self.beginResetModel()
        self.rows.clear()
        self.endResetModel()

    def mark(self, rows: Sequence[Row]) -> None:
        """Set these lines apart from the others, and no longer those of before."""
        self._marked = frozenset(rows)
        self.refresh_looks()

    def refresh_looks(self) -> None:
        """Titles of sources or colours have changed."""
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
            return Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
        return HEADERS[Column(section)] if role == Qt.ItemDataRole.DisplayRole else None

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if not index.isValid() or not 0 <= index.row() < len(self.rows):
            return None
        row, column = self.rows[index.row()], Column(index.column())
        if role == Qt.ItemDataRole.DisplayRole:
            return self._text(row, column)
        if role == Qt.ItemDataRole.AccessibleTextRole:
            return f"{HEADERS[column]}: {self._text(row, column)}"
        if role == Qt.ItemDataRole.ToolTipRole:
            return f"{row.at.astimezone():%d %b %Y, %H:%M:%S}" if column is Column.TIME else None
        if role == Qt.ItemDataRole.FontRole:
            return self._fixed if column is Column.TEXT else None
        return self._look(row, column, role)

    def title(self, row: Row) -> str:
        return self.title_of(row.source)

    def _text(self, row: Row, column: Column) -> str:
        if column is Column.TIME:
            return row.time
        if column is Column.LEVEL:
            return LOOKS[row.level].word
        return self.title(row) if column is Column.SOURCE else shorten(row.text)

    def _look(self, row: Row, column: Column, role: int) -> Any:
        look = LOOKS[row.level]
        tokens = theme.tokens()
        if role == Qt.ItemDataRole.BackgroundRole and self._marked:
            return QColor(tokens.error.bg) if row in self._marked else None
        if role == Qt.ItemDataRole.DecorationRole and column is Column.LEVEL:
            return theme.icon(look.icon, getattr(tokens, look.tone).fg)
        if role == Qt.ItemDataRole.ForegroundRole:
            if column is Column.LEVEL:
                return QColor(getattr(tokens, look.tone).fg)
            return None if column is Column.TEXT else QColor(tokens.muted)
        return None


class LogFilter(QSortFilterProxyModel):
    """The rows that pass a LineFilter."""

    def __init__(self, model: LogModel, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._model = model
        self._wanted = LineFilter()
        self.setSourceModel(model)

    @property
    def wanted(self) -> LineFilter:
        return self._wanted

    def set_filter(self, wanted: LineFilter) -> None:
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
        # The list is read directly: asking through data() costs eight times as much.
        rows = self._model.rows
        return source_row < len(rows) and self._wanted.accepts(rows[source_row])

    def row_at(self, index: Index) -> Row:
        return self._model.rows[self.mapToSource(index).row()]

    def shown(self) -> list[Row]:
        """All rows that pass, in order."""
        return [row for row in self._model.rows if self._wanted.accepts(row)]
