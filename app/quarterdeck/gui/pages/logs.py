"""The Logs page: what Quarterdeck and its backends wrote, live, filtered, and ready to copy."""

from __future__ import annotations

import asyncio
from collections import deque
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtGui import QFontDatabase, QGuiApplication, QKeyEvent, QKeySequence, QShortcut
from PySide6.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QPlainTextEdit,
    QPushButton,
    QSizePolicy,
    QSplitter,
    QVBoxLayout,
    QWidget,
)

from quarterdeck.errors import AppError
from quarterdeck.gui import theme
from quarterdeck.gui.diagnosis.log_why import LogWhy
from quarterdeck.gui.dialogs.save_as import ask_where_to_save
from quarterdeck.gui.models.log_model import CAP, LogFilter, LogModel
from quarterdeck.gui.presenters import logs as words
from quarterdeck.gui.widgets.log_filter_bar import LogFilterBar
from quarterdeck.gui.widgets.log_table import LogTable
from quarterdeck.gui.widgets.splitting import plain_split
from quarterdeck.schemas.events import Topic
from quarterdeck.tasks import spawn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quarterdeck.client.api import ApiClient
    from quarterdeck.gui.presenters.logs import Row
    from quarterdeck.gui.store import Store
    from quarterdeck.schemas.backends import LogLine

DETAIL_LINES = 6
FIRST_LINES = 2000


