"""The memory of one GPU as a bar of who holds it, with a legend."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from PySide6.QtCore import QEvent, QRectF, Qt, Slot
from PySide6.QtGui import QColor, QHelpEvent, QPainter, QPainterPath, QPaintEvent, QPen
from PySide6.QtWidgets import QLabel, QSizePolicy, QToolTip, QVBoxLayout, QWidget

from quarterdeck.gui import theme
from quarterdeck.gui.presenters import text
from quarterdeck.gui.presenters.gpu_memory import Kind, Share, spoken

RADIUS = 4
GAP = 2
LEAST_WIDTH = 3
# How grey is what is no model.
OTHERS_STRENGTH, DRIVER_STRENGTH = 0.65, 0.35
FULL, EMPTY = "■", "□"


class MemoryBar(QWidget):
    """Shows shares; takes no room when there are none."""

    def __init__(self, owner: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._owner = owner
        self._shares: tuple[Share, ...] = ()
        self.bar = _Bar()
        self.legend = QLabel()
        self.legend.setTextFormat(Qt.TextFormat.RichText)
        self.legend.setWordWrap(True)
        column = QVBoxLayout(self)
        column.setContentsMargins(6, 6, 6, 4)
        column.setSpacing(5)
        column.addWidget(self.bar)
        column.addWidget(self.legend)
        self.hide()
        theme.notifier.changed.connect(self._write_legend)

    def show_shares(self, shares: Sequence[Share], total: int | None) -> None:
        if tuple(shares) == self._shares:
            return
        self._shares = tuple(shares)
        self.setVisible(bool(shares))
        self.setAccessibleName(spoken(self._owner, shares, total))
        self.bar.show_shares(self._shares)
        self._write_legend()

    @Slot()
    def _write_legend(self) -> None:
        # Blanks that do not break keep each entry together when the legend wraps.
        entries = []
        for share in self._shares:
            words = f"{share.label} {text.size(share.size)}".replace(" ", "\u00a0")
            sign = EMPTY if share.kind is Kind.FREE else FULL
            entries.append(f'<span style="color:{_colour(share, on_paper=True)}">{sign}</span>\u00a0{escape(words)}')
        self.legend.setText("\u00a0\u00a0\u00a0 ".join(entries))


class _Bar(QWidget):
    """The painted part; its tooltip is that of the share under the pointer."""

    def __init__(self) -> None:
        super().__init__()
        self._shares: tuple[Share, ...] = ()
        self.setFixedHeight(self.fontMetrics().height())
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        theme.notifier.changed.connect(self.update)

    def show_shares(self, shares: tuple[Share, ...]) -> None:
        self._shares = shares
        self.update()

    def event(self, event: QEvent) -> bool:
        if isinstance(event, QHelpEvent) and event.type() == QEvent.Type.ToolTip:
            tip = next((share.tip for share, part in self._parts() if part.right() >= event.pos().x()), "")
            QToolTip.showText(event.globalPos(), tip, self)
            return True
        return super().event(event)

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        outline = QPainterPath()
        outline.addRoundedRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), RADIUS, RADIUS)
        painter.setClipPath(outline)
        for share, part in self._parts():
            painter.fillRect(
                part.adjusted(0, 0, -GAP if part.right() < self.width() - 1 else 0, 0), QColor(_colour(share))
            )
        painter.setClipping(False)
        painter.setPen(QPen(QColor(theme.tokens().border), 1))
        painter.drawPath(outline)
        painter.end()

    def _parts(self) -> Iterator[tuple[Share, QRectF]]:
        """Each share with its place; a small one keeps a width that can be seen."""
        total = sum(share.size for share in self._shares)
        widths = [max(self.width() * share.size / total, LEAST_WIDTH + GAP) for share in self._shares]
        squeeze = self.width() / sum(widths) if widths else 1.0
        left = 0.0
        for share, width in zip(self._shares, widths, strict=True):
            yield share, QRectF(left, 0, width * squeeze, self.height())
            left += width * squeeze


def _colour(share: Share, *, on_paper: bool = False) -> str:
    """The colour of a share in the bar, or of its sign in the legend."""
    tokens = theme.tokens()
    match share.kind:
        case Kind.MODEL:
            return tokens.series[share.colour]
        case Kind.OTHERS:
            return _between(tokens.muted, tokens.surface, OTHERS_STRENGTH)
        case Kind.DRIVER:
            return _between(tokens.muted, tokens.surface, DRIVER_STRENGTH)
        case Kind.FREE:
            return tokens.muted if on_paper else tokens.window


def _between(one: str, other: str, strength: float) -> str:
    """A colour on the way from `other` to `one`."""
    a, b = QColor(one), QColor(other)
    pairs = ((a.red(), b.red()), (a.green(), b.green()), (a.blue(), b.blue()))
    return QColor(*(round(strength * x + (1 - strength) * y) for x, y in pairs)).name()
