"""The card of one problem: what, why, the lines that prove it, what to do, and buttons that do it."""

from __future__ import annotations

from time import monotonic

from PySide6.QtCore import Qt, QTimer, Signal, Slot
from PySide6.QtGui import QHideEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QProgressBar, QPushButton, QVBoxLayout, QWidget

from quarterdeck.gui import theme
from quarterdeck.gui.presenters.badges import Tone
from quarterdeck.gui.presenters.problems import ProblemCard
from quarterdeck.gui.presenters.text import elapsed
from quarterdeck.gui.widgets.badge import StatusBadge, shade
from quarterdeck.gui.widgets.copy_line import CopyLine
from quarterdeck.gui.widgets.elided import LinkLine
from quarterdeck.gui.widgets.evidence import EvidenceList
from quarterdeck.gui.widgets.flow import FlowLayout
from quarterdeck.gui.widgets.words import say, words


class ProblemCardWidget(QFrame):
    """Shows a ProblemCard. `fix_wanted(problem, fix)` carries ids; `issue_wanted(id)` asks for a known issue."""

    fix_wanted = Signal(str, str)
    cancel_wanted = Signal(str)
    subject_wanted = Signal(str)
    issue_wanted = Signal(str)
    copied = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("card", True)
        self.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        self._card: ProblemCard | None = None
        self._doing = ""
        self._began = 0.0
        self._pressed = ""
        self.fixes: dict[str, QPushButton] = {}
        self._copies: list[CopyLine] = []
        self._build()
        self._clock = QTimer(self, interval=1000)
        self._clock.timeout.connect(self._tick)
        theme.notifier.changed.connect(self._icons)
        self._icons()

    def _build(self) -> None:
        self.badge = StatusBadge()
        self.title = words("heading")
        self.subject = QPushButton()
        self.subject.setProperty("kind", "quiet")
        self.subject.clicked.connect(self._show_subject)
        top = QHBoxLayout()
        top.setSpacing(10)
        top.addWidget(self.badge, 0, Qt.AlignmentFlag.AlignTop)
        top.addWidget(self.title, 1)
        top.addWidget(self.subject, 0, Qt.AlignmentFlag.AlignTop)
        self._about = words("muted")
        self._why, self._hint, self._advice = words(), words(), words()
        self.evidence = EvidenceList()
        self.known = LinkLine()
        self.known.clicked.connect(self._show_issue)
        self._commands = QVBoxLayout()
        self._commands.setSpacing(6)
        self._buttons = FlowLayout(spacing=8)
        self._line = words("muted")
        self._bar = QProgressBar(textVisible=False)
        self._bar.setRange(0, 0)
        self.cancel = QPushButton("Cancel")
        self.cancel.clicked.connect(self._cancel)
        under_way = QHBoxLayout()
        under_way.addWidget(self._line, 1)
        under_way.addWidget(self.cancel)
        column = QVBoxLayout(self)
        column.setContentsMargins(16, 12, 16, 14)
        column.setSpacing(7)
        column.addLayout(top)
        for part in (self._about, self._why, self.evidence, self._hint, self._advice, self.known):
            column.addWidget(part)
        column.addLayout(self._buttons)
        column.addLayout(under_way)
        column.addWidget(self._bar)
        column.addLayout(self._commands)

    def show_card(self, card: ProblemCard, *, doing: str, cancellable: bool, offline: bool) -> None:
        """`doing` is the title of the change that is being made just now."""
        before, self._card = self._card, card
        if card != before:
            self._show(card)
        self._show_doing(doing, cancellable)
        self._enable(not doing and not offline)

    def tab_parts(self) -> list[QWidget]:
        """What Tab reaches, from top to bottom."""
        copies = [line.button for line in self._copies]
        return [self.subject, self.evidence, self.known, *self.fixes.values(), self.cancel, *copies]

    @property
    def doing_text(self) -> str:
        """What is being done about it just now; empty when nothing is."""
        return self._line.text() if self._doing else ""

    @property
    def text(self) -> str:
        """Everything it says, for the tests of the page."""
        labels = (self.title, self._about, self._why, self._hint, self._advice)
        return "\n".join(label.text() for label in labels if label.text())

    def _show(self, card: ProblemCard) -> None:
        self.setAccessibleName(f"{card.badge.word}: {card.title}")
        self.setAccessibleDescription(f"{card.why} {card.hint}".strip())
        self.badge.show_badge(card.badge)
        self.title.setText(card.title)
        self.subject.setText(card.show)
        self.subject.setVisible(bool(card.show))
        self.subject.setAccessibleName(f"{card.show}: {card.about}")
        for label, text in ((self._about, card.about), (self._why, card.why), (self._hint, card.hint),
                            (self._advice, "\n".join(f"• {line}" for line in card.advice))):  # fmt: skip
            say(label, text)
        self.evidence.show_lines(card.evidence)
        self.known.setText(f"Known issue: {card.known_title}")
        self.known.setToolTip("Show what is known of it")
        self.known.setVisible(bool(card.known_issue))
        self._show_commands(card)
        self._show_fixes(card)

    def _show_commands(self, card: ProblemCard) -> None:
        for line in self._copies:
            self._commands.removeWidget(line)
            _drop(line)
        self._copies = [CopyLine(command, "the command") for command in card.commands]
        for line in self._copies:
            line.copied.connect(self.copied)
            self._commands.addWidget(line)

    def _show_fixes(self, card: ProblemCard) -> None:
        for button in self.fixes.values():
            self._buttons.removeWidget(button)
            _drop(button)
        self.fixes = {}
        for place, fix in enumerate(card.fixes):
            button = QPushButton(f"{fix.title}…")
            button.setProperty("kind", "" if place else "primary")
            button.setProperty("fix", fix.id)
            button.setAccessibleName(f"{fix.title}: {card.title}")
            button.setToolTip("Shows first what it would change")
            button.clicked.connect(self._fix)
            self._buttons.addWidget(button)
            self.fixes[fix.id] = button

    def _enable(self, enabled: bool) -> None:
        """Qt moves the focus on from a button that is switched off, out of sight maybe: the card keeps it meanwhile."""
        window = self.window()
        held = next((id for id, button in self.fixes.items() if window.focusWidget() is button), "")
        if held and not enabled:
            self._pressed = held
            (self.cancel if not self.cancel.isHidden() else self).setFocus()
        for button in self.fixes.values():
            button.setEnabled(enabled)
        if self._pressed in self.fixes and enabled:
            if window.focusWidget() in (self, self.cancel):
                self.fixes[self._pressed].setFocus()
            self._pressed = ""

    def _show_doing(self, doing: str, cancellable: bool) -> None:
        if doing != self._doing:
            self._doing, self._began = doing, monotonic()
            self._bar.setAccessibleName(f"Progress of: {doing}")
        for part in (self._line, self._bar):
            part.setVisible(bool(doing))
        self.cancel.setVisible(bool(doing) and cancellable)
        self.cancel.setEnabled(True)
        if doing:
            self._tick()
            self._clock.start()
        else:
            self._clock.stop()

    @Slot()
    def _tick(self) -> None:
        self._line.setText(f"{self._doing} · {elapsed(monotonic() - self._began)}")

    @Slot()
    def _fix(self) -> None:
        if self._card is not None:
            self.fix_wanted.emit(self._card.id, str(self.sender().property("fix")))

    @Slot()
    def _cancel(self) -> None:
        if self._card is not None:
            self.cancel.setEnabled(False)
            self.cancel_wanted.emit(self._card.id)

    @Slot()
    def _show_subject(self) -> None:
        if self._card is not None:
            self.subject_wanted.emit(self._card.subject)

    @Slot()
    def _show_issue(self) -> None:
        if self._card is not None:
            self.issue_wanted.emit(self._card.known_issue)

    @Slot()
    def _icons(self) -> None:
        tone = shade(Tone.INFO)
        self.known.setIcon(theme.icon("info", tone.fg))
        self.known.set_colour(tone.fg)

    def hideEvent(self, event: QHideEvent) -> None:
        self._clock.stop()
        super().hideEvent(event)


def _drop(widget: QWidget) -> None:
    widget.hide()
    widget.deleteLater()
