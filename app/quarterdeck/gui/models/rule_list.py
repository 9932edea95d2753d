"""The rules of one kind as a Qt table whose cells are written into."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QObject, QPersistentModelIndex, Qt, Signal

from quarterdeck.gui import theme
from quarterdeck.gui.presenters.routing import FORMS, Cells, Kind, Problem

Index = QModelIndex | QPersistentModelIndex


class RuleList(QAbstractTableModel):
    """`edited` follows every change by a person."""

    edited = Signal()

    def __init__(self, kind: Kind, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.form = FORMS[kind]
        self._lines: list[Cells] = []
        self._problems: dict[int, list[Problem]] = {}

    @property
    def lines(self) -> list[Cells]:
        return list(self._lines)

    def show(self, lines: Sequence[Cells]) -> None:
        self.beginResetModel()
        self._lines = list(lines)
        self._problems = {}
        self.endResetModel()

    def show_problems(self, problems: Sequence[Problem]) -> None:
        self._problems = {}
        for problem in problems:
            self._problems.setdefault(problem.row, []).append(problem)
        if self._lines:
            self.dataChanged.emit(self.index(0, 0), self.index(len(self._lines) - 1, self.columnCount() - 1))

    def add(self) -> int:
        """An empty line at the end; returns its number."""
        row = len(self._lines)
        self.beginInsertRows(QModelIndex(), row, row)
        self._lines.append(("",) * self.columnCount())
        self.endInsertRows()
        self.edited.emit()
        return row

    def remove(self, row: int) -> None:
        self.beginRemoveRows(QModelIndex(), row, row)
        del self._lines[row]
        self.endRemoveRows()
        self.edited.emit()

    def move(self, row: int, by: int) -> int:
        """Move a line up (-1) or down (1) as far as there is room; returns where it is then."""
        target = row + by
        if not 0 <= target < len(self._lines):
            return row
        # Qt counts the place before which a row goes.
        self.beginMoveRows(QModelIndex(), row, row, QModelIndex(), target + (by > 0))
        self._lines.insert(target, self._lines.pop(row))
        self.endMoveRows()
        self.edited.emit()
        return target

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's signature
        return 0 if parent.isValid() else len(self._lines)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's signature
        return 0 if parent.isValid() else len(self.form.columns)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if orientation == Qt.Orientation.Horizontal and role == Qt.ItemDataRole.DisplayRole:
            return self.form.columns[section]
        return None

    def flags(self, index: Index) -> Qt.ItemFlag:
        return super().flags(index) | Qt.ItemFlag.ItemIsEditable if index.isValid() else Qt.ItemFlag.NoItemFlags

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if not index.isValid() or index.row() >= len(self._lines):
            return None
        text = self._lines[index.row()][index.column()]
        problems = self._problems.get(index.row(), [])
        match role:
            case Qt.ItemDataRole.DisplayRole | Qt.ItemDataRole.EditRole:
                return text
            case Qt.ItemDataRole.AccessibleTextRole:
                told = [f"{self.form.columns[index.column()]}: {text}", *(problem.words for problem in problems)]
                return ". ".join(told)
            case Qt.ItemDataRole.ToolTipRole:
                return "\n".join(problem.words for problem in problems) or text
            case Qt.ItemDataRole.DecorationRole if problems and index.column() == 0:
                bad = any(problem.error for problem in problems)
                shade = theme.tokens().error if bad else theme.tokens().warn
                return theme.icon("error" if bad else "warn", shade.fg)
        return None

    def setData(self, index: Index, value: Any, role: int = Qt.ItemDataRole.EditRole) -> bool:
        if role != Qt.ItemDataRole.EditRole or not index.isValid():
            return False
        cells = list(self._lines[index.row()])
        if cells[index.column()] != str(value):
            cells[index.column()] = str(value)
            self._lines[index.row()] = tuple(cells)
            self.dataChanged.emit(index, index)
            self.edited.emit()
        return True
