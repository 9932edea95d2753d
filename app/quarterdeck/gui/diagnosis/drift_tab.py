"""The configuration files, and where what is declared is not what runs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtWidgets import (
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from quarterdeck.gui import theme
from quarterdeck.gui.diagnosis.look_tab import LookTab
from quarterdeck.gui.models.drift_list import DifferenceList, FileList
from quarterdeck.gui.presenters.drift import (
    FileRow,
    difference_row,
    file_facts,
    file_row,
    no_differences,
    summary,
)
from quarterdeck.gui.widgets.elided import ElidedLabel
from quarterdeck.gui.widgets.empty_state import EmptyState
from quarterdeck.gui.widgets.emptying import empty
from quarterdeck.gui.widgets.scrolling import ScrollingColumn
from quarterdeck.gui.widgets.splitting import plain_split
from quarterdeck.gui.widgets.tables import line_table
from quarterdeck.gui.widgets.words import words

if TYPE_CHECKING:
    from quarterdeck.gui.store import Store
    from quarterdeck.schemas.report import DriftReport


class DriftTab(LookTab):
    """Compares whenever it is shown. `problems_wanted(subject)` asks for the problems of a file."""

    problems_wanted = Signal(str)

    def __init__(self, store: Store, parent: QWidget | None = None) -> None:
        super().__init__(store, "Compare again", "Comparing…", parent)
        self._files: list[FileRow] = []
        self.files, self.differences = FileList(self), DifferenceList(self)
        self._build()
        store.problems.changed.connect(self._show_current)
        theme.notifier.changed.connect(self._icons)
        self._icons()

    def _build(self) -> None:
        self.line = ElidedLabel()
        self.line.setProperty("role", "muted")
        self.again.setToolTip("Read the files and ask the servers anew")
        header = QHBoxLayout()
        header.addWidget(self.line, 1)
        header.addWidget(self.again)
        self.file_table = line_table(self.files, "Configuration files", widths=(24, 44, 32, 16))
        self.file_table.selectionModel().selectionChanged.connect(self._show_current)
        self.difference_table = line_table(self.differences, "Differences", widths=(14, 34, 22, 30))
        split = plain_split(Qt.Orientation.Vertical)
        split.addWidget(_titled("Configuration files", self.file_table))
        split.addWidget(self._build_detail())
        self.no_difference = EmptyState("ok", "No differences", "What runs is what is declared.")
        self._differences = QStackedWidget()
        self._differences.addWidget(self.difference_table)
        self._differences.addWidget(self.no_difference)
        split.addWidget(_titled("Declared against running", self._differences))
        split.setSizes([900, 900, 900])
        self.lay_out(header, split)

    def _build_detail(self) -> QWidget:
        self.detail = QFrame()
        self.detail.setProperty("card", True)
        inside = QWidget()
        inside.setProperty("plain", True)
        self._facts = QGridLayout(inside)
        self._facts.setContentsMargins(0, 0, 0, 0)
        self._facts.setHorizontalSpacing(14)
        self._facts.setVerticalSpacing(6)
        self._facts.setColumnStretch(1, 1)
        self.problems = QPushButton("Show its problems")
        self.problems.setToolTip("What is wrong with this file, and the changes that help")
        self.problems.clicked.connect(self._show_problems)
        row = QHBoxLayout(self.detail)
        row.setContentsMargins(16, 12, 12, 12)
        row.addWidget(ScrollingColumn(inside), 1)
        row.addWidget(self.problems, 0, Qt.AlignmentFlag.AlignTop)
        self.detail.hide()
        return self.detail

    async def fetch(self) -> None:
        """Have declared and running compared and show it. Raises AppError."""
        self._show(await self._store.api().drift())

    def show_buttons(self) -> None:
        self.again.setEnabled(self._store.connected)

    def _show(self, report: DriftReport) -> None:
        now = datetime.now(UTC)
        servers = {name: backend.title for name, backend in self._store.backends.items()}
        chosen = self._chosen()
        self._files = [file_row(view, now) for view in report.files]
        self.files.show(self._files)
        self.differences.show([difference_row(found, servers) for found in report.differences])
        self.no_difference.show_state("ok", *no_differences(report))
        self._differences.setCurrentIndex(0 if report.differences else 1)
        self.line.setText(summary(report, now))
        paths = [row.view.path for row in self._files]
        if paths:
            self.file_table.selectRow(paths.index(chosen.view.path) if chosen and chosen.view.path in paths else 0)
        if self._files or report.differences:
            self.show_content()
        else:
            text = "No configuration file of a gateway or a server is known. Import one, or start a server with one."
            self.say_empty("file", "Nothing to compare", text)

    def _chosen(self) -> FileRow | None:
        rows = self.file_table.selectionModel().selectedRows()
        return self._files[rows[0].row()] if rows and rows[0].row() < len(self._files) else None

    @Slot()
    def _show_current(self) -> None:
        chosen = self._chosen()
        self.detail.setVisible(chosen is not None)
        empty(self._facts)
        if chosen is None:
            return
        self.detail.setAccessibleName(f"Facts about {chosen.name}")
        self.problems.setVisible(bool(self._store.problems.about(_subject(chosen))))
        for place, (label, value) in enumerate(file_facts(chosen)):
            self._facts.addWidget(words("muted", label), place, 0, Qt.AlignmentFlag.AlignTop)
            self._facts.addWidget(words("error" if label == "Faults" else "", value), place, 1)

    @Slot()
    def _show_problems(self) -> None:
        chosen = self._chosen()
        if chosen is not None:
            self.problems_wanted.emit(_subject(chosen))

    @Slot()
    def _icons(self) -> None:
        self.again.setIcon(theme.icon("restart"))


def _subject(row: FileRow) -> str:
    return f"file:{row.view.path}"


def _titled(title: str, content: QWidget) -> QWidget:
    holder = QWidget()
    column = QVBoxLayout(holder)
    column.setContentsMargins(0, 0, 0, 0)
    column.setSpacing(6)
    heading = QLabel(title)
    heading.setProperty("role", "heading")
    column.addWidget(heading)
    column.addWidget(content, 1)
    return holder
