"""A column of cards that scrolls when it is longer than its page."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QScrollArea, QVBoxLayout, QWidget

GAP = 12
BAR_GAP = 6


class ScrollingColumn(QScrollArea):
    """`column` is the layout to fill; it ends with a stretch, so widgets are inserted before its last item."""

    def __init__(self, *widgets: QWidget) -> None:
        super().__init__()
        inside = QWidget()
        inside.setProperty("plain", True)
        self.column = QVBoxLayout(inside)
        self.column.setContentsMargins(0, 0, BAR_GAP, 0)
        self.column.setSpacing(GAP)
        for widget in widgets:
            self.column.addWidget(widget)
        self.column.addStretch()
        self.setWidget(inside)
        self.setWidgetResizable(True)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
