"""Whether a load will fit: verdict, parts, what would fit, and how earlier estimates turned out."""

from __future__ import annotations

from datetime import UTC, datetime

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtGui import QPixmap
from PySide6.QtWidgets import QFrame, QGridLayout, QHBoxLayout, QLabel, QPushButton, QScrollArea, QVBoxLayout, QWidget

from quarterdeck.errors import AppError
from quarterdeck.gui import theme
from quarterdeck.gui.presenters import estimate as words
from quarterdeck.gui.presenters.text import size
from quarterdeck.gui.widgets.badge import StatusBadge
from quarterdeck.gui.widgets.emptying import empty
from quarterdeck.gui.widgets.estimate_bar import EstimateBar, colour
from quarterdeck.schemas.estimate import Estimate, Verdict

RIGHT = Qt.AlignmentFlag.AlignRight
PAST_HEADER = ("Loaded", "Context", "Predicted", "Measured", "Off by")


class EstimatePanel(QScrollArea):
    """`use_context(int)` and `use_advice(float, int)` ask to take over what would fit."""

    use_context = Signal(int)
    use_advice = Signal(float, int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._estimate: Estimate | None = None
        self.badge = StatusBadge()
        self.state = _label("muted")
        self.sentence, self.hint = _label(), _label("muted")
        self.bar = EstimateBar()
        self.longest, self.advice = _label(), _label()
        self.holders, self.learned = _label("muted"), _label("muted")
        self.use_longest, self.use_pair = QPushButton("Use it"), QPushButton("Use it")
        self.use_longest.setAccessibleName("Use the longest context that fits")
        self.use_pair.setAccessibleName("Use the options with which vLLM starts")
        self.use_longest.clicked.connect(self._use_longest)
        self.use_pair.clicked.connect(self._use_pair)
        self._legend, self._past = QGridLayout(), QGridLayout()
        self._lay_out()
        theme.notifier.changed.connect(self._show_legend)
        self.show_estimate(None)

    def _lay_out(self) -> None:
        inside = QWidget()
        inside.setProperty("plain", True)
        self._legend.setHorizontalSpacing(8)
        self._legend.setVerticalSpacing(3)
        self._legend.setColumnStretch(1, 1)
        self._past.setHorizontalSpacing(14)
        self._past.setVerticalSpacing(3)
        self._past.setColumnStretch(0, 1)
        top = QHBoxLayout()
        top.setSpacing(10)
        top.addWidget(self.badge)
        top.addWidget(self.state, 1)
        column = QVBoxLayout(inside)
        column.setContentsMargins(0, 0, 8, 0)
        column.setSpacing(8)
        column.addLayout(top)
        for part in (self.sentence, self.hint, self.bar):
            column.addWidget(part)
        column.addLayout(self._legend)
        for line, button in ((self.longest, self.use_longest), (self.advice, self.use_pair)):
            row = QHBoxLayout()
            row.addWidget(line, 1)
            row.addWidget(button, 0, Qt.AlignmentFlag.AlignTop)
            column.addLayout(row)
        for part in (self.holders, self.learned):
            column.addWidget(part)
        column.addLayout(self._past)
        column.addStretch(1)
        self.setWidget(inside)

    @property
    def estimate(self) -> Estimate | None:
        return self._estimate

    def show_asking(self) -> None:
        """The last estimate stays until the next one is there."""
        self.state.setText("Estimating…")

    def show_blocked(self, why: str) -> None:
        """Nothing can be estimated until something is mended."""
        self.show_estimate(None)
        self.state.setText(why)

    def show_error(self, error: AppError) -> None:
        self.show_estimate(None)
        self.sentence.setText(error.sentence)
        self.hint.setText(error.hint)
        for part in (self.sentence, self.hint):
            part.setVisible(bool(part.text()))

    def show_estimate(self, estimate: Estimate | None) -> None:
        self._estimate = estimate
        self.state.setText("")
        verdict = words.VERDICTS[estimate.verdict if estimate is not None else Verdict.UNKNOWN]
        self.badge.show_badge(verdict)
        lines = {
            self.sentence: estimate.sentence if estimate else "",
            self.hint: estimate.hint if estimate else "",
            self.longest: words.longest_line(estimate) if estimate else "",
            self.advice: words.advice_line(estimate) if estimate else "",
            self.holders: words.holders_line(estimate) if estimate else "",
            self.learned: words.learned_line(estimate) if estimate else "",
        }
        for label, line in lines.items():
            label.setText(line)
            label.setVisible(bool(line))
        self.use_longest.setVisible(bool(estimate and (estimate.max_ctx_that_fits or 0) > 0))
        self.use_pair.setVisible(bool(estimate and estimate.advice is not None))
        shown = words.bar(estimate) if estimate is not None and estimate.total_bytes else None
        self.bar.setVisible(shown is not None)
        self.bar.show_bar(shown)
        self._show_legend()
        self._show_past()

    @Slot()
    def _show_legend(self) -> None:
        empty(self._legend)
        if self._estimate is None or not self._estimate.total_bytes:
            return
        side = self.fontMetrics().height() - 6
        segments = words.bar(self._estimate).segments
        for row, segment in enumerate(segments):
            square = QLabel()
            picture = QPixmap(side, side)
            picture.fill(colour(segment))
            square.setPixmap(picture)
            self._legend.addWidget(square, row, 0)
            self._legend.addWidget(_label("", segment.label, wrap=False), row, 1)
            self._legend.addWidget(_label("", size(segment.bytes), wrap=False), row, 2, RIGHT)
        for row, (label, amount) in enumerate(words.sums(self._estimate), start=len(segments)):
            for column, shown in ((1, label), (2, amount)):
                self._legend.addWidget(_label("muted", shown, wrap=False), row, column, _side(column - 1))

    def _show_past(self) -> None:
        empty(self._past)
        rows = words.past(self._estimate, datetime.now(UTC)) if self._estimate is not None else []
        if not rows:
            return
        for column, title in enumerate(PAST_HEADER):
            self._past.addWidget(_label("muted", title, wrap=False), 0, column, _side(column))
        for place, row in enumerate(rows, start=1):
            for column, shown in enumerate(row):
                self._past.addWidget(_label("", shown, wrap=False), place, column, _side(column))

    @Slot()
    def _use_longest(self) -> None:
        if self._estimate is not None and self._estimate.max_ctx_that_fits:
            self.use_context.emit(self._estimate.max_ctx_that_fits)

    @Slot()
    def _use_pair(self) -> None:
        if self._estimate is not None and self._estimate.advice is not None:
            pair = self._estimate.advice
            self.use_advice.emit(pair.gpu_memory_utilization, pair.max_model_len)


def _side(column: int) -> Qt.AlignmentFlag:
    return RIGHT if column else Qt.AlignmentFlag.AlignLeft


def _label(role: str = "", text: str = "", *, wrap: bool = True) -> QLabel:
    label = QLabel(text)
    label.setProperty("role", role)
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setWordWrap(wrap)
    return label
