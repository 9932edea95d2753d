"""What is wrong now, the worst first, and the changes that were made against it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from PySide6.QtCore import Signal, Slot
from PySide6.QtWidgets import QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from quarterdeck.gui import theme
from quarterdeck.gui.fix_commands import FixCommands
from quarterdeck.gui.presenters.problems import applied_line, problem_card, summary
from quarterdeck.gui.widgets.applied_list import AppliedList
from quarterdeck.gui.widgets.empty_state import EmptyState
from quarterdeck.gui.widgets.problem_card import ProblemCardWidget
from quarterdeck.gui.widgets.scrolling import ScrollingColumn

if TYPE_CHECKING:
    from quarterdeck.gui.store import Store
    from quarterdeck.schemas.problems import ProblemView

MOST_APPLIED = 12
ROOM_FOR_WORDS = 260


class ProblemsTab(QWidget):
    """`subject_wanted(subject)` and `issue_wanted(id)` ask for what a problem is about."""

    subject_wanted = Signal(str)
    issue_wanted = Signal(str)

    def __init__(self, store: Store, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._store = store
        self.commands = FixCommands(store, self)
        self.cards: dict[str, ProblemCardWidget] = {}
        self._shown: dict[str, ProblemView] = {}
        self._build()
        store.problems.changed.connect(self._refresh)
        store.connection_changed.connect(self._refresh)
        store.backends_changed.connect(self._refresh)
        self.commands.changed.connect(self._refresh)
        theme.notifier.changed.connect(self._icons)
        self._icons()
        self._refresh()

    def _build(self) -> None:
        self.summary = QLabel()
        self.summary.setProperty("role", "muted")
        self.again = QPushButton("Look again")
        self.again.setToolTip("Ask anew what is wrong")
        self.again.clicked.connect(self.tab_shown)
        header = QHBoxLayout()
        header.addWidget(self.summary, 1)
        header.addWidget(self.again)
        self.empty = EmptyState("ok")
        self.empty.setMinimumHeight(ROOM_FOR_WORDS)
        self.empty.chosen.connect(self._store.problems.refresh)
        self.applied = AppliedList()
        self.applied.undo_wanted.connect(self.commands.undo)
        self._scroll = ScrollingColumn(self.empty, self.applied)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 12, 0, 0)
        column.setSpacing(12)
        column.addLayout(header)
        column.addWidget(self._scroll, 1)

    @Slot()
    def tab_shown(self) -> None:
        """Ask for the problems and the changes anew."""
        self._store.problems.refresh()
        if self._store.connected:
            self._store.run(self.commands.fetch_applied(), name="read applied fixes")

    def show_subject(self, subject: str) -> None:
        """Bring the first problem of a subject into view."""
        for view in self._store.problems.about(subject)[:1]:
            card = self.cards[view.id]
            # The layout of a column that was just filled is not done yet.
            self._scroll.column.activate()
            self._scroll.ensureWidgetVisible(card, 0, 20)
            card.setFocus()

    @Slot()
    def _refresh(self) -> None:
        watch = self._store.problems
        # One that is being worked at is no problem to the core just then; its card stays until that has ended.
        told = {view.id: view for view in watch.views}
        held = {id: view for id, view in self._shown.items() if id not in told and self.commands.doing(id) is not None}
        views = self._shown = _in_place(self._shown, held, told)
        for id in self.cards.keys() - views.keys():
            card = self.cards.pop(id)
            self._scroll.column.removeWidget(card)
            card.hide()
            card.deleteLater()
        for place, (id, view) in enumerate(views.items()):
            card = self.cards.get(id) or self._add(id)
            if self._scroll.column.indexOf(card) != place:
                self._scroll.column.insertWidget(place, card)
            self._show(card, view)
        self.summary.setText(summary(watch.views))
        self._show_empty()
        self._show_applied()
        self._chain()

    def _chain(self) -> None:
        """Tab goes from card to card as they stand, whenever they were made."""
        before: QWidget = self.again
        for id in self._shown:
            for part in self.cards[id].tab_parts():
                QWidget.setTabOrder(before, part)
                before = part
        for button in self.applied.buttons.values():
            QWidget.setTabOrder(before, button)
            before = button

    def _add(self, id: str) -> ProblemCardWidget:
        card = self.cards[id] = ProblemCardWidget()
        card.fix_wanted.connect(self._on_fix)
        card.cancel_wanted.connect(self.commands.cancel)
        card.subject_wanted.connect(self.subject_wanted)
        card.issue_wanted.connect(self.issue_wanted)
        card.copied.connect(self._on_copied)
        return card

    def _show(self, card: ProblemCardWidget, view: ProblemView) -> None:
        servers = {name: backend.title for name, backend in self._store.backends.items()}
        shown = problem_card(
            view,
            now=datetime.now(UTC),
            titles=self._store.problems.titles,
            servers=servers,
            models=self._store.models,
        )
        doing = self.commands.doing(view.id)
        card.show_card(
            shown,
            doing=doing.words if doing is not None else "",
            cancellable=doing is not None and bool(doing.model),
            offline=not self._store.connected,
        )

    def _show_empty(self) -> None:
        watch = self._store.problems
        self.again.setEnabled(self._store.connected)
        self.empty.setVisible(not self._shown)
        if not self._store.connected:
            self.empty.show_state("error", "Not connected", "This appears when Quarterdeck’s core answers again.")
        elif watch.error is not None:
            self.empty.show_state("error", watch.error.sentence, watch.error.hint, "Try again")
        elif not watch.read:
            self.empty.show_state("queued", "Looking for problems…", "")
        else:
            words = "No model, server, client or configuration file is known to have a problem."
            self.empty.show_state("ok", "Nothing is wrong", words)

    def _show_applied(self) -> None:
        servers = {name: backend.title for name, backend in self._store.backends.items()}
        now = datetime.now(UTC)
        undoing = self.commands.undoing
        lines = [
            applied_line(fix, now=now, servers=servers, undoing=undoing) for fix in self.commands.applied[:MOST_APPLIED]
        ]
        self.applied.show_lines(lines, offline=not self._store.connected)

    @Slot(str, str)
    def _on_fix(self, problem_id: str, fix_id: str) -> None:
        for view in self._store.problems.views:
            for fix in view.fixes:
                if (view.id, fix.id) == (problem_id, fix_id):
                    self.commands.apply(problem_id, fix)

    @Slot(str)
    def _on_copied(self, what: str) -> None:
        self._store.toast.emit(f"Copied {what}", "info")

    @Slot()
    def _icons(self) -> None:
        self.again.setIcon(theme.icon("restart"))


def _in_place(
    before: dict[str, ProblemView], held: dict[str, ProblemView], told: dict[str, ProblemView]
) -> dict[str, ProblemView]:
    """What was told and what is held, which stays where it was: nothing moves away from under the pointer."""
    order = list(told)
    for place, id in enumerate(before):
        if id in held:
            order.insert(min(place, len(order)), id)
    return {id: told.get(id) or held[id] for id in order}
