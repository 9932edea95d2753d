"""The steps of the doctor as they come: how each came out, what it found, what to do."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QFrame, QGridLayout, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from quarterdeck.gui import theme
from quarterdeck.gui.presenters.doctor import STATES, spoken, time_words
from quarterdeck.gui.widgets.badge import StatusBadge, shade
from quarterdeck.gui.widgets.copy_line import CopyLine
from quarterdeck.gui.widgets.words import say, words
from quarterdeck.schemas.doctor import DoctorReport, DoctorStep, StepState


class StepList(QFrame):
    """A card for one connection: its steps first, its verdict when the report is there. `copied(what)`."""

    copied = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("card", True)
        self.steps: list[DoctorStep] = []
        self.report: DoctorReport | None = None
        self._icons: list[QLabel] = []
        self._badge = StatusBadge()
        self._badge.hide()
        self._title = words("heading")
        self.copy = QPushButton("Copy report")
        self.copy.clicked.connect(self._copy)
        self.copy.hide()
        top = QHBoxLayout()
        top.setSpacing(10)
        top.addWidget(self._badge, 0, Qt.AlignmentFlag.AlignTop)
        top.addWidget(self._title, 1)
        top.addWidget(self.copy, 0, Qt.AlignmentFlag.AlignTop)
        self._sentence = words()
        self._sentence.hide()
        self._repaired = QVBoxLayout()
        self._grid = QGridLayout()
        self._grid.setHorizontalSpacing(10)
        self._grid.setVerticalSpacing(6)
        self._grid.setColumnStretch(2, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(16, 12, 16, 14)
        column.setSpacing(8)
        column.addLayout(top)
        column.addWidget(self._sentence)
        column.addLayout(self._repaired)
        column.addLayout(self._grid)
        theme.notifier.changed.connect(self._paint)

    def begin(self, title: str) -> None:
        """Say what is examined until the report names it."""
        self._title.setText(title)
        self.setAccessibleName(f"Examination of {title}")

    def add_step(self, step: DoctorStep) -> None:
        """Add a step below the others."""
        row = len(self.steps)
        self.steps.append(step)
        icon = QLabel()
        icon.setToolTip(STATES[step.state].word)
        icon.setAccessibleName(STATES[step.state].word)
        self._icons.append(icon)
        role = "muted" if step.state is StepState.SKIPPED else ""
        found = words(role, step.finding)
        found.setAccessibleName(spoken(step))
        cell = QVBoxLayout()
        cell.setSpacing(2)
        cell.addWidget(found)
        if step.fix:
            cell.addWidget(words("muted", step.fix))
        top = Qt.AlignmentFlag.AlignTop
        self._grid.addWidget(icon, row, 0, top)
        self._grid.addWidget(_short(role, step.title), row, 1, top)
        self._grid.addLayout(cell, row, 2)
        self._grid.addWidget(_short("muted", time_words(step)), row, 3, top | Qt.AlignmentFlag.AlignRight)
        self._paint()

    def finish(self, report: DoctorReport) -> None:
        """Show the verdict; steps that were not told one by one are added."""
        self.report = report
        for step in report.steps[len(self.steps) :]:
            self.add_step(step)
        self.begin(report.target)
        self._badge.show_badge(STATES[report.state])
        self._badge.show()
        say(self._sentence, report.sentence)
        self.copy.setVisible(bool(report.text))
        self.copy.setAccessibleName(f"Copy the report on {report.target}")
        if report.repaired_url:
            self._repaired.addWidget(words("muted", "This address works:"))
            line = CopyLine(report.repaired_url, "the address that works")
            line.copied.connect(self.copied)
            self._repaired.addWidget(line)

    @property
    def texts(self) -> list[str]:
        """The steps as they are told."""
        return [spoken(step) for step in self.steps]

    @Slot()
    def _copy(self) -> None:
        if self.report is not None:
            QGuiApplication.clipboard().setText(self.report.text)
            self.copied.emit("the report")

    @Slot()
    def _paint(self) -> None:
        size = self.fontMetrics().height()
        for icon, step in zip(self._icons, self.steps, strict=True):
            look = STATES[step.state]
            icon.setPixmap(theme.pixmap(look.icon, shade(look.tone).fg, size, self.devicePixelRatioF()))
        self.copy.setIcon(theme.icon("copy"))


def _short(role: str, text: str) -> QLabel:
    label = QLabel(text)
    label.setProperty("role", role)
    return label
