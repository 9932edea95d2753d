"""Parts of a page whose shares a person can change."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QSplitter


def plain_split(orientation: Qt.Orientation, gap: int = 10) -> QSplitter:
    """Parts that stay visible, with a handle of `gap` pixels between them that is only seen by its use."""
    split = QSplitter(orientation)
    split.setChildrenCollapsible(False)
    split.setHandleWidth(gap)
    split.setStyleSheet("QSplitter::handle { background: transparent; }")
    return split
