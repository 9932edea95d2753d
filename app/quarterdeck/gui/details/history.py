"""The load attempts of a model, newest first, with the whole error text and the engine's last lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Slot
from PySide6.QtGui import QFontDatabase, QShowEvent
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QPlainTextEdit,
    QPushButton,
    QSplitter,
    QStackedLayout,
    QTableView,
    QVBoxLayout,
    QWidget,
)

from quarterdeck.errors import AppError
from quarterdeck.gui.models.attempt_list import AttemptList
from quarterdeck.gui.presenters.attempts import AttemptRow
from quarterdeck.gui.widgets.empty_state import EmptyState
from quarterdeck.schemas.models import AttemptView, ModelView
from quarterdeck.tasks import spawn

if TYPE_CHECKING:
    from quarterdeck.gui.commands import Commands
    from quarterdeck.gui.store import Store


class HistoryTab(QWidget):
    """Reads the journal when it is shown and after each attempt of its model."""

    def __init__(self, store: Store, commands: Commands, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._store, self._commands = store, commands
        self._name = ""
        self._stale = True
        self.rows = AttemptList(self)
        self._build()
        store.attempt_finished.connect(self._finished)

    def show_model(self, model: ModelView) -> None:
        if model.name != self._name:
            self._name = model.name
            self.rows.show([])
            self._stale = True
            self._read_if_seen()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._read_if_seen()

    def _build(self) -> None:
        self.table = QTableView()
        self.table.setModel(self.rows)
        self.table.setAccessibleName("Load attempts, newest first")
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.table.setShowGrid(False)
        self.table.setStyleSheet("QTableView { border-radius: 0; } QTableView::item { padding: 0 5px; }")
        self.table.setTabKeyNavigation(False)
        self.table.setWordWrap(False)
        self.table.verticalHeader().hide()
        self.table.verticalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        self.table.verticalHeader().setDefaultSectionSize(self.fontMetrics().height() + 12)
        header = self.table.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setStretchLastSection(True)
        header.setHighlightSections(False)
        header.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        self.table.selectionModel().currentRowChanged.connect(self._show_current)
        split = QSplitter(Qt.Orientation.Vertical)
        split.setChildrenCollapsible(False)
        split.setHandleWidth(2)
        split.addWidget(self.table)
        split.addWidget(self._detail())
        split.setStretchFactor(0, 2)
        split.setStretchFactor(1, 3)
        self.empty = EmptyState()
        holder = QWidget()
        column = QVBoxLayout(holder)
        column.setContentsMargins(16, 14, 16, 14)
        column.addWidget(split)
        self._pages = QStackedLayout(self)
        self._pages.addWidget(self.empty)
        self._pages.addWidget(holder)

    def _detail(self) -> QWidget:
        detail = QWidget()
        column = QVBoxLayout(detail)
        column.setContentsMargins(0, 12, 0, 0)
        column.setSpacing(6)
        self.explanation = _words()
        self.facts = _words()
        self.facts.setProperty("role", "muted")
        self.toggle = QPushButton("Show the engine's log")
        self.toggle.setCheckable(True)
        self.toggle.toggled.connect(self._show_log)
        self.copy = QPushButton("Copy all")
        self.copy.setToolTip("Copy the error, the configuration and the log as text")
        self.copy.clicked.connect(self._copy)
        self.log = QPlainTextEdit(readOnly=True)
        self.log.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self.log.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self.log.setAccessibleName("The engine's last lines")
        self.log.hide()
        row = QHBoxLayout()
        row.addWidget(self.toggle)
        row.addWidget(self.copy)
        row.addStretch(1)
        column.addWidget(self.explanation)
        column.addWidget(self.facts)
        column.addLayout(row)
        column.addWidget(self.log, 1)
        column.addStretch(0)
        return detail

    def _read_if_seen(self) -> None:
        if self._name and self._stale and self.isVisible():
            self._stale = False
            if not self.rows.rowCount():
                self.empty.show_state("history", "Reading the history…", "")
                self._pages.setCurrentIndex(0)
            spawn(self._read(self._name), name=f"read attempts of {self._name}")

    async def _read(self, name: str) -> None:
        try:
            attempts = await self._store.client.attempts(name) if self._store.client else []
        except AppError as error:
            if name == self._name:
                self._stale = True
                self.empty.show_state("warn", "The history could not be read", f"{error.sentence} {error.hint}")
                self._pages.setCurrentIndex(0)
            return
        if name == self._name:
            self._show(attempts)

    def _show(self, attempts: list[AttemptView]) -> None:
        self.rows.show(attempts)
        if not attempts:
            words = "Every attempt to load this model is written down here, with its result and the reason."
            self.empty.show_state("history", "Not loaded yet", words)
        elif not self.table.currentIndex().isValid():
            self.table.selectRow(0)
        self._pages.setCurrentIndex(1 if attempts else 0)

    @Slot(object)
    def _finished(self, attempt: AttemptView) -> None:
        if attempt.model_name == self._name:
            self._stale = True
            self._read_if_seen()

    @Slot()
    def _show_current(self) -> None:
        row = self._current()
        if row is None:
            return
        self.explanation.setText(row.explanation)
        self.explanation.setVisible(bool(row.explanation))
        lines = (row.change, row.ending, f"Configuration: {row.configuration}", f"Hardware: {row.hardware}")
        self.facts.setText("\n".join(line for line in lines if line))
        self.log.setPlainText(row.log)
        self.toggle.setEnabled(bool(row.log))
        self.toggle.setToolTip("" if row.log else "The engine wrote nothing before the attempt ended.")
        self._show_log(self.toggle.isChecked())

    @Slot(bool)
    def _show_log(self, wanted: bool) -> None:
        self.log.setVisible(wanted and bool(self.log.toPlainText()))
        self.toggle.setText("Hide the engine's log" if wanted else "Show the engine's log")

    @Slot()
    def _copy(self) -> None:
        row = self._current()
        if row is not None:
            self._commands.copy_text(_as_text(self._name, row), "the attempt")

    def _current(self) -> AttemptRow | None:
        index = self.table.currentIndex()
        return self.rows.row_at(index.row()) if index.isValid() else None


def _words() -> QLabel:
    label = QLabel()
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setWordWrap(True)
    label.setTextInteractionFlags(
        Qt.TextInteractionFlag.TextSelectableByMouse | Qt.TextInteractionFlag.TextSelectableByKeyboard
    )
    return label


def _as_text(name: str, row: AttemptRow) -> str:
    head = f"{name}: {row.outcome}, {row.when}, {row.took}"
    lines = (head, row.explanation, row.change, row.ending, f"Configuration: {row.configuration}",
             f"Hardware: {row.hardware}", row.log)  # fmt: skip
    return "\n".join(line for line in lines if line)
