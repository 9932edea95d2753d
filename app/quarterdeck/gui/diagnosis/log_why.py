"""Explains the lines of the Logs page, and marks those that prove it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal, Slot
from PySide6.QtWidgets import QWidget

from quarterdeck.errors import AppError
from quarterdeck.gui.presenters.why import chosen_source, explanation, service_of
from quarterdeck.gui.widgets.why_panel import WhyPanel
from quarterdeck.schemas.diagnosis import DiagnoseRequest, Diagnosis
from quarterdeck.tasks import spawn

if TYPE_CHECKING:
    from quarterdeck.gui.presenters.logs import Row
    from quarterdeck.gui.store import Store


class LogWhy(QObject):
    """`marked(rows)` are the proving lines; `row_wanted(row)` asks to show one of them."""

    marked = Signal(list)
    row_wanted = Signal(object)

    def __init__(self, store: Store, title_of: Callable[[str], str], parent: QWidget) -> None:
        super().__init__(parent)
        self._store = store
        self._title_of = title_of
        self._rows: list[Row] = []
        self._task: asyncio.Task[None] | None = None
        self.panel = WhyPanel()
        self.panel.hide()
        self.panel.line_chosen.connect(self._on_line)
        self.panel.copied.connect(self._on_copied)
        self.panel.closed.connect(self.close)

    def explain(self, wanted: str, selected: Sequence[Row], rows: Sequence[Row]) -> None:
        """Explain the lines of one source: `wanted`, or the one that most likely matters."""
        source = chosen_source(wanted, selected, rows)
        self._rows = [row for row in rows if row.source == source]
        about = f"From the log of {self._title_of(source)}" if source else "There are no lines yet."
        self.panel.show()
        self.panel.show_reading(about)
        if self._task is not None:
            self._task.cancel()
        self._task = spawn(self._explain(source, about), name=f"explain the log of {source}")

    @Slot()
    def close(self) -> None:
        """Hide the explanation and its marks."""
        if self._task is not None:
            self._task.cancel()
        self.panel.hide()
        self.marked.emit([])

    async def _explain(self, source: str, about: str) -> None:
        backend = self._store.backends.get(source)
        text = "\n".join(row.text for row in self._rows)
        request = DiagnoseRequest(text=text, service=service_of(backend.kind) if backend is not None else "")
        try:
            found = await self._store.api().diagnose(request)
            title = await self._title(found.known_issue)
        except AppError as error:
            self.panel.show_error(error)
            return
        self.panel.show_why(explanation(found), about, known_title=title)
        self._mark(found)

    async def _title(self, known_issue: str | None) -> str:
        if known_issue is None:
            return ""
        issues = await self._store.api().known_issues()
        return next((issue.title for issue in issues if issue.id == known_issue), known_issue)

    def _mark(self, found: Diagnosis) -> None:
        rows = [row for evidence in found.evidence if (row := self._row(evidence.line)) is not None]
        self.marked.emit(rows)
        if rows:
            self.row_wanted.emit(rows[0])

    def _row(self, line: int) -> Row | None:
        return self._rows[line - 1] if 0 < line <= len(self._rows) else None

    @Slot(int)
    def _on_line(self, line: int) -> None:
        row = self._row(line)
        if row is not None:
            self.row_wanted.emit(row)

    @Slot(str)
    def _on_copied(self, what: str) -> None:
        self._store.toast.emit(f"Copied {what}", "info")
