"""The Diagnosis page: what is wrong, what is known, a doctor for connections, drift, and the report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtWidgets import QFileDialog, QHBoxLayout, QLabel, QPushButton, QTabWidget, QVBoxLayout, QWidget

from quarterdeck.gui import theme
from quarterdeck.gui.diagnosis.doctor_tab import DoctorTab
from quarterdeck.gui.diagnosis.drift_tab import DriftTab
from quarterdeck.gui.diagnosis.known_issues_tab import KnownIssuesTab
from quarterdeck.gui.diagnosis.problems_tab import ProblemsTab
from quarterdeck.gui.diagnosis.report_tab import ReportTab
from quarterdeck.gui.files import write

if TYPE_CHECKING:
    from quarterdeck.gui.store import Store


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
        self.bundle = QPushButton("Save for support…")
        self.bundle.setToolTip("Write a zip file with logs, versions and settings, without secrets")
        self.bundle.clicked.connect(self._choose_bundle)
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
        """Write what is needed to understand a problem elsewhere to `path`."""
        self._store.run(self._save_bundle(Path(path)), name="save diagnostics")

    async def _save_bundle(self, path: Path) -> None:
        self.bundle.setEnabled(False)
        self.bundle.setText("Collecting…")
        try:
            await write(path, await self._store.api().diagnostics())
        finally:
            self.bundle.setText("Save for support…")
            self.bundle.setEnabled(True)
        self._store.toast.emit(f"Wrote {path}. Look through it before you hand it on.", "ok")

    @Slot()
    def _choose_bundle(self) -> None:
        dialog = QFileDialog(self, "Save for support", str(Path.home() / "quarterdeck-diagnostics.zip"))
        dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.fileSelected.connect(self.save_bundle)
        dialog.open()

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
        self.bundle.setEnabled(self._store.connected)

    @Slot()
    def _icons(self) -> None:
        self.bundle.setIcon(theme.icon("save"))
