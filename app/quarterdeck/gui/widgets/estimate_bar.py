"""A stacked bar: what is in use, what a load would take, and where the memory ends."""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Slot
from PySide6.QtGui import QBrush, QColor, QPainter, QPainterPath, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from quarterdeck.gui import theme
from quarterdeck.gui.presenters.estimate import Bar, Segment
from quarterdeck.gui.presenters.text import size

RADIUS = 5.0


def colour(segment: Segment) -> QColor:
    """The colour of a part, in the present scheme."""
    colours = theme.tokens()
    return QColor(colours.neutral.line if segment.shade is None else colours.series[segment.shade % 6])


class EstimateBar(QWidget):
    """Shows a Bar; parts beyond the end of the memory are hatched."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._bar: Bar | None = None
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        theme.notifier.changed.connect(self._repaint)

    def show_bar(self, bar: Bar | None) -> None:
        self._bar = bar
        if bar is not None:
            parts = ", ".join(f"{segment.label} {size(segment.bytes)}" for segment in bar.segments)
            whole = f" of {size(bar.card)}" if bar.card is not None else ""
            self.setAccessibleName(f"Memory: {parts}{whole}")
            self.setToolTip(self.accessibleName())
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(200, self.fontMetrics().height() + 10)

    def paintEvent(self, event: QPaintEvent) -> None:
        if self._bar is None:
            return
        colours = theme.tokens()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        area = QRectF(self.rect()).adjusted(0.5, 3.5, -0.5, -3.5)
        outline = QPainterPath()
        outline.addRoundedRect(area, RADIUS, RADIUS)
        painter.setClipPath(outline)
        painter.fillRect(area, QColor(colours.neutral.bg))
        scale, left = area.width() / self._bar.room, area.left()
        for segment in self._bar.segments:
            width = segment.bytes * scale
            painter.fillRect(QRectF(left, area.top(), max(1.0, width - 1), area.height()), colour(segment))
            left += width
        if self._bar.card is not None and self._bar.card < self._bar.room:
            end = area.left() + self._bar.card * scale
            beyond = QRectF(end, area.top(), area.right() - end, area.height())
            painter.fillRect(beyond, QBrush(QColor(colours.surface), Qt.BrushStyle.BDiagPattern))
            painter.setClipping(False)
            painter.setPen(QPen(QColor(colours.error.fg), 2))
            painter.drawLine(QPointF(end, 0), QPointF(end, self.height()))
        painter.setClipping(False)
        painter.setPen(QPen(QColor(colours.border), 1))
        painter.drawPath(outline)

    @Slot()
    def _repaint(self) -> None:
        self.update()
