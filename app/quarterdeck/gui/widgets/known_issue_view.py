"""One known issue, to read."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QFrame, QGridLayout, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from quarterdeck.gui import theme
from quarterdeck.gui.presenters.known_issues import IssueRow, sections
from quarterdeck.gui.widgets.badge import StatusBadge
from quarterdeck.gui.widgets.emptying import empty
from quarterdeck.gui.widgets.scrolling import ScrollingColumn
from quarterdeck.gui.widgets.words import words


class KnownIssueView(QFrame):
    """Empty until `show_issue`. `remove_wanted(id)` is offered for entries of one's own."""

    remove_wanted = Signal(str)
    copied = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("card", True)
        self._row: IssueRow | None = None
        self.title = words("heading")
        self.badge = StatusBadge()
        self.copy = QPushButton("Copy")
        self.copy.setAccessibleName("Copy the known issue")
        self.copy.clicked.connect(self._copy)
        self.remove = QPushButton("Remove…")
        self.remove.setAccessibleName("Remove the known issue")
        self.remove.clicked.connect(self._remove)
        top = QHBoxLayout()
        top.setSpacing(10)
        top.addWidget(self.badge, 0, Qt.AlignmentFlag.AlignTop)
        top.addWidget(self.title, 1)
        top.addWidget(self.copy, 0, Qt.AlignmentFlag.AlignTop)
        top.addWidget(self.remove, 0, Qt.AlignmentFlag.AlignTop)
        inside = QWidget()
        inside.setProperty("plain", True)
        self._grid = QGridLayout(inside)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(14)
        self._grid.setVerticalSpacing(8)
        self._grid.setColumnStretch(1, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(16, 12, 12, 12)
        column.setSpacing(10)
        column.addLayout(top)
        column.addWidget(ScrollingColumn(inside), 1)
        theme.notifier.changed.connect(self._icons)
        self._icons()
        self.show_issue(None)

    def show_issue(self, row: IssueRow | None) -> None:
        if row == self._row and row is not None:
            return
        self._row = row
        empty(self._grid)
        for part in (self.title, self.badge, self.copy):
            part.setVisible(row is not None)
        self.remove.setVisible(row is not None and row.issue.own)
        if row is None:
            return
        self.setAccessibleName(f"Known issue: {row.title}")
        self.title.setText(row.title)
        self.badge.show_badge(row.badge)
        for place, (heading, lines) in enumerate(sections(row.issue)):
            text = words("", "\n".join(lines))
            text.setAccessibleName(f"{heading}: {'; '.join(lines)}")
            self._grid.addWidget(words("muted", heading), place, 0, Qt.AlignmentFlag.AlignTop)
            self._grid.addWidget(text, place, 1)

    @property
    def text(self) -> str:
        """The entry as it is copied."""
        if self._row is None:
            return ""
        parts = [f"{heading}:\n" + "\n".join(lines) for heading, lines in sections(self._row.issue)]
        return "\n\n".join([self._row.title, *parts])

    @Slot()
    def _copy(self) -> None:
        QGuiApplication.clipboard().setText(self.text)
        self.copied.emit("the known issue")

    @Slot()
    def _remove(self) -> None:
        if self._row is not None:
            self.remove_wanted.emit(self._row.issue.id)

    @Slot()
    def _icons(self) -> None:
        self.copy.setIcon(theme.icon("copy"))
        self.remove.setIcon(theme.icon("delete"))
