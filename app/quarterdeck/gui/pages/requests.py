"""The Requests page: what clients asked for, live, with everything that became of one request."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QPoint, Qt, QTimer, Signal, Slot
from PySide6.QtGui import QKeyEvent, QKeySequence, QShortcut
from PySide6.QtWidgets import (
    QCheckBox,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from quarterdeck.errors import AppError
from quarterdeck.gui import theme
from quarterdeck.gui.dialogs.ask import confirm
from quarterdeck.gui.models.request_list import CAP, FilteredRequests, RequestList
from quarterdeck.gui.presenters.hardware import Note
from quarterdeck.gui.presenters.problems import of_request, refusals, why_line
from quarterdeck.gui.presenters.requests import RequestFilter, RequestRow, figures, models_in, to_row
from quarterdeck.gui.presenters.text import counted
from quarterdeck.gui.widgets.elided import ElidedLabel
from quarterdeck.gui.widgets.empty_state import EmptyState
from quarterdeck.gui.widgets.note import NoteBox
from quarterdeck.gui.widgets.request_detail import RequestDetailPanel
from quarterdeck.gui.widgets.request_filter_bar import RequestFilterBar
from quarterdeck.gui.widgets.request_table import RequestTable
from quarterdeck.gui.widgets.splitting import plain_split
from quarterdeck.schemas.events import Topic
from quarterdeck.schemas.requests import RequestView
from quarterdeck.tasks import spawn

if TYPE_CHECKING:
    from quarterdeck.gui.store import Store

# Thousands of requests a second are taken in this often, not one by one.
SETTLE_MS = 250
CAPTURE = "capture_requests"
KEPT_NOTE = Note(
    "Texts are kept",
    "Requests and answers are held in memory, with everything people write to models, until Quarterdeck ends.",
    "Turn “Keep texts” off when you have seen enough.",
    "warn",
    "warn",
)
KEEP_QUESTION = (
    "From now on, the newest requests and answers are held in memory with their whole text, so that you can see what "
    "a client sent, what the backend got, and what came back. Everybody who can use this window can read them. Nothing "
    "of it is written to a file."
)


class RequestsPage(QWidget):
    """Takes new requests in while it is shown. `connect_wanted` asks the window for the Connect page, and
    `why_wanted(subject)` for problems."""

    connect_wanted = Signal()
    why_wanted = Signal(str)

    def __init__(self, store: Store, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._store = store
        self._model = RequestList(self)
        self._rows = FilteredRequests(self._model, self)
        self._new: deque[dict[str, Any]] = deque(maxlen=CAP)
        self._held = False
        self._shown = False
        self._read = False
        self._reading: asyncio.Task[None] | None = None
        self._build()
        self._settle = QTimer(self, interval=SETTLE_MS, singleShot=True)
        self._settle.timeout.connect(self.take_in)
        store.request_finished.connect(self._on_request)
        store.connection_changed.connect(self._on_connection)
        store.settings_changed.connect(self._show_capture)
        store.problems.changed.connect(self._show_why)
        theme.notifier.changed.connect(self._on_theme)
        for change in (self._rows.rowsInserted, self._rows.rowsRemoved, self._rows.modelReset):
            change.connect(self._show_state)
        self._show_capture()
        self._on_theme()

    def _build(self) -> None:
        title = QLabel("Requests")
        title.setProperty("role", "title")
        self._figures = ElidedLabel()
        self._figures.setProperty("role", "muted")
        self.keep = QCheckBox("Keep texts")
        self.keep.setToolTip("Hold the texts of the newest requests and answers in memory, to be looked at here")
        self.keep.clicked.connect(self._on_keep)
        self.pause = QPushButton("Pause")
        self.pause.setToolTip("Hold new requests back. None is lost.")
        self.pause.clicked.connect(self.toggle_pause)
        header = QHBoxLayout()
        header.setSpacing(12)
        header.addWidget(title)
        header.addWidget(self._figures, 1)
        header.addWidget(self.keep)
        header.addWidget(self.pause)
        self.note = NoteBox()
        self.filters = RequestFilterBar()
        self.filters.changed.connect(self._filter)
        page = QVBoxLayout(self)
        page.setContentsMargins(24, 20, 24, 14)
        page.setSpacing(12)
        page.addLayout(header)
        page.addWidget(self.note)
        page.addWidget(self.filters)
        page.addWidget(self._build_lists(), 1)
        find = QShortcut(QKeySequence(QKeySequence.StandardKey.Find), self)
        find.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
        find.activated.connect(self.filters.focus_search)

    def _build_lists(self) -> QWidget:
        self.table = RequestTable(self._rows)
        self.table.chosen.connect(self._on_chosen)
        self.table.missed_changed.connect(self._show_missed)
        self.jump = QPushButton(self.table)
        self.jump.setToolTip("Go to the newest request")
        self.jump.clicked.connect(self.table.to_newest)
        self.jump.hide()
        self.detail = RequestDetailPanel()
        self.detail.closed.connect(self.table.clearSelection)
        self.detail.copied.connect(self._on_copied)
        self.detail.why_wanted.connect(self.why_wanted)
        self.detail.hide()
        split = plain_split(Qt.Orientation.Vertical, gap=8)
        split.addWidget(self.table)
        split.addWidget(self.detail)
        split.setStretchFactor(0, 1)
        split.setStretchFactor(1, 1)
        split.setSizes([1000, 1100])
        self.empty = EmptyState("requests")
        self.empty.chosen.connect(self._on_empty_chosen)
        self.stack = QStackedWidget()
        self.stack.addWidget(split)
        self.stack.addWidget(self.empty)
        return self.stack

    def page_shown(self) -> None:
        """Read what was asked meanwhile, and take in every new request from now on."""
        if self._shown:
            return
        self._shown = True
        self._store.watch(Topic.REQUEST, True)
        self._fetch()
        self._show_state()

    def page_hidden(self) -> None:
        if not self._shown:
            return
        self._shown = False
        self._settle.stop()
        self._store.watch(Topic.REQUEST, False)

    @property
    def figures_text(self) -> str:
        return self._figures.text()

    @property
    def rows(self) -> FilteredRequests:
        return self._rows

    @Slot()
    def toggle_pause(self) -> None:
        """Hold new requests back, or let them in."""
        self._held = not self._held
        self.pause.setText("Resume" if self._held else "Pause")
        self._on_theme()
        if not self._held:
            self.take_in()

    @Slot()
    def take_in(self) -> None:
        """Show the requests that arrived since the last time."""
        if self._held:
            return
        new = [RequestView.model_validate(data) for data in reversed(self._new)]
        self._new.clear()
        self._add(new)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape and not self.detail.isHidden():
            self.table.clearSelection()
            self.table.setFocus(Qt.FocusReason.OtherFocusReason)
        else:
            super().keyPressEvent(event)

    @Slot(object)
    def _on_request(self, data: dict[str, Any]) -> None:
        if self._shown:
            self._new.append(data)
            if not self._settle.isActive():
                self._settle.start()

    def _fetch(self) -> None:
        if self._shown and self._store.connected and (self._reading is None or self._reading.done()):
            self._reading = spawn(self._fetch_all(), name="fetch requests")

    async def _fetch_all(self) -> None:
        try:
            views = await self._store.api().requests()
        except AppError as error:
            self._store.toast.emit(f"{error.sentence} {error.hint}".strip(), "error")
            return
        self._read = True
        self._add(views)
        self._show_state()

    def _add(self, views: list[RequestView]) -> None:
        titles = {name: backend.title for name, backend in self._store.backends.items()}
        self._model.add([to_row(view, titles.get(view.backend or "", "")) for view in views])

    @Slot(object)
    def _on_chosen(self, row: RequestRow | None) -> None:
        self.detail.setVisible(row is not None)
        if row is None or row == self.detail.row:
            return
        self.detail.show_row(row)
        self._show_why()
        if row.view.captured:
            spawn(self._fetch_texts(row.id), name=f"fetch the texts of {row.id}")

    @Slot()
    def _show_why(self) -> None:
        row = self.detail.row
        if row is not None:
            watch, view = self._store.problems, row.view
            of_model = of_request(watch.about(f"model:{view.model}"), view.error or "") if view.error else []
            of_client = refusals(watch.about(f"client:{view.key or view.client}"), view) if view.error else []
            known = of_model or of_client
            self.detail.show_why(why_line(known, watch.titles), known[0].subject if known else "")

    async def _fetch_texts(self, identity: str) -> None:
        try:
            detail = await self._store.api().request(identity)
        except AppError as error:
            self._store.toast.emit(f"{error.sentence} {error.hint}".strip(), "error")
            return
        if self.detail.row is not None and self.detail.row.id == identity:
            self.detail.show_texts(detail)

    @Slot(object)
    def _filter(self, wanted: RequestFilter) -> None:
        self._rows.set_filter(wanted)
        self._show_state()

    @Slot()
    def _show_state(self) -> None:
        shown = self._rows.shown()
        self._figures.setText(figures([row.view for row in shown]))
        self._figures.setToolTip(self._figures.text())
        self.filters.offer_models(models_in(self._model.rows))
        self.stack.setCurrentIndex(0 if shown else 1)
        if shown:
            return
        if self._model.rows:
            self.empty.show_state("search", "No request matches", "", "Clear filters")
        elif not self._store.connected:
            words = "Requests appear when Quarterdeck’s core answers again."
            self.empty.show_state("requests", "Not connected", words)
        elif not self._read:
            self.empty.show_state("queued", "Reading the requests…", "")
        else:
            words = "As soon as a client asks a model for something, it appears here, with its times and its outcome."
            self.empty.show_state("requests", "No requests yet", words, "Connect a client")

    @Slot()
    def _on_empty_chosen(self) -> None:
        if self._model.rows:
            self.filters.clear()
        else:
            self.connect_wanted.emit()

    @Slot(int)
    def _show_missed(self, count: int) -> None:
        self.jump.setVisible(count > 0)
        self.jump.setText(counted(count, "new request", "new requests"))
        self.jump.adjustSize()
        room = self.table.viewport()
        self.jump.move(room.mapTo(self.table, QPoint((room.width() - self.jump.width()) // 2, 8)))

    @Slot()
    def _show_capture(self) -> None:
        setting = self._store.settings.get(CAPTURE)
        kept = setting is not None and bool(setting.value)
        self.keep.setChecked(kept)
        self.note.show_note(KEPT_NOTE if kept else None)

    @Slot(bool)
    def _on_keep(self, wanted: bool) -> None:
        # The setting decides what is shown, not the click.
        self.keep.setChecked(not wanted)
        self._store.run(self._set_capture(wanted), name="keep texts")

    async def _set_capture(self, wanted: bool) -> None:
        """Raises AppError when the core refuses."""
        sure = not wanted or await confirm(
            self.window(), title="Keep the texts of requests?", text=KEEP_QUESTION, verb="Keep texts"
        )
        if sure:
            await self._store.api().change_settings({CAPTURE: wanted})

    @Slot()
    def _on_copied(self) -> None:
        self._store.toast.emit("Copied the text", "info")

    @Slot(bool)
    def _on_connection(self, connected: bool) -> None:
        self.keep.setEnabled(connected)
        if connected:
            self._fetch()
        self._show_state()

    @Slot()
    def _on_theme(self) -> None:
        self.pause.setIcon(theme.icon("play" if self._held else "pause"))
        self.jump.setIcon(theme.icon("chevron-up"))
        self._model.refresh_looks()
