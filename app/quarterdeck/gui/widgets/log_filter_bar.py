"""The filters of the Logs page: words, level, source."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QLineEdit, QWidget

from quarterdeck.gui.presenters.logs import LEVEL_CHOICES, Level, LineFilter

ALL_SOURCES = "All sources"


class LogFilterBar(QWidget):
    """`changed(LineFilter)` says what is to be shown."""

    changed = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.search = QLineEdit(placeholderText="Filter lines", clearButtonEnabled=True)
        self.search.setAccessibleName("Filter lines by text")
        self.search.setToolTip("Show only lines that contain all these words (Ctrl+F)")
        self.level = QComboBox()
        self.level.setAccessibleName("Level")
        for text, level in LEVEL_CHOICES:
            self.level.addItem(text, int(level))
        self.source = QComboBox()
        self.source.setAccessibleName("Source")
        self.source.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
        self.source.addItem(ALL_SOURCES, "")
        self.search.textChanged.connect(self._tell)
        self.level.currentIndexChanged.connect(self._tell)
        self.source.currentIndexChanged.connect(self._tell)
        line = QHBoxLayout(self)
        line.setContentsMargins(0, 0, 0, 0)
        line.setSpacing(8)
        line.addWidget(self.search, 1)
        line.addWidget(self.level)
        line.addWidget(self.source)

    def add_source(self, name: str, title: str) -> None:
        """Offer a source, or give one that is offered its current title."""
        index = self.source.findData(name)
        if index < 0:
            self.source.addItem(title, name)
        elif self.source.itemText(index) != title:
            self.source.setItemText(index, title)

    def show_only(self, source: str) -> None:
        """All lines of one source."""
        self.clear()
        self.source.setCurrentIndex(self.source.findData(source))

    @Slot()
    def clear(self) -> None:
        self.search.clear()
        self.level.setCurrentIndex(0)
        self.source.setCurrentIndex(0)

    @Slot()
    def focus_search(self) -> None:
        self.search.setFocus(Qt.FocusReason.ShortcutFocusReason)
        self.search.selectAll()

    @Slot()
    def _tell(self) -> None:
        level = Level(self.level.currentData())
        self.changed.emit(LineFilter.of(self.search.text(), level, self.source.currentData() or ""))
