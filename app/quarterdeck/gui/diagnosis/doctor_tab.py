"""The connectivity doctor: every step from the name to the first token, as it comes."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING

from PySide6.QtCore import QTimer, Slot
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QHBoxLayout, QLabel, QPushButton, QStackedWidget, QVBoxLayout, QWidget
from shiboken6 import isValid

from quarterdeck.errors import AppError
from quarterdeck.gui import theme
from quarterdeck.gui.presenters.doctor import TargetKind, as_text, targets, verdict
from quarterdeck.gui.presenters.text import counted, elapsed
from quarterdeck.gui.widgets.doctor_form import DoctorForm
from quarterdeck.gui.widgets.empty_state import EmptyState
from quarterdeck.gui.widgets.scrolling import ScrollingColumn
from quarterdeck.gui.widgets.step_list import StepList
from quarterdeck.gui.widgets.words import say
from quarterdeck.schemas.doctor import DoctorReport, DoctorRequest
from quarterdeck.tasks import spawn

if TYPE_CHECKING:
    from quarterdeck.gui.store import Store

ABOUT = (
    "It goes the way of a request, step by step: name, connection, certificate, HTTP, key, models, a chat of one "
    "token, streaming, tools. Each step says what it found and what to do."
)


class DoctorTab(QWidget):
    """An examination goes on while other tabs are shown; it ends by itself or by Cancel."""

    def __init__(self, store: Store, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._store = store
        self._clients: list[tuple[str, str]] = []
        self._task: asyncio.Task[None] | None = None
        self._began = 0.0
        self.lists: list[StepList] = []
        self._build()
        self._clock = QTimer(self, interval=1000)
        self._clock.timeout.connect(self._tick)
        store.backends_changed.connect(self._offer)
        store.connection_changed.connect(self._offer)
        theme.notifier.changed.connect(self._icons)
        self._icons()
        self._offer()

    def _build(self) -> None:
        self.form = DoctorForm()
        self.form.wanted.connect(self._on_wanted)
        self.form.cancelled.connect(self.cancel)
        self.line = QLabel()
        self.line.setProperty("role", "muted")
        self.line.setWordWrap(True)
        self.line.hide()
        self.copy = QPushButton("Copy all")
        self.copy.setToolTip("Copy the reports; keys are left out")
        self.copy.clicked.connect(self._copy)
        self.copy.hide()
        below = QHBoxLayout()
        below.addWidget(self.line, 1)
        below.addWidget(self.copy)
        self.empty = EmptyState("connect", "Examine a connection", ABOUT)
        self._scroll = ScrollingColumn()
        self.stack = QStackedWidget()
        self.stack.addWidget(self.empty)
        self.stack.addWidget(self._scroll)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 12, 0, 0)
        column.setSpacing(10)
        column.addWidget(self.form)
        column.addLayout(below)
        column.addWidget(self.stack, 1)

    def tab_shown(self) -> None:
        """Learn which clients there are to examine."""
        self._offer()
        if self._store.connected:
            spawn(self._fetch_clients(), name="read clients for the doctor")

    def examine(self, kind: TargetKind, name: str) -> None:
        """Choose a server or a client and examine it."""
        self.form.choose(kind, name)
        if self._task is None:
            self.form.button.click()

    @property
    def reports(self) -> list[DoctorReport]:
        return [steps.report for steps in self.lists if steps.report is not None]

    @Slot()
    def cancel(self) -> None:
        """End the examination; what was found stays."""
        if self._task is not None:
            self._task.cancel()

    @Slot()
    def _offer(self) -> None:
        servers = {name: backend.title for name, backend in self._store.backends.items()}
        self.form.offer(targets(servers, self._clients))
        self.form.setEnabled(self._store.connected)

    async def _fetch_clients(self) -> None:
        try:
            guides = await self._store.api().connect_guides()
        except AppError:
            # Without them, servers and addresses can be examined all the same.
            return
        self._clients = [(guide.client, guide.title) for guide in guides]
        self._offer()

    @Slot(object, str)
    def _on_wanted(self, wanted: DoctorRequest, title: str) -> None:
        if self._task is not None:
            return
        for steps in self.lists:
            self._scroll.column.removeWidget(steps)
            steps.hide()
            steps.deleteLater()
        self.lists = []
        self.copy.hide()
        self.stack.setCurrentWidget(self._scroll)
        self._began = monotonic()
        self.form.show_running(True)
        self._clock.start()
        self._tick()
        self._task = spawn(self._examine(wanted, title), name=f"examine {title}")
        # Not in the task itself: one that is cancelled before its first step runs no `finally`.
        self._task.add_done_callback(self._ended)

    async def _examine(self, wanted: DoctorRequest, title: str) -> None:
        current: StepList | None = None
        try:
            async for told in self._store.api().doctor(wanted):
                current = current or self._add(title)
                if isinstance(told, DoctorReport):
                    current.finish(told)
                    current = None
                else:
                    current.add_step(told)
            say(self.line, verdict(self.reports) if self.reports else "There is nothing to examine yet.")
        except AppError as error:
            say(self.line, f"{error.sentence} {error.hint}".strip())

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if not isValid(self):
            return
        if task.cancelled():
            done = sum(len(steps.steps) for steps in self.lists)
            say(self.line, f"Cancelled after {counted(done, 'step', 'steps')}.")
        self._clock.stop()
        self.form.show_running(False)
        self.copy.setVisible(len(self.reports) > 1)

    def _add(self, title: str) -> StepList:
        steps = StepList()
        steps.begin(title)
        steps.copied.connect(self._on_copied)
        self._scroll.column.insertWidget(len(self.lists), steps)
        self.lists.append(steps)
        return steps

    @Slot()
    def _tick(self) -> None:
        say(self.line, f"Examining… {elapsed(monotonic() - self._began)}")

    @Slot()
    def _copy(self) -> None:
        QGuiApplication.clipboard().setText(as_text(self.reports))
        self._on_copied("the reports")

    @Slot(str)
    def _on_copied(self, what: str) -> None:
        self._store.toast.emit(f"Copied {what}", "info")

    @Slot()
    def _icons(self) -> None:
        self.copy.setIcon(theme.icon("copy"))
