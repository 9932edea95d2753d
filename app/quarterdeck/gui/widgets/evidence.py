"""Lines of a log that prove something, with their numbers."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtGui import QFontDatabase, QKeySequence, QResizeEvent, QShortcut
from PySide6.QtWidgets import QApplication, QListView, QListWidget, QListWidgetItem, QWidget

from quarterdeck.gui import theme
from quarterdeck.schemas.diagnosis import Evidence

LINE = Qt.ItemDataRole.UserRole
PADDING = 6
MOST_LETTERS = 400


class EvidenceList(QListWidget):
    """As high as its lines, which wrap where it is narrow.

    `chosen(line)` carries the number of a line that was clicked or entered.
    """

    chosen = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("evidence")
        self.setAccessibleName("The lines that show it")
        self.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setTextElideMode(Qt.TextElideMode.ElideRight)
        self.setWordWrap(True)
        self.setResizeMode(QListView.ResizeMode.Adjust)
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
            # What is not from a log or a file has no number.
            number, spoken = (f"{line.line:>{digits}}  ", f"Line {line.line}: ") if line.line else ("", "")
            item = QListWidgetItem(f"{number}{_shortened(line.text.strip())}")
            item.setData(LINE, line.line)
            item.setData(Qt.ItemDataRole.AccessibleTextRole, f"{spoken}{line.text.strip()}")
            item.setToolTip(line.text.strip())
            self.addItem(item)
        self.setVisible(bool(lines))
        self._fit()

    @property
    def lines(self) -> list[str]:
        return [self.item(row).text() for row in range(self.count())]

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if event.size().width() != event.oldSize().width():
            self._fit()

    def _fit(self) -> None:
        self.doItemsLayout()
        lines = sum(self.visualItemRect(self.item(row)).height() for row in range(self.count()))
        self.setFixedHeight(lines + 2 * PADDING + 2)

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
            f"QListWidget#evidence:focus {{ border: 1px solid {shade.fg}; }}"
            f"QListWidget#evidence::item {{ color: {theme.tokens().text}; padding: 2px 0; }}"
        )


def _shortened(text: str) -> str:
    return text if len(text) <= MOST_LETTERS else f"{text[:MOST_LETTERS]}…"
