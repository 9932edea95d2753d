"""The entries of an import as a table with check boxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QObject, QPersistentModelIndex, Qt, Signal

from quarterdeck.gui import theme
from quarterdeck.gui.presenters import imports
from quarterdeck.gui.widgets.badge import shade
from quarterdeck.schemas.discovery import ImportEntry

Index = QModelIndex | QPersistentModelIndex
CHOICE, NAME, ACTION, ENGINE, WHERE = range(5)
TITLES = ("", "Model", "What happens", "Engine", "Where")


class ImportList(QAbstractTableModel):
    """Entries that add or change something can be chosen; at first all of them are. `chosen_changed` follows."""

    chosen_changed = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._entries: list[ImportEntry] = []
        self._rows: list[imports.EntryRow] = []
        self._chosen: list[bool] = []

    def show(self, entries: Sequence[ImportEntry]) -> None:
        self.beginResetModel()
        self._entries = list(entries)
        self._rows = [imports.row(entry) for entry in entries]
        self._chosen = [row.wanted for row in self._rows]
        self.endResetModel()
        self.chosen_changed.emit()

    def entry(self, row: int) -> ImportEntry:
        return self._entries[row]

    def chosen(self) -> list[str]:
        """The names of the entries that are to be taken over."""
        return [row.name for row, chosen in zip(self._rows, self._chosen, strict=True) if chosen]

    @property
    def choosable(self) -> int:
        return sum(row.wanted for row in self._rows)

    def choose_all(self, chosen: bool) -> None:
        self._chosen = [row.wanted and chosen for row in self._rows]
        if self._rows:
            self.dataChanged.emit(self.index(0, CHOICE), self.index(len(self._rows) - 1, CHOICE))
        self.chosen_changed.emit()

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's signature
        return 0 if parent.isValid() else len(self._rows)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's signature
        return 0 if parent.isValid() else len(TITLES)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if orientation == Qt.Orientation.Horizontal and role == Qt.ItemDataRole.DisplayRole:
            return TITLES[section]
        return None

    def flags(self, index: Index) -> Qt.ItemFlag:
        if not index.isValid():
            return Qt.ItemFlag.NoItemFlags
        flags = Qt.ItemFlag.ItemIsSelectable | Qt.ItemFlag.ItemIsEnabled
        if index.column() == CHOICE and self._rows[index.row()].wanted:
            flags |= Qt.ItemFlag.ItemIsUserCheckable
        return flags

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if not index.isValid() or index.row() >= len(self._rows):
            return None
        row, column = self._rows[index.row()], index.column()
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.ToolTipRole):
            return ("", row.name, row.word, row.engine, row.where)[column]
        return self._look(index.row(), role) if column == CHOICE else self._picture(row, column, role)

    def _look(self, row: int, role: int) -> Any:
        """The check box of a line."""
        if role == Qt.ItemDataRole.CheckStateRole and self._rows[row].wanted:
            return Qt.CheckState.Checked if self._chosen[row] else Qt.CheckState.Unchecked
        return f"Import {self._rows[row].name}" if role == Qt.ItemDataRole.AccessibleTextRole else None

    def _picture(self, row: imports.EntryRow, column: int, role: int) -> Any:
        wanted = role == Qt.ItemDataRole.DecorationRole and column == ACTION
        return theme.icon(row.icon, shade(row.tone).fg) if wanted else None

    def setData(self, index: Index, value: Any, role: int = Qt.ItemDataRole.EditRole) -> bool:
        if role != Qt.ItemDataRole.CheckStateRole or not self.flags(index) & Qt.ItemFlag.ItemIsUserCheckable:
            return False
        self._chosen[index.row()] = Qt.CheckState(value) == Qt.CheckState.Checked
        self.dataChanged.emit(index, index)
        self.chosen_changed.emit()
        return True
