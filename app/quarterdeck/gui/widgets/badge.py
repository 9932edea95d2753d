"""A badge: icon, word and colour together, so that none of them has to say it alone."""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Slot
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from quarterdeck.gui import theme
from quarterdeck.gui.presenters.badges import Badge, Tone

PADDING = 8
GAP = 5


def shade(tone: Tone) -> theme.Shade:
    """The colours of a tone in the current scheme."""
    found: theme.Shade = getattr(theme.tokens(), tone.value)
    return found


class StatusBadge(QWidget):
    """Shows one Badge as a pill as wide as its text."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._badge: Badge | None = None
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        theme.notifier.changed.connect(self._repaint)

    def show_badge(self, badge: Badge, tip: str = "") -> None:
        if badge != self._badge:
            self._badge = badge
            self.updateGeometry()
            self.update()
        self.setToolTip(tip or badge.meaning)
        self.setAccessibleName(f"Status: {badge.word}")
        self.setAccessibleDescription(self.toolTip())

    @property
    def text(self) -> str:
        return self._badge.word if self._badge else ""

    def sizeHint(self) -> QSize:
        metrics = self.fontMetrics()
        side = metrics.height()
        return QSize(metrics.horizontalAdvance(self.text) + side + GAP + 2 * PADDING, side + 8)

    def paintEvent(self, event: QPaintEvent) -> None:
        if self._badge is None:
            return
        colours = shade(self._badge.tone)
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(QColor(colours.line), 1))
        painter.setBrush(QColor(colours.bg))
        area = QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5)
        painter.drawRoundedRect(area, area.height() / 2, area.height() / 2)
        side = self.fontMetrics().height()
        picture = theme.pixmap(self._badge.icon, colours.fg, side, self.devicePixelRatioF())
        painter.drawPixmap(QPointF(PADDING, (self.height() - side) / 2), picture)
        painter.setPen(QColor(colours.fg))
        words = QRectF(PADDING + side + GAP, 0, self.width(), self.height())
        painter.drawText(words, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, self.text)

    @Slot()
    def _repaint(self) -> None:
        self.update()
