"""A number on a button: how many things wait behind it."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, Qt, Slot
from PySide6.QtWidgets import QAbstractButton, QLabel

from quarterdeck.gui import theme

MOST = 99
ROOM = 8


class CountMark(QLabel):
    """Lies over the right end of its button; hidden at zero."""

    def __init__(self, button: QAbstractButton) -> None:
        super().__init__(button)
        self._button = button
        self.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        button.installEventFilter(self)
        theme.notifier.changed.connect(self._paint)
        self._paint()
        self.hide()

    def show_count(self, count: int) -> None:
        self.setText(str(count) if count <= MOST else f"{MOST}+")
        self.setVisible(count > 0)
        self._settle()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Resize:
            self._settle()
        return super().eventFilter(watched, event)

    def _high(self) -> int:
        return self._button.fontMetrics().height() + 1

    def _settle(self) -> None:
        height = self._high()
        self.resize(max(height, self.fontMetrics().horizontalAdvance(self.text()) + 2 * ROOM), height)
        # Over an icon alone, the number keeps to the corner.
        wide = self._button.width() > 2 * self._button.height()
        top = (self._button.height() - height) // 2 if wide else 0
        self.move(self._button.width() - self.width() - (ROOM if wide else 0), top)

    @Slot()
    def _paint(self) -> None:
        shade = theme.tokens().error
        self.setStyleSheet(
            f"background: {shade.bg}; color: {shade.fg}; border: 1px solid {shade.line}; "
            f"border-radius: {self._high() // 2}px; font-size: 8pt; font-weight: 600;"
        )
