"""The status report as a page, and its checklist."""

from __future__ import annotations

import asyncio
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, QTimer, Slot
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QPushButton,
    QWidget,
)
from shiboken6 import isValid

from quarterdeck.errors import AppError
from quarterdeck.gui import theme
from quarterdeck.gui.diagnosis.look_tab import LookTab
from quarterdeck.gui.dialogs.save_as import ask_where_to_save
from quarterdeck.gui.files import write
from quarterdeck.gui.presenters.report import file_name
from quarterdeck.gui.presenters.text import elapsed
from quarterdeck.gui.widgets.check_list import CheckList
from quarterdeck.gui.widgets.markdown_view import MarkdownView
from quarterdeck.gui.widgets.splitting import plain_split
from quarterdeck.tasks import spawn

if TYPE_CHECKING:
    from quarterdeck.gui.store import Store
    from quarterdeck.schemas.report import CheckItem, StatusReport


class ReportTab(LookTab):
    """Writes the report whenever it is shown; the checklist is run on request."""

    def __init__(self, store: Store, parent: QWidget | None = None) -> None:
        super().__init__(store, "Write again", "Writing…", parent)
        self._report: StatusReport | None = None
        self._checks: list[CheckItem] = []
        self._checking: asyncio.Task[None] | None = None
        self._began = 0.0
        self._build()
        self._clock = QTimer(self, interval=1000)
        self._clock.timeout.connect(self._tick)
        theme.notifier.changed.connect(self._icons)
        self._icons()

    def _build(self) -> None:
        self.assessment = QLabel()
        self.assessment.setProperty("role", "muted")
        self.assessment.setTextFormat(Qt.TextFormat.PlainText)
        self.assessment.setWordWrap(True)
        self.copy = QPushButton("Copy")
        self.copy.setToolTip("Copy the report in Markdown")
        self.copy.clicked.connect(self._copy)
        self.save = QPushButton("Save as…")
        self.save.setToolTip("Write the report to a file in Markdown")
        self.save.clicked.connect(self._choose_file)
        header = QHBoxLayout()
        header.setSpacing(8)
        header.addWidget(self.assessment, 1)
        for button in (self.again, self.copy, self.save):
            header.addWidget(button)
        self.page = MarkdownView("Status report")
        self.checks = CheckList()
        self.checks.run_wanted.connect(self.run_checklist)
        self.checks.cancel_wanted.connect(self.cancel_checklist)
        split = plain_split(Qt.Orientation.Horizontal)
        split.addWidget(self.page)
        split.addWidget(self.checks)
        split.setSizes([2000, 1000])
        self.lay_out(header, split)

    @Slot()
    def run_checklist(self) -> None:
        """Go through the checklist now."""
        if self._checking is None and self._store.connected:
            self._began = monotonic()
            self._clock.start()
            self._tick()
            self._checking = spawn(self._check(), name="run the checklist")
            self._checking.add_done_callback(self._checked)

    @Slot()
    def cancel_checklist(self) -> None:
        if self._checking is not None:
            self._checking.cancel()

    @Slot(str)
    def save_to(self, path: str) -> None:
        """Write the page to `path`; says how it went."""
        said = f"Saved the report to {path}"
        saving = write(Path(path), self.page.page)
        self._store.run(saving, name="save the report", then=lambda: self._store.toast.emit(said, "ok"))

    async def fetch(self) -> None:
        """Have the report written and show it. Raises AppError."""
        self._show(await self._store.api().report())

    async def _check(self) -> None:
        try:
            self._checks = await self._store.api().run_checklist()
        except AppError as error:
            self._store.toast.emit(f"{error.sentence} {error.hint}".strip(), "error")
        else:
            # The page tells the checklist too.
            self.tab_shown()

    def _checked(self, _task: asyncio.Task[None]) -> None:
        self._checking = None
        if isValid(self):
            self._clock.stop()
            self.checks.show_running("")
            self.checks.show_items(self._checks)

    def _show(self, report: StatusReport) -> None:
        self._report = report
        self.assessment.setText(report.assessment)
        self.page.show_page(report.markdown)
        if self._checking is None:
            self._checks = report.checklist
            self.checks.show_items(self._checks)
        self.show_content()

    def show_buttons(self) -> None:
        there = self.stack.currentIndex() == 0
        for button in (self.copy, self.save):
            button.setEnabled(there)
        self.again.setEnabled(self._store.connected)
        self.checks.button.setEnabled(self._store.connected)

    @Slot()
    def _tick(self) -> None:
        self.checks.show_running(f"Checking… {elapsed(monotonic() - self._began)}")

    @Slot()
    def _copy(self) -> None:
        QGuiApplication.clipboard().setText(self.page.page)
        self._store.toast.emit("Copied the report", "info")

    @Slot()
    def _choose_file(self) -> None:
        name = file_name(self._report) if self._report is not None else "status.md"
        ask_where_to_save(self, "Save the report as", name, self.save_to)

    @Slot()
    def _icons(self) -> None:
        for button, icon in ((self.again, "restart"), (self.copy, "copy"), (self.save, "save")):
            button.setIcon(theme.icon(icon))
