"""The Diagnosis page: what is wrong, what is known, a doctor for connections, drift, and the report."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from PySide6.QtCore import Signal, Slot
from PySide6.QtWidgets import QHBoxLayout, QLabel, QPushButton, QTabWidget, QVBoxLayout, QWidget
from shiboken6 import isValid

from quarterdeck.errors import AppError
from quarterdeck.gui import theme
from quarterdeck.gui.diagnosis.doctor_tab import DoctorTab
from quarterdeck.gui.diagnosis.drift_tab import DriftTab
from quarterdeck.gui.diagnosis.known_issues_tab import KnownIssuesTab
from quarterdeck.gui.diagnosis.problems_tab import ProblemsTab
from quarterdeck.gui.diagnosis.report_tab import ReportTab
from quarterdeck.gui.dialogs.ask import confirm
from quarterdeck.gui.dialogs.save_as import ask_where_to_save
from quarterdeck.gui.files import write
from quarterdeck.tasks import spawn

if TYPE_CHECKING:
    from quarterdeck.gui.store import Store


SAVE = "Save for support…"
CONTENTS = (
    "A zip file is written with versions, settings, models and their attempts to load, problems and changes, "
    "configuration files and differences, backends, hardware, the last requests without their texts, and the ends of "
    "all logs.\n\nKeys, tokens and passwords are left out, and nothing is sent anywhere. Names of models, folders and "
    "computers stay in it: look through it before you hand it on."
)


class Tab(Protocol):
    """A part of the page, told when it is in front."""

    def tab_shown(self) -> None: ...


class DiagnosisPage(QWidget):
    """`subject_wanted(subject)` asks the window for the model or the server that a problem is about."""

    subject_wanted = Signal(str)

    def __init__(self, store: Store, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._store = store
        self._shown = False
        self._front: Tab | None = None
        self._collecting: asyncio.Task[None] | None = None
        self.problems = ProblemsTab(store)
        self.known = KnownIssuesTab(store)
        self.doctor = DoctorTab(store)
        self.drift = DriftTab(store)
        self.report = ReportTab(store)
        self._build()
        self.problems.subject_wanted.connect(self.subject_wanted)
        self.problems.issue_wanted.connect(self.show_issue)
        self.drift.problems_wanted.connect(self.show_problem)
        store.problems.changed.connect(self._show_count)
        store.connection_changed.connect(self._show_count)
        theme.notifier.changed.connect(self._icons)
        self._icons()
        self._show_count()

    def _build(self) -> None:
        title = QLabel("Diagnosis")
        title.setProperty("role", "title")
        self.bundle = QPushButton(SAVE)
        self.bundle.setToolTip("Write a zip file with logs, versions and settings, without secrets")
        self.bundle.clicked.connect(self._on_bundle)
        header = QHBoxLayout()
        header.addWidget(title, 1)
        header.addWidget(self.bundle)
        self.tabs = QTabWidget()
        self.tabs.setDocumentMode(True)
        self.tabs.setAccessibleName("Diagnosis")
        self.tabs.tabBar().setAccessibleName("Parts of the diagnosis")
        self.tabs.tabBar().setDrawBase(False)
        for part, name in ((self.problems, "Problems"), (self.known, "Known issues"), (self.doctor, "Doctor"),
                           (self.drift, "Drift"), (self.report, "Report")):  # fmt: skip
            self.tabs.addTab(part, name)
        self.tabs.setTabToolTip(self.tabs.indexOf(self.drift), "What is declared in files against what runs")
        self.tabs.currentChanged.connect(self._on_tab)
        page = QVBoxLayout(self)
        page.setContentsMargins(24, 20, 18, 14)
        page.setSpacing(8)
        page.addLayout(header)
        page.addWidget(self.tabs, 1)

    def page_shown(self) -> None:
        self._shown = True
        self._on_tab()

    def page_hidden(self) -> None:
        self._shown = False
        self._on_tab()

    @Slot(str)
    def show_problem(self, subject: str) -> None:
        """Show what is wrong with `model:NAME`, `server:NAME` and so on."""
        self.tabs.setCurrentWidget(self.problems)
        self.problems.show_subject(subject)

    @Slot(str)
    def show_issue(self, id: str) -> None:
        """Show a known issue."""
        self.tabs.setCurrentWidget(self.known)
        self.known.show_issue(id)

    @Slot(str)
    def save_bundle(self, path: str) -> None:
        """Write what is needed to understand a problem elsewhere to `path`, unless that is under way."""
        if self._collecting is None:
            self.bundle.setText("Stop collecting")
            self._collecting = spawn(self._save_bundle(Path(path)), name="save diagnostics")
            # Not in the task itself: one that is cancelled before its first step runs no `finally`.
            self._collecting.add_done_callback(self._collected)
            self._icons()

    async def _save_bundle(self, path: Path) -> None:
        try:
            await write(path, await self._store.api().diagnostics())
        except AppError as error:
            self._store.toast.emit(f"{error.sentence} {error.hint}".strip(), "error")
        else:
            self._store.toast.emit(f"Wrote {path}. Look through it before you hand it on.", "ok")

    def _collected(self, _task: asyncio.Task[None]) -> None:
        self._collecting = None
        if isValid(self):
            self.bundle.setText(SAVE)
            self._show_count()
            self._icons()

    @Slot()
    def _on_bundle(self) -> None:
        if self._collecting is not None:
            self._collecting.cancel()
        else:
            spawn(self._offer_bundle(), name="offer the file for support")

    async def _offer_bundle(self) -> None:
        if await confirm(self.window(), title="Save a file for support?", text=CONTENTS, verb="Choose where…"):
            self._choose_bundle()

    def _choose_bundle(self) -> None:
        ask_where_to_save(self, "Save for support", "quarterdeck-diagnostics.zip", self.save_bundle)

    @Slot()
    def _on_tab(self) -> None:
        front = cast("Tab", self.tabs.currentWidget()) if self._shown else None
        before, self._front = self._front, front
        if front is not None and front is not before:
            front.tab_shown()

    @Slot()
    def _show_count(self) -> None:
        count = len(self._store.problems.views)
        self.tabs.setTabText(self.tabs.indexOf(self.problems), f"Problems ({count})" if count else "Problems")
        self.bundle.setEnabled(self._store.connected or self._collecting is not None)

    @Slot()
    def _icons(self) -> None:
        self.bundle.setIcon(theme.icon("save" if self._collecting is None else "stop"))
