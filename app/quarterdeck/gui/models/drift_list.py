"""Configuration files, and differences between declared and running, as Qt tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QObject, QPersistentModelIndex, Qt

from quarterdeck.gui import theme
from quarterdeck.gui.presenters.badges import Badge
from quarterdeck.gui.presenters.drift import DifferenceRow, FileRow
from quarterdeck.gui.widgets.badge import shade

Index = QModelIndex | QPersistentModelIndex


class BadgedTable(QAbstractTableModel):
    """Rows of text whose first cell has the icon of a badge. `lines` holds (badge, cells) from top to bottom."""

    headers: tuple[str, ...] = ()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.lines: list[tuple[Badge, tuple[str, ...]]] = []

    def show_lines(self, lines: Sequence[tuple[Badge, tuple[str, ...]]]) -> None:
        self.beginResetModel()
        self.lines = list(lines)
        self.endResetModel()

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's signature
        return 0 if parent.isValid() else len(self.lines)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's signature
        return 0 if parent.isValid() else len(self.headers)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if orientation is Qt.Orientation.Horizontal and role == Qt.ItemDataRole.DisplayRole:
            return self.headers[section]
        return None

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if not index.isValid() or index.row() >= len(self.lines):
            return None
        badge, cells = self.lines[index.row()]
        text = cells[index.column()]
        match role:
            case Qt.ItemDataRole.DisplayRole:
                return text.replace("\n", " ")
            case Qt.ItemDataRole.ToolTipRole:
                return badge.meaning if index.column() == 0 else text
            case Qt.ItemDataRole.AccessibleTextRole:
                return f"{self.headers[index.column()]}: {text}"
            case Qt.ItemDataRole.DecorationRole if index.column() == 0:
                return theme.icon(badge.icon, shade(badge.tone).fg)
        return None


class FileList(BadgedTable):
    """The configuration files."""

    headers = ("State", "File", "Used by", "Models", "Changed")

    def show(self, rows: Sequence[FileRow]) -> None:
        self.show_lines([
            (row.badge, (row.badge.word, row.name, row.users, row.models, row.changed)) for row in rows
        ])  # fmt: skip


class DifferenceList(BadgedTable):
    """What is declared against what runs."""

    headers = ("Weight", "Where", "What", "Declared", "Running")

    def show(self, rows: Sequence[DifferenceRow]) -> None:
        self.show_lines([(row.badge, (row.badge.word, row.subject, row.what, row.declared, row.running))
                         for row in rows])  # fmt: skip
