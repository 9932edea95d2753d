"""What the lines of a log tell, beside them: the cause, the lines that show it, what helps."""

from __future__ import annotations

from PySide6.QtCore import QSize, Signal, Slot
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QToolButton, QVBoxLayout, QWidget

from quarterdeck.errors import AppError
from quarterdeck.gui import theme
from quarterdeck.gui.presenters.badges import Badge, Tone
from quarterdeck.gui.presenters.why import Advice, Why
from quarterdeck.gui.widgets.badge import StatusBadge, shade
from quarterdeck.gui.widgets.copy_line import CopyLine
from quarterdeck.gui.widgets.elided import LinkLine
from quarterdeck.gui.widgets.emptying import empty
from quarterdeck.gui.widgets.evidence import EvidenceList
from quarterdeck.gui.widgets.scrolling import ScrollingColumn
from quarterdeck.gui.widgets.words import say, words

WIDTH_IN_LETTERS = 62
READING = Badge("loading", "Reading", Tone.INFO, "The lines are being read.")
NOT_READ = Badge("error", "Not read", Tone.ERROR, "The lines could not be explained.")


class WhyPanel(QFrame):
    """`line_chosen(line)` is a line of the text that was explained, counted from 1."""

    line_chosen = Signal(int)
    issue_wanted = Signal(str)
    copied = Signal(str)
    closed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("card", True)
        self.setAccessibleName("Why it failed")
        self._issue = ""
        self._build()
        theme.notifier.changed.connect(self._icons)
        self._icons()

    def _build(self) -> None:
        heading = QLabel("Why?")
        heading.setProperty("role", "heading")
        self.badge = StatusBadge()
        self._close = QToolButton()
        self._close.setProperty("kind", "quiet")
        self._close.setAccessibleName("Close the explanation")
        self._close.setToolTip("Close the explanation (Esc)")
        self._close.clicked.connect(self.closed)
        top = QHBoxLayout()
        top.setSpacing(10)
        top.addWidget(heading)
        top.addWidget(self.badge)
        top.addStretch()
        top.addWidget(self._close)
        self._about, self._why = words("muted"), words()
        self._title = words("heading")
        self._shown = words("muted", "The lines that show it")
        self.evidence = EvidenceList()
        self.evidence.chosen.connect(self.line_chosen)
        self._helps = words("muted", "What helps")
        self._advice = QVBoxLayout()
        self._advice.setSpacing(8)
        self.known = LinkLine()
        self.known.clicked.connect(self._show_issue)
        inside = QWidget()
        inside.setProperty("plain", True)
        column = QVBoxLayout(inside)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(8)
        for part in (self._about, self._title, self._why, self.known, self._shown, self.evidence, self._helps):
            column.addWidget(part)
        column.addLayout(self._advice)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(16, 10, 12, 12)
        outer.setSpacing(8)
        outer.addLayout(top)
        outer.addWidget(ScrollingColumn(inside), 1)

    def sizeHint(self) -> QSize:
        """As wide as a sentence reads well; the lines keep the rest."""
        return QSize(self.fontMetrics().averageCharWidth() * WIDTH_IN_LETTERS, super().sizeHint().height())

    def show_reading(self, about: str) -> None:
        """`about` says whose lines are read."""
        self._show(READING, about, "", "")

    def show_error(self, error: AppError) -> None:
        self._show(NOT_READ, self._about.text(), error.sentence, error.hint)

    def show_why(self, why: Why, about: str, *, known_title: str) -> None:
        """Show an explanation; `known_title` is the title of the known issue that fits."""
        self._show(why.badge, about, why.title, why.why)
        self._issue = why.known_issue
        self.known.setText(f"Known issue: {known_title}")
        self.known.setVisible(bool(why.known_issue))
        self.evidence.show_lines(why.evidence)
        self._shown.setVisible(bool(why.evidence))
        self._helps.setVisible(bool(why.advice))
        for advice in why.advice:
            self._add(advice)

    @property
    def texts(self) -> list[str]:
        """Title, reason and advice as they are told."""
        found = [self._about.text(), self._title.text(), self._why.text()]
        for row in range(self._advice.count()):
            item = self._advice.itemAt(row)
            part = item.widget() if item is not None else None
            if isinstance(part, QLabel):
                found.append(part.text())
            elif isinstance(part, CopyLine):
                found.append(part.line.text())
        return [text for text in found if text]

    def _show(self, badge: Badge, about: str, title: str, why: str) -> None:
        self.badge.show_badge(badge)
        for label, text in ((self._about, about), (self._title, title), (self._why, why)):
            say(label, text)
        for part in (self.known, self._shown, self._helps):
            part.hide()
        self.evidence.show_lines([])
        empty(self._advice)

    def _add(self, advice: Advice) -> None:
        self._advice.addWidget(words("", f"• {advice.title}"))
        if advice.detail:
            self._advice.addWidget(words("mono", advice.detail))
        if advice.command:
            line = CopyLine(advice.command, "the command")
            line.copied.connect(self.copied)
            self._advice.addWidget(line)

    @Slot()
    def _show_issue(self) -> None:
        self.issue_wanted.emit(self._issue)

    @Slot()
    def _icons(self) -> None:
        self._close.setIcon(theme.icon("close", theme.tokens().muted))
        tone = shade(Tone.INFO)
        self.known.setIcon(theme.icon("info", tone.fg))
        self.known.set_colour(tone.fg)
