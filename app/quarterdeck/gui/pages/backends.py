"""The Backends page: a card for every engine, with what it runs and the buttons that make sense."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from PySide6.QtCore import Signal, Slot
from PySide6.QtWidgets import QLabel, QVBoxLayout, QWidget

from quarterdeck.errors import AppError
from quarterdeck.gui.dialogs.ask import confirm
from quarterdeck.gui.presenters.backends import backend_card, caution
from quarterdeck.gui.widgets.backend_card import BackendCardWidget
from quarterdeck.gui.widgets.scrolling import ScrollingColumn
from quarterdeck.tasks import spawn

if TYPE_CHECKING:
    from quarterdeck.gui.store import Store
    from quarterdeck.schemas.backends import BackendView

EMPTY = (
    "There are no backends yet.",
    "A backend is the engine that runs a model. It appears here when you add a model that needs it.",
)
OFFLINE = ("Not connected.", "The backends appear when Quarterdeck’s core answers again.")


class BackendsPage(QWidget):
    """`logs_wanted(name)` asks the window for the Logs page on that backend."""

    logs_wanted = Signal(str)

    def __init__(self, store: Store, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._store = store
        self._cards: dict[str, BackendCardWidget] = {}
        self._busy: set[str] = set()
        self._failures: dict[str, str] = {}
        self._seen: dict[str, tuple[BackendView, datetime | None]] = {}
        self._shown = False
        self._build()
        store.backends_changed.connect(self._refresh)
        store.connection_changed.connect(self._on_connection)

    def _build(self) -> None:
        title = QLabel("Backends")
        title.setProperty("role", "title")
        self._empty = QLabel()
        self._empty.setProperty("role", "heading")
        self._empty_why = QLabel()
        self._empty_why.setProperty("role", "muted")
        self._empty_why.setWordWrap(True)
        scroll = ScrollingColumn(self._empty, self._empty_why)
        self._column = scroll.column
        page = QVBoxLayout(self)
        page.setContentsMargins(24, 20, 18, 12)
        page.setSpacing(14)
        page.addWidget(title)
        page.addWidget(scroll, 1)

    def page_shown(self) -> None:
        """Ask once for values that no event announces, such as memory."""
        self._shown = True
        self._refresh()
        if self._store.connected:
            self._store.run(self._fetch(), name="fetch backends")

    def page_hidden(self) -> None:
        self._shown = False

    def card(self, name: str) -> BackendCardWidget:
        return self._cards[name]

    @property
    def empty_text(self) -> str:
        """What stands in the place of the cards when there are none."""
        return "" if self._cards else f"{self._empty.text()} {self._empty_why.text()}"

    async def _fetch(self) -> None:
        if self._store.client is not None:
            views = await self._store.client.backends()
            self._store.backends = {view.name: view for view in views}
            self._store.backends_changed.emit()

    @Slot(bool)
    def _on_connection(self, _connected: bool) -> None:
        self._refresh()

    @Slot()
    def _refresh(self) -> None:
        if not self._shown:
            return
        views = self._store.backends
        for name in self._cards.keys() - views.keys():
            card = self._cards.pop(name)
            self._column.removeWidget(card)
            card.deleteLater()
        for name in views.keys() - self._cards.keys():
            self._add(name)
        self._order()
        for name, view in views.items():
            self._show(name, view)
        title, why = EMPTY if self._store.connected else OFFLINE
        self._empty.setText(title)
        self._empty_why.setText(why)
        for label in (self._empty, self._empty_why):
            label.setVisible(not views)

    def _add(self, name: str) -> None:
        card = BackendCardWidget()
        card.action_wanted.connect(self._on_action)
        card.logs_wanted.connect(self.logs_wanted)
        card.copied.connect(self._on_copied)
        self._cards[name] = card

    def _order(self) -> None:
        for position, name in enumerate(self._store.backends):
            card = self._cards[name]
            if self._column.indexOf(card) != position:
                self._column.insertWidget(position, card)

    def _show(self, name: str, view: BackendView) -> None:
        now = datetime.now(UTC)
        before, started = self._seen.get(name, (None, None))
        if view is not before:
            if before is not None and before.state is not view.state:
                self._busy.discard(name)
                self._failures.pop(name, None)
            started = None if view.uptime_s is None else now - timedelta(seconds=view.uptime_s)
            self._seen[name] = (view, started)
        self._cards[name].show_card(
            backend_card(view, started=started, now=now),
            busy=name in self._busy or not self._store.connected,
            failure=self._failures.get(name, ""),
        )

    @Slot()
    def _on_copied(self) -> None:
        self._store.toast.emit("Copied the command line", "info")

    @Slot(str, str)
    def _on_action(self, name: str, action: str) -> None:
        spawn(self._act(name, action), name=f"{action} backend {name}")

    async def _act(self, name: str, action: str) -> None:
        view = self._store.backends.get(name)
        if view is None or self._store.client is None:
            return
        question = caution(view, action)
        if question is not None and not await confirm(
            self.window(), title=question.title, text=question.text, verb=question.verb, danger=True
        ):
            return
        self._busy.add(name)
        self._failures.pop(name, None)
        self._refresh()
        try:
            # What came of it arrives by event, in the order in which it happened.
            await self._store.client.backend_action(name, action)
        except AppError as error:
            self._failures[name] = f"{error.sentence} {error.hint}".strip()
        self._busy.discard(name)
        self._refresh()
