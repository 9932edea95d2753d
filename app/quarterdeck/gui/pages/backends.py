"""The Backends page: a card for every engine and server, with what it runs and the buttons that make sense."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from PySide6.QtCore import QTimer, Signal, Slot
from PySide6.QtWidgets import QHBoxLayout, QLabel, QPushButton, QStackedWidget, QVBoxLayout, QWidget

from quarterdeck.gui import theme
from quarterdeck.gui.dialogs.add_server import AddServerDialog
from quarterdeck.gui.dialogs.ask import answer
from quarterdeck.gui.presenters.backends import backend_card, summary
from quarterdeck.gui.presenters.problems import cause_words, why_line
from quarterdeck.gui.widgets.backend_card import BackendCardWidget
from quarterdeck.gui.widgets.empty_state import EmptyState
from quarterdeck.gui.widgets.scrolling import BAR_GAP, ScrollingColumn
from quarterdeck.schemas.events import Topic
from quarterdeck.tasks import spawn

if TYPE_CHECKING:
    from quarterdeck.gui.backend_commands import BackendCommands
    from quarterdeck.gui.store import Store
    from quarterdeck.schemas.backends import BackendView

EMPTY = (
    "No backends yet",
    "A backend is the engine that runs a model. Look for servers that run on this computer, or add one by its address.",
)
OFFLINE = ("Not connected", "The backends appear when Quarterdeck’s core answers again.")
# Times such as “12 min” are told anew this often; nothing is asked of the core for it.
TELL_TIMES_MS = 20_000
SETTLE_MS = 1_500


class BackendsPage(QWidget):
    """`logs_wanted(name)` asks the window for the Logs page on that backend, `why_wanted(subject)` for its problems."""

    logs_wanted = Signal(str)
    why_wanted = Signal(str)

    def __init__(self, store: Store, commands: BackendCommands, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._store, self._commands = store, commands
        self._cards: dict[str, BackendCardWidget] = {}
        self._seen: dict[str, tuple[BackendView, float]] = {}
        self._shown = False
        self._build()
        self._clock = QTimer(self, interval=TELL_TIMES_MS)
        self._clock.timeout.connect(self._refresh)
        self._settle = QTimer(self, interval=SETTLE_MS, singleShot=True)
        self._settle.timeout.connect(self._fetch)
        store.backends_changed.connect(self._refresh)
        store.connection_changed.connect(self._refresh)
        store.problems.changed.connect(self._refresh)
        # Memory, requests and the like are announced by no event of their own: these move them.
        store.request_finished.connect(self._moved)
        store.queue_changed.connect(self._moved)
        commands.changed.connect(self._refresh)
        commands.scanning_changed.connect(self._show_scanning)
        theme.notifier.changed.connect(self._icons)
        self._icons()

    def _build(self) -> None:
        title = QLabel("Backends")
        title.setProperty("role", "title")
        self._summary = QLabel()
        self._summary.setProperty("role", "muted")
        self.scan = QPushButton("Look for servers")
        self.scan.setToolTip("Look at the usual ports and the configured addresses for running servers")
        self.scan.clicked.connect(self._commands.scan)
        self.add = QPushButton("Add server…")
        self.add.setToolTip("Make a server known by its address, on this computer or elsewhere")
        self.add.clicked.connect(self.add_server)
        header = self._header = QHBoxLayout()
        header.setSpacing(10)
        header.addWidget(title)
        header.addWidget(self._summary, 1)
        header.addWidget(self.scan)
        header.addWidget(self.add)
        scroll = self._scroll = ScrollingColumn()
        self._column = scroll.column
        scroll.verticalScrollBar().rangeChanged.connect(self._align)
        self._align()
        self.empty = EmptyState("backends")
        self.empty.chosen.connect(self._commands.scan)
        self._stack = QStackedWidget()
        self._stack.addWidget(scroll)
        self._stack.addWidget(self.empty)
        page = QVBoxLayout(self)
        page.setContentsMargins(24, 20, 18, 12)
        page.setSpacing(14)
        page.addLayout(header)
        page.addWidget(self._stack, 1)

    def page_shown(self) -> None:
        """Ask once for values that no event announces, such as memory."""
        if not self._shown:
            self._store.watch(Topic.REQUEST, True)
        self._shown = True
        self._clock.start()
        self._refresh()
        self._fetch()

    def page_hidden(self) -> None:
        if self._shown:
            self._store.watch(Topic.REQUEST, False)
        self._shown = False
        self._clock.stop()
        self._settle.stop()

    def card(self, name: str) -> BackendCardWidget:
        return self._cards[name]

    @property
    def summary_text(self) -> str:
        return self._summary.text()

    @Slot()
    def add_server(self) -> None:
        spawn(answer(AddServerDialog(self._commands, self.window())), name="add server")

    @Slot()
    def _align(self) -> None:
        """The buttons above end where the cards end, with and without a scroll bar."""
        bar = self._scroll.verticalScrollBar()
        self._header.setContentsMargins(0, 0, BAR_GAP + (bar.sizeHint().width() if bar.maximum() else 0), 0)

    @Slot()
    def _moved(self) -> None:
        if self._shown and not self._settle.isActive():
            self._settle.start()

    @Slot()
    def _fetch(self) -> None:
        if self._shown and self._store.connected:
            self._store.run(self._store.fetch_backends(), name="fetch backends")

    @Slot()
    def _refresh(self) -> None:
        if not self._shown:
            return
        views = self._store.backends
        for name in self._cards.keys() - views.keys():
            card = self._cards.pop(name)
            self._seen.pop(name, None)
            self._column.removeWidget(card)
            card.hide()
            card.deleteLater()
        for name in views.keys() - self._cards.keys():
            self._add(name)
        self._order()
        for name, view in views.items():
            self._show(name, view)
        self._summary.setText(summary(list(views.values())))
        self._stack.setCurrentIndex(0 if views else 1)
        if not views:
            heading, why = EMPTY if self._store.connected else OFFLINE
            self.empty.show_state("backends", heading, why, "Look for servers" if self._store.connected else "")
        for button in (self.scan, self.add):
            button.setEnabled(self._store.connected)

    def _add(self, name: str) -> None:
        card = BackendCardWidget()
        card.action_wanted.connect(self._commands.act)
        card.logs_wanted.connect(self.logs_wanted)
        card.why_wanted.connect(self._on_why)
        card.copied.connect(self._on_copied)
        self._cards[name] = card

    def _order(self) -> None:
        for position, name in enumerate(self._store.backends):
            card = self._cards[name]
            if self._column.indexOf(card) != position:
                self._column.insertWidget(position, card)

    def _show(self, name: str, view: BackendView) -> None:
        before, received = self._seen.get(name, (None, 0.0))
        if view is not before:
            received = monotonic()
            self._seen[name] = (view, received)
        known = self._store.problems.about(f"server:{name}")
        self._cards[name].show_card(
            backend_card(view, since=monotonic() - received, cause=cause_words(known)),
            doing=self._commands.busy(name),
            failure=self._commands.failure(name),
            why=why_line(known, self._store.problems.titles),
            offline=not self._store.connected,
        )

    @Slot(str)
    def _on_why(self, name: str) -> None:
        self.why_wanted.emit(f"server:{name}")

    @Slot()
    def _on_copied(self) -> None:
        self._store.toast.emit("Copied the command line", "info")

    @Slot(bool)
    def _show_scanning(self, scanning: bool) -> None:
        self.scan.setText("Looking…" if scanning else "Look for servers")

    @Slot()
    def _icons(self) -> None:
        self.scan.setIcon(theme.icon("scan"))
        self.add.setIcon(theme.icon("add"))
