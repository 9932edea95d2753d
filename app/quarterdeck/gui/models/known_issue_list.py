"""The known issues as a Qt table, filtered by words."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QObject, QPersistentModelIndex, Qt

from quarterdeck.gui import theme
from quarterdeck.gui.presenters.known_issues import IssueRow, matching
from quarterdeck.gui.widgets.badge import shade

Index = QModelIndex | QPersistentModelIndex


class Column(IntEnum):
    TITLE = 0
    SUBJECT = 1
    STATE = 2
    ORIGIN = 3


HEADERS = {
    Column.TITLE: "Known issue",
    Column.SUBJECT: "About",
    Column.STATE: "Current versions",
    Column.ORIGIN: "Entry",
}


class KnownIssueList(QAbstractTableModel):
    """`all` entries, and those `rows` that the search leaves."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.all: list[IssueRow] = []
        self.rows: list[IssueRow] = []
        self._typed = ""

    def show(self, rows: Sequence[IssueRow]) -> None:
        self.all = list(rows)
        self.set_filter(self._typed)

    def set_filter(self, typed: str) -> None:
        self.beginResetModel()
        self._typed = typed
        self.rows = matching(self.all, typed)
        self.endResetModel()

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's signature
        return 0 if parent.isValid() else len(self.rows)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's signature
        return 0 if parent.isValid() else len(Column)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if orientation is Qt.Orientation.Horizontal and role == Qt.ItemDataRole.DisplayRole:
            return HEADERS[Column(section)]
        return None

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if not index.isValid() or index.row() >= len(self.rows):
            return None
        row, column = self.rows[index.row()], Column(index.column())
        text = {Column.TITLE: row.title, Column.SUBJECT: row.subject, Column.STATE: row.badge.word,
                Column.ORIGIN: row.origin}[column]  # fmt: skip
        match role:
            case Qt.ItemDataRole.DisplayRole:
                return text
            case Qt.ItemDataRole.AccessibleTextRole:
                return f"{HEADERS[column]}: {text}"
            case Qt.ItemDataRole.ToolTipRole:
                return row.badge.meaning if column is Column.STATE else text
            case Qt.ItemDataRole.DecorationRole if column is Column.STATE:
                return theme.icon(row.badge.icon, shade(row.badge.tone).fg)
        return None
