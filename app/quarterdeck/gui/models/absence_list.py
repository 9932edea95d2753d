"""The models that are not listed, with their reasons, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QObject, QPersistentModelIndex, Qt

from quarterdeck.gui.presenters.filters import natural
from quarterdeck.schemas.discovery import Absence

Index = QModelIndex | QPersistentModelIndex
TITLES = ("Model", "Why it is not listed")


class AbsenceList(QAbstractTableModel):
    """Shows those whose name or reason holds the words that were searched for."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._all: list[Absence] = []
        self._rows: list[Absence] = []
        self._words = ""

    def show(self, absences: Sequence[Absence]) -> None:
        self._all = sorted(absences, key=lambda absence: natural(absence.name))
        self.search(self._words)

    def search(self, words: str) -> None:
        self._words = words
        parts = words.casefold().split()
        self.beginResetModel()
        self._rows = [one for one in self._all if all(part in _haystack(one) for part in parts)]
        self.endResetModel()

    def absence(self, row: int) -> Absence:
        return self._rows[row]

    @property
    def total(self) -> int:
        return len(self._all)

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's signature
        return 0 if parent.isValid() else len(self._rows)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's signature
        return 0 if parent.isValid() else len(TITLES)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if orientation == Qt.Orientation.Horizontal and role == Qt.ItemDataRole.DisplayRole:
            return TITLES[section]
        return None

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if not index.isValid() or index.row() >= len(self._rows):
            return None
        absence = self._rows[index.row()]
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.ToolTipRole):
            return (absence.name, " ".join(absence.reasons))[index.column()]
        return None


def reasons(absence: Absence) -> str:
    """Everything there is to say about it."""
    lines = list(absence.reasons)
    if absence.hint:
        lines.append(absence.hint)
    return "\n".join(lines)


def _haystack(absence: Absence) -> str:
    return f"{absence.name} {' '.join(absence.reasons)}".casefold()
