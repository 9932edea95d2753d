"""The models of the store as a Qt list: rows change one by one, never all at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PySide6.QtCore import (
    QAbstractListModel,
    QModelIndex,
    QObject,
    QPersistentModelIndex,
    QSortFilterProxyModel,
    Qt,
    Slot,
)

from quarterdeck.gui.presenters.card import card_state
from quarterdeck.gui.presenters.filters import Filters, sort_value
from quarterdeck.schemas.models import ModelView

if TYPE_CHECKING:
    from quarterdeck.gui.store import Store

Index = QModelIndex | QPersistentModelIndex


class ModelList(QAbstractListModel):
    """One row per model, in the order in which they became known."""

    def __init__(self, store: Store, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._store = store
        self._rows: list[ModelView] = list(store.models.values())
        store.models_reset.connect(self._take_all)
        store.model_changed.connect(self._take)
        store.model_removed.connect(self._remove)

    def model_at(self, row: int) -> ModelView:
        return self._rows[row]

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's signature
        return 0 if parent.isValid() else len(self._rows)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if not index.isValid() or index.row() >= len(self._rows):
            return None
        model = self._rows[index.row()]
        if role == Qt.ItemDataRole.DisplayRole:
            return model.name
        if role == Qt.ItemDataRole.AccessibleTextRole:
            return card_state(model).accessible_name
        return None

    @Slot()
    def _take_all(self) -> None:
        """Follow the store after it read everything anew, touching only the rows that differ."""
        for name in [model.name for model in self._rows if model.name not in self._store.models]:
            self._remove(name)
        for name in self._store.models:
            self._take(name)

    @Slot(str)
    def _take(self, name: str) -> None:
        model = self._store.models.get(name)
        if model is None:
            return
        row = self._row(name)
        if row < 0:
            self.beginInsertRows(QModelIndex(), len(self._rows), len(self._rows))
            self._rows.append(model)
            self.endInsertRows()
        elif self._rows[row] != model:
            self._rows[row] = model
            self.dataChanged.emit(self.index(row), self.index(row))

    @Slot(str)
    def _remove(self, name: str) -> None:
        row = self._row(name)
        if row >= 0:
            self.beginRemoveRows(QModelIndex(), row, row)
            del self._rows[row]
            self.endRemoveRows()

    def _row(self, name: str) -> int:
        return next((row for row, model in enumerate(self._rows) if model.name == name), -1)


class ModelFilter(QSortFilterProxyModel):
    """The rows of a ModelList that a person wants to see, in the order they chose.

    Filter and order are worked out anew when a person changes them and when a model is added, not at every event.
    """

    def __init__(self, source: ModelList, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._list = source
        self._filters = Filters()
        self.setSourceModel(source)
        # A card must not jump or vanish under the pointer because its status changed.
        self.setDynamicSortFilter(False)
        self.sort(0)
        source.rowsInserted.connect(self._sort_in)

    @property
    def filters(self) -> Filters:
        return self._filters

    def set_filters(self, filters: Filters) -> None:
        before, self._filters = self._filters, filters
        if (before.words, before.status) != (filters.words, filters.status):
            # invalidateFilter is deprecated since Qt 6.10, its replacement does not exist before.
            if hasattr(self, "beginFilterChange"):
                self._filters = before
                self.beginFilterChange()
                self._filters = filters
                self.endFilterChange()
            else:
                self.invalidateFilter()
        self._sort_in()

    @Slot()
    def _sort_in(self) -> None:
        """Bring all rows into order; sorting by an unchanged column and direction does it anew."""
        self.sort(-1)
        self.sort(0, Qt.SortOrder.DescendingOrder if self._filters.descending else Qt.SortOrder.AscendingOrder)

    def models(self) -> list[ModelView]:
        """The models that are shown, in order."""
        rows = (self.mapToSource(self.index(row, 0)).row() for row in range(self.rowCount()))
        return [self._list.model_at(row) for row in rows]

    def filterAcceptsRow(self, row: int, parent: Index) -> bool:
        return self._filters.accepts(self._list.model_at(row))

    def lessThan(self, left: Index, right: Index) -> bool:
        key = self._filters.sort
        return sort_value(self._list.model_at(left.row()), key) < sort_value(self._list.model_at(right.row()), key)