class LogsPage(QWidget):
    """Holds up to 20,000 lines of all sources; takes in new ones while it is shown.

    `issue_wanted(id)` asks the window for a known issue.
    """

    issue_wanted = Signal(str)

    def __init__(self, store: Store, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._store = store
        self._model = LogModel(self)
        self._model.title_of = self._title_of
        self._rows = LogFilter(self._model, self)
        self._intake = words.Intake()
        self._early: list[LogLine] | None = None
        self._held: deque[Row] | None = None
        self._fetching: asyncio.Task[None] | None = None
        self._message = ""
        self._shown = False
        self._build()
        self._sources_changed()
        store.log_arrived.connect(self._on_lines)
        store.backends_changed.connect(self._sources_changed)
        store.connection_changed.connect(self._on_connection)
        theme.notifier.changed.connect(self._on_theme)
        for change in (self._rows.rowsInserted, self._rows.rowsRemoved, self._rows.modelReset):
            change.connect(self._show_count)

    def _build(self) -> None:
        title = QLabel("Logs")
        title.setProperty("role", "title")
        page = QVBoxLayout(self)
        page.setContentsMargins(24, 20, 24, 14)
        page.setSpacing(12)
        header = QHBoxLayout()
        header.setSpacing(8)
        header.addWidget(title)
        header.addStretch()
        for button in self._build_buttons():
            header.addWidget(button)
        page.addLayout(header)
        self.filters = LogFilterBar()
        self.filters.changed.connect(self._filter)
        page.addWidget(self.filters)
        page.addWidget(self._build_body(), 1)
        page.addLayout(self._build_status())
        copy = QShortcut(QKeySequence(QKeySequence.StandardKey.Copy), self.table)
        copy.setContext(Qt.ShortcutContext.WidgetShortcut)
        copy.activated.connect(self.copy_selection)
        find = QShortcut(QKeySequence(QKeySequence.StandardKey.Find), self)
        find.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
        find.activated.connect(self.filters.focus_search)
        self._on_theme()

    def _build_buttons(self) -> Sequence[QPushButton]:
        self._explain = QPushButton("Why?")
        self._explain.setToolTip("Say what these lines tell: the cause of a failure, and what helps")
        self._pause = QPushButton("Pause")
        self._pause.setToolTip("Hold new lines back. None is lost.")
        self._copy = QPushButton("Copy")
        self._copy.setToolTip("Copy the selected lines (Ctrl+C), or all shown lines when none is selected")
        self._clear = QPushButton("Clear")
        self._clear.setToolTip("Empty this view. The log files stay as they are.")
        self._save = QPushButton("Save as…")
        self._save.setToolTip("Write the shown lines to a file")
        for button, slot in (
            (self._explain, self.explain),
            (self._pause, self.toggle_pause),
            (self._copy, self.copy_selection),
            (self._clear, self.clear),
            (self._save, self._choose_file),
        ):
            button.clicked.connect(slot)
        return self._explain, self._pause, self._copy, self._clear, self._save

    def _build_body(self) -> QWidget:
        """The lines, and beside them what they tell."""
        lines = self._build_lines()
        self.why = LogWhy(self._store, self._title_of, self)
        self.why.marked.connect(self._model.mark)
        self.why.row_wanted.connect(self._show_row)
        self.why.panel.issue_wanted.connect(self.issue_wanted)
        split = plain_split(Qt.Orientation.Horizontal)
        split.addWidget(lines)
        split.addWidget(self.why.panel)
        split.setStretchFactor(0, 1)
        return split

    def _build_lines(self) -> QWidget:
        self.table = LogTable(self._rows)
        self.table.missed_changed.connect(self._show_missed)
        self.table.current_row.connect(self._show_details)
        self.details = QPlainTextEdit(readOnly=True)
        self.details.setAccessibleName("The whole line")
        self.details.setTabChangesFocus(True)
        self.details.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self.details.setMinimumHeight(self.fontMetrics().lineSpacing() * 3)
        self.details.hide()
        split = QSplitter(Qt.Orientation.Vertical)
        split.setChildrenCollapsible(False)
        split.setHandleWidth(3)
        split.addWidget(self.table)
        split.addWidget(self.details)
        split.setStretchFactor(0, 1)
        height = self.fontMetrics().lineSpacing() * DETAIL_LINES
        split.setSizes([height * 4, height])
        return split

    def _build_status(self) -> QHBoxLayout:
        self._count = QLabel()
        self._count.setProperty("role", "muted")
        self._state = QLabel()
        self._state.setProperty("role", "muted")
        self._state.setTextFormat(Qt.TextFormat.PlainText)
        self._state.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.clear_filters = QPushButton("Clear filters")
        self.clear_filters.setToolTip("Show all lines again")
        self.clear_filters.clicked.connect(self.filters.clear)
        self.clear_filters.hide()
        self.jump = QPushButton()
        self.jump.setToolTip("Go to the newest line (End)")
        self.jump.clicked.connect(self.table.follow)
        self.jump.hide()
        line = QHBoxLayout()
        line.setSpacing(12)
        line.addWidget(self._count)
        line.addWidget(self._state, 1)
        line.addWidget(self.clear_filters)
        line.addWidget(self.jump)
        self._show_count()
        return line

    @property
    def count_text(self) -> str:
        return self._count.text()

    @property
    def state_text(self) -> str:
        return self._state.text()

    @property
    def model(self) -> LogModel:
        return self._model

    def page_shown(self) -> None:
        """Take in what was written meanwhile, and every new line from now on."""
        if self._shown:
            return
        self._shown = True
        self._store.watch(Topic.LOG, True)
        self._fill()

    def page_hidden(self) -> None:
        """Take nothing more in; what is written from now on is read when the page is shown again."""
        if not self._shown:
            return
        self._shown = False
        self._early = None
        if self._fetching is not None:
            self._fetching.cancel()
        self._store.watch(Topic.LOG, False)

    def show_source(self, name: str) -> None:
        """Show the lines of one source alone, from all levels and with no text filter."""
        self.filters.add_source(name, self._title_of(name))
        self.filters.show_only(name)
        self.table.follow()

    def _fill(self) -> None:
        client = self._store.client
        if self._early is None and client is not None and self._store.connected:
            self._early = []
            self._say("Reading the logs…")
            self._fetching = spawn(self._fetch(client, self._early), name="fetch logs")

    async def _fetch(self, client: ApiClient, early: list[LogLine]) -> None:
        """Read the newest lines of every source; `early` is what arrives meanwhile and is put behind them."""
        sources = [words.OWN_SOURCE, *self._store.backends]
        try:
            answers = await asyncio.gather(
                *(client.logs(source, tail=FIRST_LINES) for source in sources), return_exceptions=True
            )
        finally:
            if self._early is early:
                self._early = None
        failed = [answer for answer in answers if isinstance(answer, BaseException)]
        history = words.merged(answer for answer in answers if not isinstance(answer, BaseException))
        self._take([*history, *early])
        for error in failed:
            if not isinstance(error, AppError):
                raise error
        # A backend that runs elsewhere has no log here, which is no failure.
        told = [error for error in failed if isinstance(error, AppError) and error.status != HTTPStatus.NOT_FOUND]
        self._say(" ".join(dict.fromkeys(f"{error.sentence} {error.hint}".strip() for error in told)))

    @Slot(str, list)
    def _on_lines(self, _source: str, lines: list[LogLine]) -> None:
        if not self._shown:
            return
        if self._early is not None:
            self._early.extend(lines)
        else:
            self._take(lines)

    def _take(self, lines: Sequence[LogLine]) -> None:
        rows = [words.to_row(line) for line in self._intake.fresh(lines)]
        for source in dict.fromkeys(row.source for row in rows):
            self.filters.add_source(source, self._title_of(source))
        if self._held is None:
            self._model.append(rows)
            return
        self._held.extend(rows)
        self._show_state()

    @Slot()
    def toggle_pause(self) -> None:
        """Hold new lines back, or let them in."""
        held, self._held = self._held, (deque(maxlen=CAP) if self._held is None else None)
        if held is not None:
            self._model.append(list(held))
        self._pause.setText("Pause" if self._held is None else "Resume")
        self._show_state()

    @Slot()
    def clear(self) -> None:
        """Empty the view; files and what comes later are untouched."""
        self._model.clear()
        if self._held is not None:
            self._held.clear()
        self._show_state()
        self._show_details(None)

    @Slot()
    def copy_selection(self) -> None:
        """Copy the selected lines, or all shown ones when none is selected."""
        rows = self.table.selected_rows() or self._rows.shown()
        QGuiApplication.clipboard().setText(self._as_text(rows))
        self._store.toast.emit("Copied 1 line" if len(rows) == 1 else f"Copied {len(rows):,} lines", "info")

    @Slot()
    def _choose_file(self) -> None:
        ask_where_to_save(self, "Save log lines as", "quarterdeck-log.txt", self.save_to)

    @Slot(str)
    def save_to(self, path: str) -> None:
        """Write the shown lines to `path`; says how it went."""
        rows = self._rows.shown()
        try:
            Path(path).write_text(self._as_text(rows) + "\n", encoding="utf-8")
        except OSError as error:
            why = f"{path} could not be written: {error.strerror or error}."
            self._store.toast.emit(f"{why} Choose another folder.", "error")
        else:
            self._store.toast.emit(f"Saved {len(rows):,} lines to {path}", "ok")

    @Slot()
    def explain(self) -> None:
        """Say what the lines of one source tell, whether they are all shown or not."""
        self.why.explain(self._rows.wanted.source, self.table.selected_rows(), self._model.rows)

    @Slot(object)
    def _show_row(self, row: Row) -> None:
        if row in self._model.rows and not self._rows.wanted.accepts(row):
            self.filters.clear()
        self.table.show_row(row)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape and not self.why.panel.isHidden():
            self.why.close()
        else:
            super().keyPressEvent(event)

    def _as_text(self, rows: Sequence[Row]) -> str:
        return "\n".join(row.as_text(self._model.title(row)) for row in rows)

    @Slot(object)
    def _filter(self, wanted: words.LineFilter) -> None:
        self._rows.set_filter(wanted)
        self._show_count()
        if self.table.following:
            self.table.scrollToBottom()

    @Slot()
    def _show_count(self) -> None:
        filtered = self._rows.wanted != words.LineFilter()
        self._count.setText(words.count_text(self._rows.rowCount(), self._model.rowCount(), filtered))

        self.clear_filters.setVisible(filtered)

    @Slot(int)
    def _show_missed(self, count: int) -> None:
        self.jump.setVisible(count > 0)
        self.jump.setText(words.new_lines_text(count))

    @Slot(object)
    def _show_details(self, row: Row | None) -> None:
        self.details.setVisible(row is not None)
        if row is not None:
            self.details.setPlainText(row.text)

    def _say(self, message: str) -> None:
        self._message = message
        self._show_state()

    def _show_state(self) -> None:
        paused = "" if self._held is None else f"Paused — {words.new_lines_text(len(self._held))} held back."
        self._state.setText(f"{paused} {self._message}".strip())

    def _title_of(self, source: str) -> str:
        if source == words.OWN_SOURCE:
            return words.OWN_TITLE
        backend = self._store.backends.get(source)
        return backend.title if backend is not None else source

    @Slot()
    def _sources_changed(self) -> None:
        for name in (words.OWN_SOURCE, *self._store.backends):
            self.filters.add_source(name, self._title_of(name))
        self._model.refresh_looks()

    @Slot(bool)
    def _on_connection(self, connected: bool) -> None:
        if not self._shown:
            return
        if connected:
            self._fill()
        else:
            self._say("Not connected. New lines appear when Quarterdeck’s core answers again.")

    @Slot()
    def _on_theme(self) -> None:
        for button, icon in ((self._explain, "diagnosis"), (self._pause, "pause"), (self._copy, "copy"),
                             (self._clear, "close"), (self._save, "save"), (self.jump, "chevron-down")):  # fmt: skip
            button.setIcon(theme.icon(icon))
        self._model.refresh_looks()
