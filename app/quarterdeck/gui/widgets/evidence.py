"""Lines of a log that prove something, with their numbers."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtGui import QFontDatabase, QKeySequence, QShortcut
from PySide6.QtWidgets import QApplication, QListWidget, QListWidgetItem, QWidget

from quarterdeck.gui import theme
from quarterdeck.schemas.diagnosis import Evidence

LINE = Qt.ItemDataRole.UserRole
PADDING = 6


class EvidenceList(QListWidget):
    """As high as its lines. `chosen(line)` carries the number of a line that was clicked or entered."""

    chosen = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("evidence")
        self.setAccessibleName("The lines that show it")
        self.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setTextElideMode(Qt.TextElideMode.ElideRight)
        copy = QShortcut(QKeySequence(QKeySequence.StandardKey.Copy), self)
        copy.setContext(Qt.ShortcutContext.WidgetShortcut)
        copy.activated.connect(self._copy)
        self.itemClicked.connect(self._choose)
        self.itemActivated.connect(self._choose)
        theme.notifier.changed.connect(self._paint)
        self._paint()
        self.hide()

    def show_lines(self, lines: Sequence[Evidence]) -> None:
        """Show these lines, or nothing at all."""
        self.clear()
        digits = max((len(str(line.line)) for line in lines), default=1)
        for line in lines:
            item = QListWidgetItem(f"{line.line:>{digits}}  {line.text.strip()}")
            item.setData(LINE, line.line)
            item.setData(Qt.ItemDataRole.AccessibleTextRole, f"Line {line.line}: {line.text.strip()}")
            item.setToolTip(line.text.strip())
            self.addItem(item)
        self.setFixedHeight(len(lines) * (self.fontMetrics().lineSpacing() + 4) + 2 * PADDING + 2)
        self.setVisible(bool(lines))

    @property
    def lines(self) -> list[str]:
        return [self.item(row).text() for row in range(self.count())]

    @Slot(QListWidgetItem)
    def _choose(self, item: QListWidgetItem) -> None:
        self.chosen.emit(item.data(LINE))

    @Slot()
    def _copy(self) -> None:
        item = self.currentItem()
        if item is not None:
            QApplication.clipboard().setText(item.toolTip())

    @Slot()
    def _paint(self) -> None:
        shade = theme.tokens().error
        self.setStyleSheet(
            f"QListWidget#evidence {{ background: {shade.bg}; border: 1px solid {shade.line}; padding: {PADDING}px; }}"
            f"QListWidget#evidence::item {{ color: {theme.tokens().text}; padding: 2px 0; }}"
        )
