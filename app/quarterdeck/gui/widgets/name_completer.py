"""Offers names of models while they are typed, one after the other between commas."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtCore import QAbstractItemModel, QModelIndex, QPersistentModelIndex, Qt
from PySide6.QtWidgets import QCompleter, QLineEdit, QStyledItemDelegate, QStyleOptionViewItem, QWidget

Index = QModelIndex | QPersistentModelIndex
Names = Callable[[], Sequence[str]]


class NameCompleter(QCompleter):
    """Completes the name behind the last comma of `field`."""

    def __init__(self, names: Sequence[str], field: QLineEdit) -> None:
        super().__init__(list(names), field)
        self._field = field
        self.setCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        self.setFilterMode(Qt.MatchFlag.MatchContains)
        field.setCompleter(self)

    def splitPath(self, path: str) -> list[str]:
        return [path.rpartition(",")[2].strip()]

    def pathFromIndex(self, index: Index) -> str:
        before, comma, _ = self._field.text().rpartition(",")
        chosen = str(index.data(self.completionRole()))
        return f"{before}{comma} {chosen}" if comma else chosen


class NameDelegate(QStyledItemDelegate):
    """Edits cells of a table; in `columns`, `names()` are offered."""

    def __init__(self, names: Names, columns: Sequence[int], parent: QWidget) -> None:
        super().__init__(parent)
        self._names, self._columns = names, columns

    def createEditor(self, parent: QWidget, option: QStyleOptionViewItem, index: Index) -> QWidget:
        field = QLineEdit(parent)
        # Flat, because the cell is the frame.
        field.setStyleSheet("QLineEdit, QLineEdit:focus { border-radius: 0; padding: 0 4px; }")
        if index.column() in self._columns:
            NameCompleter(self._names(), field)
        return field

    def setEditorData(self, editor: QWidget, index: Index) -> None:
        if isinstance(editor, QLineEdit):
            editor.setText(str(index.data(Qt.ItemDataRole.EditRole)))

    def setModelData(self, editor: QWidget, model: QAbstractItemModel, index: Index) -> None:
        if isinstance(editor, QLineEdit):
            model.setData(index, editor.text())
