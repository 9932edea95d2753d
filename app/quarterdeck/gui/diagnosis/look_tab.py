"""What tabs share that ask the core anew whenever they are shown."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from typing import TYPE_CHECKING

from PySide6.QtCore import Slot
from PySide6.QtWidgets import QLayout, QPushButton, QStackedWidget, QVBoxLayout, QWidget
from shiboken6 import isValid

from quarterdeck.errors import AppError
from quarterdeck.gui.widgets.empty_state import EmptyState
from quarterdeck.tasks import spawn

if TYPE_CHECKING:
    from quarterdeck.gui.store import Store


class LookTab(QWidget):
    """`again` looks again; it says `rest`, and `busy` meanwhile. Without anything to show, `empty` says why."""

    def __init__(self, store: Store, rest: str, busy: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._store = store
        self._rest, self._busy = rest, busy
        self._task: asyncio.Task[None] | None = None
        self._read = False
        self.again = QPushButton(rest)
        self.again.clicked.connect(self.tab_shown)
        self.empty = EmptyState("file")
        self.empty.chosen.connect(self.tab_shown)
        self.stack = QStackedWidget()

    @abstractmethod
    async def fetch(self) -> None:
        """Ask the core and show what it says. Raises AppError."""

    @abstractmethod
    def show_buttons(self) -> None:
        """Switch the buttons by what can be done."""

    def lay_out(self, header: QLayout, content: QWidget) -> None:
        """The header above the content, or above why there is none."""
        self.stack.addWidget(content)
        self.stack.addWidget(self.empty)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 12, 0, 0)
        column.setSpacing(10)
        column.addLayout(header)
        column.addWidget(self.stack, 1)
        self._store.connection_changed.connect(self._on_connection)
        self.say_empty("queued", self._busy)

    @Slot()
    def tab_shown(self) -> None:
        """Look now, unless that is under way."""
        if self._store.connected and (self._task is None or self._task.done()):
            # It stays enabled: a button that is switched off passes the focus on, out of the page maybe.
            self.again.setText(self._busy)
            self._task = spawn(self._look(), name=self._busy)
            # Not in the task itself: one that is cancelled before its first step runs no `finally`.
            self._task.add_done_callback(self._looked)

    def show_content(self) -> None:
        self._read = True
        self.stack.setCurrentIndex(0)

    def say_empty(self, icon: str, title: str, text: str = "", verb: str = "") -> None:
        self.empty.show_state(icon, title, text, verb)
        self.stack.setCurrentIndex(1)
        self.show_buttons()

    async def _look(self) -> None:
        try:
            await self.fetch()
        except AppError as error:
            self.say_empty("error", error.sentence, error.hint, "Try again")

    def _looked(self, task: asyncio.Task[None]) -> None:
        if isValid(self) and task is self._task:
            self.again.setText(self._rest)
            self.show_buttons()

    @Slot(bool)
    def _on_connection(self, connected: bool) -> None:
        self.show_buttons()
        if connected and self.isVisible():
            self.tab_shown()
        elif not connected and not self._read:
            self.say_empty("error", "Not connected", "This appears when Quarterdeck’s core answers again.")
