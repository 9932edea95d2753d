"""The API keys: which there are, making one, revoking one."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from PySide6.QtCore import QSize, Qt, Slot
from PySide6.QtWidgets import QDialog, QHBoxLayout, QLabel, QPushButton, QStackedWidget, QVBoxLayout, QWidget

from quarterdeck.errors import AppError
from quarterdeck.gui.dialogs.add_key import AddKeyDialog, NewKeyDialog
from quarterdeck.gui.dialogs.ask import MARGIN, answer
from quarterdeck.gui.models.key_list import KeyList
from quarterdeck.gui.presenters.badges import Tone
from quarterdeck.gui.presenters.connect import key_rows, keys_summary
from quarterdeck.gui.widgets.empty_state import EmptyState
from quarterdeck.gui.widgets.tables import line_table
from quarterdeck.tasks import spawn

if TYPE_CHECKING:
    from quarterdeck.gui.access_commands import AccessCommands
    from quarterdeck.gui.store import Store

USUAL = QSize(1040, 500)
WIDTHS = (20, 15, 16, 26, 34)


class KeysDialog(QDialog):
    """Reads the keys when it opens and after each change."""

    def __init__(self, commands: AccessCommands, store: Store, parent: QWidget | None) -> None:
        super().__init__(parent)
        self._commands, self._store = commands, store
        self._reading: asyncio.Task[None] | None = None
        self._adding: asyncio.Task[None] | None = None
        self.setWindowTitle("API keys")
        self.setAccessibleName("API keys")
        self.setWindowModality(Qt.WindowModality.WindowModal)
        self._build()
        self.resize(USUAL.boundedTo(self.screen().availableSize() - QSize(80, 120)))
        commands.keys_changed.connect(self.read)
        self.read()

    def _build(self) -> None:
        heading = QLabel("API keys")
        heading.setProperty("role", "heading")
        self.summary = QLabel()
        self.summary.setProperty("role", "muted")
        self.summary.setWordWrap(True)
        self.rows = KeyList(self)
        self.table = line_table(self.rows, "API keys", widths=WIDTHS)
        self.table.setTextElideMode(Qt.TextElideMode.ElideRight)
        self.table.selectionModel().selectionChanged.connect(self._show_buttons)
        self.empty = EmptyState("queued", "Reading the keys…", "")
        self.empty.chosen.connect(self.add)
        self.stack = QStackedWidget()
        self.stack.addWidget(self.empty)
        self.stack.addWidget(self.table)
        self.add_button = QPushButton("Add key…")
        self.add_button.clicked.connect(self.add)
        self.revoke_button = QPushButton("Revoke…")
        self.revoke_button.setProperty("kind", "danger")
        self.revoke_button.clicked.connect(self.revoke)
        self.close_button = QPushButton("Close")
        self.close_button.clicked.connect(self.reject)
        row = QHBoxLayout()
        row.setSpacing(8)
        for button in (self.add_button, self.revoke_button):
            button.setAutoDefault(False)
            row.addWidget(button)
        row.addStretch(1)
        row.addWidget(self.close_button)
        column = QVBoxLayout(self)
        column.setContentsMargins(MARGIN, MARGIN, MARGIN, MARGIN)
        column.setSpacing(12)
        column.addWidget(heading)
        column.addWidget(self.summary)
        column.addWidget(self.stack, 1)
        column.addLayout(row)
        self._show_buttons()

    @Slot()
    def read(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
        self._reading = spawn(self._read(), name="read API keys")

    @Slot()
    def add(self) -> None:
        """Make a key and show its text, once."""
        if self._adding is None or self._adding.done():
            self._adding = spawn(self._add(), name="add an API key")

    @Slot()
    def revoke(self) -> None:
        chosen = self.table.selectionModel().selectedRows()
        if chosen:
            self._commands.revoke(self.rows.row_at(chosen[0].row()).view, self)

    async def _read(self) -> None:
        try:
            views = await self._commands.keys()
        except AppError as error:
            self.empty.show_state("error", error.sentence, error.hint)
            self.stack.setCurrentIndex(0)
            return
        rows = key_rows(views, datetime.now(UTC))
        self.rows.show(rows)
        self.summary.setText(keys_summary(rows))
        self.stack.setCurrentIndex(1 if rows else 0)
        if not rows:
            words = "A key says which program asks, which models it may use, and how much. It is needed before "
            words += "Quarterdeck can be reached from other computers."
            self.empty.show_state("key", "No API keys yet", words, "Add the first key")
        self._show_buttons()

    async def _add(self) -> None:
        dialog = AddKeyDialog(self._commands, self._store, self)
        if await answer(dialog) and dialog.made is not None:
            await answer(NewKeyDialog(dialog.made, self))

    @Slot()
    def _show_buttons(self) -> None:
        chosen = self.table.selectionModel().selectedRows()
        alive = bool(chosen) and self.rows.row_at(chosen[0].row()).badge.tone is not Tone.NEUTRAL
        self.revoke_button.setEnabled(alive)
        self.revoke_button.setToolTip("" if alive else ("It is revoked already." if chosen else "Choose a key first."))

    def done(self, result: int) -> None:
        for task in (self._reading, self._adding):
            if task is not None:
                task.cancel()
        super().done(result)
