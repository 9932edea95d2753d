"""The Connect page: what each program needs to reach Quarterdeck, a test, and the API keys."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from PySide6.QtCore import QSignalBlocker, Qt, Slot
from PySide6.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from quarterdeck.errors import AppError
from quarterdeck.gui import theme
from quarterdeck.gui.access_commands import AccessCommands
from quarterdeck.gui.dialogs.ask import answer
from quarterdeck.gui.dialogs.keys import KeysDialog
from quarterdeck.gui.presenters.connect import Entry, guide_entry, snippet_entry
from quarterdeck.gui.widgets.connect_guide import ConnectGuideView
from quarterdeck.gui.widgets.elided import ElidedLabel
from quarterdeck.gui.widgets.empty_state import EmptyState
from quarterdeck.gui.widgets.scrolling import BAR_GAP
from quarterdeck.tasks import spawn

if TYPE_CHECKING:
    from quarterdeck.gui.store import Store

LIST_IN_LETTERS = 31
SECTIONS = ("Programs", "Web server in front")
KEY = Qt.ItemDataRole.UserRole


class ConnectPage(QWidget):
    """Reads what clients need whenever it is shown, and when the address or the keys change."""

    def __init__(self, store: Store, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._store = store
        self._commands = AccessCommands(store, self)
        self._entries: dict[str, Entry] = {}
        self._shown = False
        self._reading: asyncio.Task[None] | None = None
        self._build()
        store.status_changed.connect(self._refresh)
        store.connection_changed.connect(self._refresh)
        self._commands.keys_changed.connect(self._refresh)
        theme.notifier.changed.connect(self._icons)
        self._icons()

    def _build(self) -> None:
        title = QLabel("Connect")
        title.setProperty("role", "title")
        about = ElidedLabel()
        about.setText("One address for every program that talks to models")
        about.setProperty("role", "muted")
        self.keys = QPushButton("API keys…")
        self.keys.setToolTip("Who may use the models: make, limit and revoke keys")
        self.keys.clicked.connect(self.show_keys)
        header = QHBoxLayout()
        header.setSpacing(10)
        header.setContentsMargins(0, 0, BAR_GAP, 0)
        header.addWidget(title)
        header.addWidget(about, 1)
        header.addWidget(self.keys)
        self.list = QListWidget()
        self.list.setAccessibleName("Programs")
        self.list.setFixedWidth(self.fontMetrics().averageCharWidth() * LIST_IN_LETTERS)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.setStyleSheet("QListWidget { padding: 6px; } QListWidget::item { padding: 6px 8px; }")
        self.list.currentItemChanged.connect(self._show_current)
        self.guide = ConnectGuideView()
        self.guide.copied.connect(self._on_copied)
        self.guide.test_wanted.connect(self._on_test_wanted)
        body = QWidget()
        row = QHBoxLayout(body)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(14)
        row.addWidget(self.list)
        row.addWidget(self.guide, 1)
        self.empty = EmptyState("connect")
        self.empty.chosen.connect(self._refresh)
        self.stack = QStackedWidget()
        self.stack.addWidget(self.empty)
        self.stack.addWidget(body)
        page = QVBoxLayout(self)
        page.setContentsMargins(24, 20, 18, 18)
        page.setSpacing(14)
        page.addLayout(header)
        page.addWidget(self.stack, 1)

    def page_shown(self) -> None:
        self._shown = True
        self._refresh()

    def page_hidden(self) -> None:
        self._shown = False

    def choose(self, key: str) -> None:
        """Show the guide `client:NAME` or the web server `server:NAME`, where there is such a one."""
        for place in range(self.list.count()):
            if self.list.item(place).data(KEY) == key:
                self.list.setCurrentRow(place)

    @Slot()
    def show_keys(self) -> None:
        spawn(answer(KeysDialog(self._commands, self._store, self.window())), name="show API keys")

    @Slot()
    def _refresh(self) -> None:
        if not self._shown:
            return
        connected = self._store.connected
        self.keys.setEnabled(connected)
        if not connected:
            if not self._entries:
                self.empty.show_state("connect", "Not connected", "This appears when Quarterdeck’s core answers again.")
        elif self._reading is None or self._reading.done():
            self._reading = spawn(self._read(), name="read how clients connect")

    async def _read(self) -> None:
        client = self._store.api()
        try:
            guides, snippets = await asyncio.gather(client.connect_guides(), client.snippets())
        except AppError as error:
            self.empty.show_state("error", error.sentence, error.hint, "Try again")
            self.stack.setCurrentIndex(0)
            return
        sections = ([guide_entry(guide) for guide in guides], [snippet_entry(snippet) for snippet in snippets])
        self._show(dict(zip(SECTIONS, sections, strict=True)))

    def _show(self, sections: dict[str, list[Entry]]) -> None:
        known = list(self._entries)
        self._entries = {entry.key: entry for entries in sections.values() for entry in entries}
        if list(self._entries) != known:
            self._fill(sections)
        self.stack.setCurrentIndex(1)
        self._show_current()

    def _fill(self, sections: dict[str, list[Entry]]) -> None:
        current = self.list.currentItem()
        chosen = current.data(KEY) if current is not None else next(iter(self._entries), "")
        with QSignalBlocker(self.list):
            self.list.clear()
            for title, entries in sections.items():
                if entries:
                    heading = QListWidgetItem(title)
                    heading.setFlags(Qt.ItemFlag.NoItemFlags)
                    self.list.addItem(heading)
                for entry in entries:
                    item = QListWidgetItem(entry.title)
                    item.setData(KEY, entry.key)
                    item.setToolTip(entry.title)
                    self.list.addItem(item)
            self.choose(chosen if chosen in self._entries else next(iter(self._entries), ""))

    @Slot()
    def _show_current(self) -> None:
        item = self.list.currentItem()
        entry = self._entries.get(item.data(KEY)) if item is not None else None
        if entry is not None:
            self.guide.show_entry(entry)

    @Slot(str)
    def _on_copied(self, what: str) -> None:
        self._store.toast.emit(f"Copied {what}", "info")

    @Slot(str, str)
    def _on_test_wanted(self, client: str, key: str) -> None:
        self.guide.show_testing(True)
        spawn(self._test(client, key), name=f"test the connection of {client}")

    async def _test(self, client: str, key: str) -> None:
        try:
            self.guide.show_test(await self._store.api().test_connection(client, key))
        except AppError as error:
            self.guide.show_error(error)
        finally:
            self.guide.show_testing(False)

    @Slot()
    def _icons(self) -> None:
        self.keys.setIcon(theme.icon("key"))
