"""The attempt history of one model as a Qt table, newest first."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QObject, QPersistentModelIndex, Qt
from PySide6.QtGui import QColor

from quarterdeck.gui.presenters.attempts import AttemptRow, attempt_row
from quarterdeck.gui.widgets.badge import shade
from quarterdeck.schemas.models import AttemptView

Index = QModelIndex | QPersistentModelIndex
COLUMNS = ("When", "Result", "Took", "Configuration")


class AttemptList(QAbstractTableModel):
    """Four columns of words; `row_at` gives everything about one attempt."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._attempts: list[AttemptView] = []
        self._rows: list[AttemptRow] = []

    def show(self, attempts: Sequence[AttemptView]) -> None:
        """Show these attempts. Rows that stay are kept, so that a selection survives a new attempt."""
        now = datetime.now(UTC)
        fresh = sorted(attempts, key=lambda attempt: attempt.id, reverse=True)
        known = {attempt.id for attempt in self._attempts}
        added = [attempt for attempt in fresh if attempt.id not in known]
        if self._attempts and fresh[len(added) :] == self._attempts:
            self._prepend(added, now)
            return
        self.beginResetModel()
        self._attempts = fresh
        self._rows = [attempt_row(attempt, now) for attempt in fresh]
        self.endResetModel()

    def row_at(self, row: int) -> AttemptRow:
        return self._rows[row]

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's signature
        return 0 if parent.isValid() else len(self._rows)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's signature
        return 0 if parent.isValid() else len(COLUMNS)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if orientation == Qt.Orientation.Horizontal and role == Qt.ItemDataRole.DisplayRole:
            return COLUMNS[section]
        return None

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if not index.isValid() or index.row() >= len(self._rows):
            return None
        row, column = self._rows[index.row()], index.column()
        cells = (row.when, row.outcome, row.took, row.configuration)
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.AccessibleTextRole):
            return cells[column]
        if role == Qt.ItemDataRole.ToolTipRole:
            return row.explanation or cells[column]
        if role == Qt.ItemDataRole.ForegroundRole and column == 1:
            return QColor(shade(row.tone).fg)
        return None

    def _prepend(self, added: list[AttemptView], now: datetime) -> None:
        if added:
            self.beginInsertRows(QModelIndex(), 0, len(added) - 1)
            self._attempts = added + self._attempts
            self._rows = [attempt_row(attempt, now) for attempt in added] + self._rows
            self.endInsertRows()
