"""Everything about one request: outcome, timings, what was changed, and the four texts where they were kept."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtWidgets import (
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QScrollArea,
    QTabWidget,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from quarterdeck.gui import theme
from quarterdeck.gui.presenters.changes import Remark, remarks
from quarterdeck.gui.presenters.requests import RequestRow, facts
from quarterdeck.gui.presenters.texts import side
from quarterdeck.gui.widgets.badge import StatusBadge
from quarterdeck.gui.widgets.elided import ElidedLabel, LinkLine
from quarterdeck.gui.widgets.emptying import empty
from quarterdeck.gui.widgets.text_pair import TextPair
from quarterdeck.schemas.requests import RequestDetail

SUMMARY, REQUEST, ANSWER = range(3)
FACT_COLUMNS = 2
GAP = 2


class RequestDetailPanel(QFrame):
    """`closed` asks the page to hide it, `copied` says that a text was copied, `why_wanted(subject)` asks why."""

    closed = Signal()
    why_wanted = Signal(str)
    copied = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("card", True)
        self.row: RequestRow | None = None
        self._subject = ""
        self._build()
        theme.notifier.changed.connect(self._icons)
        self._icons()

    def _build(self) -> None:
        self._badge = StatusBadge()
        self._title = ElidedLabel()
        self._title.setProperty("role", "heading")
        self._close = QToolButton()
        self._close.setProperty("kind", "quiet")
        self._close.setAccessibleName("Close the details")
        self._close.setToolTip("Close the details (Esc)")
        self._close.clicked.connect(self.closed)
        top = QHBoxLayout()
        top.setSpacing(10)
        top.addWidget(self._badge)
        top.addWidget(self._title, 1)
        top.addWidget(self._close)
        self.request = TextPair("From the client", "To the backend")
        self.answer = TextPair("From the backend", "To the client")
        self.tabs = QTabWidget()
        self.tabs.setDocumentMode(True)
        self.tabs.setAccessibleName("Details of the request")
        self.tabs.tabBar().setAccessibleName("Parts of the details")
        self.tabs.tabBar().setDrawBase(False)
        self.tabs.addTab(self._build_summary(), "Summary")
        self.tabs.addTab(self.request, "Request")
        self.tabs.addTab(self.answer, "Answer")
        for pair in (self.request, self.answer):
            pair.copied.connect(self.copied)
        column = QVBoxLayout(self)
        column.setContentsMargins(16, 10, 16, 12)
        column.setSpacing(6)
        column.addLayout(top)
        column.addWidget(self.tabs, 1)

    def _build_summary(self) -> QWidget:
        inside = QWidget()
        inside.setProperty("plain", True)
        column = QVBoxLayout(inside)
        column.setContentsMargins(0, 10, 0, 0)
        column.setSpacing(8)
        self.error = _words("error")
        self.error.setAccessibleName("Why it failed")
        self._summary = QGridLayout()
        self._summary.setHorizontalSpacing(10)
        self._summary.setVerticalSpacing(6)
        for place in range(FACT_COLUMNS):
            self._summary.setColumnStretch(2 * place + 1, 1)
        self.why = LinkLine()
        self.why.setToolTip("Show what helps")
        self.why.clicked.connect(self._open_why)
        self.why.hide()
        column.addWidget(self.error)
        column.addWidget(self.why)
        column.addLayout(self._summary)
        column.addStretch()
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setWidget(inside)
        area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        return area

    def show_row(self, row: RequestRow) -> None:
        """Show a request; its texts follow by `show_texts`."""
        self.row = row
        view = row.view
        self._badge.show_badge(row.badge)
        self._title.setText(" · ".join(part for part in (row.model, row.operation) if part))
        self.setAccessibleName(f"Details of the request for {row.model}, {row.badge.word}")
        self.error.setText(view.error or "")
        self.error.setVisible(bool(view.error))
        self._show_summary(facts(row), remarks(view))
        self.show_texts(RequestDetail(request=view))

    def show_why(self, words: str, subject: str) -> None:
        """The line that leads to the problem of `subject` which the request shows; empty where there is none."""
        self._subject = subject
        self.why.setText(words)
        self.why.setVisible(bool(words))

    def show_texts(self, detail: RequestDetail) -> None:
        """The four texts, or in their place why there are none."""
        kept = any((detail.original, detail.converted, detail.upstream, detail.answer))
        self.request.show_sides(side(detail.original, any_kept=kept), side(detail.converted, any_kept=kept))
        self.answer.show_sides(side(detail.upstream, any_kept=kept), side(detail.answer, any_kept=kept))

    def fact(self, label: str) -> str:
        """The value shown beside a label; empty when it is not shown."""
        items = (self._summary.itemAt(place) for place in range(self._summary.count()))
        shown = (item.widget() for item in items if item is not None)
        texts = [part.text() for part in shown if isinstance(part, QLabel)]
        return dict(zip(texts[::2], texts[1::2], strict=True)).get(label, "")

    def _show_summary(self, rows: list[tuple[str, str]], found: list[Remark]) -> None:
        empty(self._summary)
        deep = -(-len(rows) // FACT_COLUMNS)
        for place, (label, value) in enumerate(rows):
            across, down = divmod(place, deep)
            shown = ElidedLabel()
            shown.setText(value)
            shown.setToolTip(value)
            shown.setAccessibleName(f"{label}: {value}")
            self._summary.addWidget(_label(label), down, 2 * across)
            self._summary.addWidget(shown, down, 2 * across + 1)
        self._summary.setRowMinimumHeight(deep, GAP)
        for down, (heading, items) in enumerate(found, start=deep + 1):
            told = _words("")
            told.setText("\n".join(items))
            told.setAccessibleName(f"{heading}: {'; '.join(items)}")
            self._summary.addWidget(_label(heading), down, 0, Qt.AlignmentFlag.AlignTop)
            self._summary.addWidget(told, down, 1, 1, 2 * FACT_COLUMNS - 1)

    @Slot()
    def _open_why(self) -> None:
        if self._subject:
            self.why_wanted.emit(self._subject)

    @Slot()
    def _icons(self) -> None:
        told = theme.tokens().info.fg
        self.why.setIcon(theme.icon("diagnosis", told))
        self.why.set_colour(told)
        self._close.setIcon(theme.icon("close", theme.tokens().muted))


def _label(text: str) -> QLabel:
    label = QLabel(text)
    label.setProperty("role", "muted")
    return label


def _words(role: str) -> QLabel:
    label = QLabel()
    label.setProperty("role", role)
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setWordWrap(True)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return label
