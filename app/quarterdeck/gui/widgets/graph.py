"""One live graph: title, current value, one line over the last seconds. Imports pyqtgraph; load it when needed."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pyqtgraph as pg
from PySide6.QtCore import QEvent, QPointF, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QEnterEvent,
    QFocusEvent,
    QFont,
    QFontMetrics,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
)
from PySide6.QtWidgets import QHBoxLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from quarterdeck.gui import theme
from quarterdeck.gui.presenters.hardware import (
    UNITS,
    Metric,
    Reading,
    Scale,
    moment_text,
    number,
    span_text,
    spoken,
)
from quarterdeck.gui.presenters.history import value_at

# pyqtgraph's own clean-up at exit walks over objects that Qt has already deleted.
pg.setConfigOption("exitCleanup", False)

SMOOTH_POINTS = 300
KEY_STEPS = 60
PLOT_LINES = 8
BOTTOM_GAP = 6
GRID_ALPHA = 60
SERIES = {Metric.UTILIZATION: 0, Metric.MEMORY: 2, Metric.TEMPERATURE: 1, Metric.POWER: 3}


class Graph(QWidget):
    """Draws what it is given; `pointed(seconds)` says where the pointer is (0 is now, NaN is nowhere)."""

    pointed = Signal(float)

    def __init__(self, owner: str, metric: Metric, title: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._owner = owner
        self._metric = metric
        self._unit = UNITS[metric]
        self._title = title
        self._reading = Reading(math.nan, "")
        self._scale = Scale(0)
        self._span = 0.0
        self._cursor_at = math.nan
        self._x: Sequence[float] = ()
        self._y: Sequence[float] = ()
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setMouseTracking(True)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._build_labels()
        self._build_plot()
        column = QVBoxLayout(self)
        column.setContentsMargins(6, 4, 6, 4)
        column.setSpacing(2)
        column.addLayout(self._labels)
        column.addWidget(self._plot)
        self.recolour()

    def _build_labels(self) -> None:
        self._name = QLabel(self._title)
        self._name.setProperty("role", "muted")
        self._value = QLabel()
        self._value.setObjectName("value")
        font = QFont(self._value.font())
        font.setWeight(QFont.Weight.DemiBold)
        font.setFeature(QFont.Tag("tnum"), 1)
        self._value.setFont(font)
        self._value.setAlignment(Qt.AlignmentFlag.AlignRight)
        # The text changes with the pointer; the graphs must not change their width with it.
        self._value.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._labels = QHBoxLayout()
        self._labels.addWidget(self._name)
        self._labels.addWidget(self._value, 1)

    def _build_plot(self) -> None:
        line = self.fontMetrics().height()
        self._plot = pg.PlotWidget(self)
        self._plot.setFixedHeight(line * PLOT_LINES)
        self._plot.setMinimumWidth(line * 8)
        self._plot.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        # The wheel belongs to the page and the pointer to this widget.
        self._plot.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self._item = self._plot.getPlotItem()
        self._item.setMenuEnabled(False)
        self._item.setMouseEnabled(x=False, y=False)
        self._item.hideButtons()
        self._item.disableAutoRange()
        small = QFont(self.font())
        small.setPointSizeF(small.pointSizeF() * 0.85)
        for side in ("left", "bottom"):
            self._item.getAxis(side).setStyle(tickFont=small, tickLength=0, maxTickLevel=0, hideOverlappingLabels=False)
        self._item.getAxis("bottom").setStyle(tickTextOffset=BOTTOM_GAP)
        self._item.getAxis("left").setWidth(QFontMetrics(small).horizontalAdvance("99.9 GiB") + 6)
        self._item.layout.setContentsMargins(0, line // 2, self.fontMetrics().horizontalAdvance("now") // 2, 0)
        self._curve = self._item.plot([], [], connect="finite")
        self._limit = pg.InfiniteLine(angle=0)
        self._cursor = pg.InfiniteLine(angle=90)
        self._guides = (pg.InfiniteLine(angle=0), pg.InfiniteLine(angle=0))
        for guide in self._guides:
            self._item.addItem(guide, ignoreBounds=True)
        for extra in (self._limit, self._cursor):
            extra.setVisible(False)
            self._item.addItem(extra, ignoreBounds=True)

    def set_reading(self, reading: Reading) -> None:
        if reading == self._reading:
            return
        self._reading = reading
        self._value.setToolTip(reading.tip)
        self.setToolTip(reading.tip if math.isnan(reading.value) else "")
        self._colour_value()
        self.setAccessibleName(spoken(self._owner, self._title, reading.text, reading.tip))
        self._show_value()

    def set_scale(self, scale: Scale) -> None:
        if scale == self._scale:
            return
        self._scale = scale
        self._item.setYRange(0, scale.top, padding=0.01)
        for guide, level in zip(self._guides, (scale.top / 2, scale.top), strict=True):
            guide.setValue(level)
        marks = [(0, "0"), (scale.top / 2, f"{scale.top / 2:.3g}"), (scale.top, f"{scale.top:.3g} {self._unit}")]
        self._item.getAxis("left").setTicks([marks])
        self._limit.setVisible(scale.limit is not None)
        if scale.limit is not None:
            self._limit.setValue(scale.limit)

    def set_span(self, seconds: float) -> None:
        """How many seconds the graph shows."""
        if seconds == self._span:
            return
        self._span = seconds
        self._item.setXRange(-seconds, 0, padding=0)
        marks = [(-seconds, span_text(seconds)), (-seconds / 2, span_text(seconds / 2)), (0, "now")]
        self._item.getAxis("bottom").setTicks([marks])

    def draw(self, x: Sequence[float], y: Sequence[float]) -> None:
        """Show these points; `x` in seconds relative to now."""
        self._x, self._y = x, y
        self._curve.setData(x, y, antialias=len(x) <= SMOOTH_POINTS)
        if not math.isnan(self._cursor_at):
            self._show_value()

    def point_at(self, seconds: float) -> None:
        """Put the cursor there and show the value of that moment; NaN takes it away."""
        self._cursor_at = seconds
        self._cursor.setVisible(not math.isnan(seconds))
        if not math.isnan(seconds):
            self._cursor.setValue(seconds)
        self._colour_value()
        self._show_value()

    def value_text(self) -> str:
        return self._value.text()

    def recolour(self) -> None:
        tokens = theme.tokens()
        self._colour_value()
        self._plot.setBackground(tokens.surface)
        self._curve.setPen(pg.mkPen(tokens.series[SERIES[self._metric]], width=1))
        self._limit.setPen(pg.mkPen(tokens.warn.fg, width=1, style=Qt.PenStyle.DashLine))
        self._cursor.setPen(pg.mkPen(tokens.muted, width=1))
        lines = QColor(tokens.muted)
        lines.setAlpha(GRID_ALPHA)
        for side in ("left", "bottom"):
            axis = self._item.getAxis(side)
            axis.setPen(pg.mkPen(lines, width=1))
            axis.setTextPen(tokens.muted)
        for guide in self._guides:
            guide.setPen(pg.mkPen(lines, width=1))
        self.update()

    def _colour_value(self) -> None:
        """The current value has the colour of its tone; one of the past has none."""
        tone = self._reading.tone if math.isnan(self._cursor_at) else ""
        sheet = f"color: {getattr(theme.tokens(), tone).fg}" if tone else ""
        if sheet != self._value.styleSheet():
            self._value.setStyleSheet(sheet)

    def _show_value(self) -> None:
        if math.isnan(self._cursor_at):
            self._value.setText(self._reading.text)
            return
        at, value = value_at(self._x, self._y, self._cursor_at)
        self._value.setText(f"{number(self._metric, value)} · {moment_text(at)}")

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        self.pointed.emit(self._seconds_at(event.position()))

    def enterEvent(self, event: QEnterEvent) -> None:
        self.pointed.emit(self._seconds_at(event.position()))

    def leaveEvent(self, event: QEvent) -> None:
        self.pointed.emit(math.nan)

    def focusOutEvent(self, event: QFocusEvent) -> None:
        self.pointed.emit(math.nan)
        self.update()

    def focusInEvent(self, event: QFocusEvent) -> None:
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        if self.hasFocus():
            painter = QPainter(self)
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.setPen(QPen(QColor(theme.tokens().accent), 2))
            painter.drawRoundedRect(self.rect().adjusted(1, 1, -1, -1), 6, 6)
            painter.end()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Left and Right move the cursor through time, Escape takes it away."""
        step = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}.get(Qt.Key(event.key()))
        if step is not None:
            start = 0.0 if math.isnan(self._cursor_at) else self._cursor_at
            self.pointed.emit(min(0.0, max(-self._span, start + step * self._span / KEY_STEPS)))
        elif event.key() == Qt.Key.Key_Escape and not math.isnan(self._cursor_at):
            self.pointed.emit(math.nan)
        else:
            super().keyPressEvent(event)

    def _seconds_at(self, position: QPointF) -> float:
        inside = self._plot.mapFrom(self, position.toPoint())
        at = self._item.vb.mapSceneToView(self._plot.mapToScene(inside)).x()
        return float(at) if self._plot.rect().contains(inside) and -self._span <= at <= 0 else math.nan
