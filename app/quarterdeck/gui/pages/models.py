"""The Models page: cards on the left, the details of one model beside or instead of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QSettings, Qt, Signal, Slot
from PySide6.QtGui import QDragEnterEvent, QDropEvent, QKeySequence, QResizeEvent, QShortcut
from PySide6.QtWidgets import QFileDialog, QSplitter, QStackedWidget, QVBoxLayout, QWidget

from quarterdeck.gui.details.panel import HISTORY, OVERVIEW, DetailsPanel
from quarterdeck.gui.dialogs.absences import AbsencesDialog
from quarterdeck.gui.dialogs.add_model import FILE_FILTER, AddModelDialog
from quarterdeck.gui.dialogs.ask import answer
from quarterdeck.gui.dialogs.import_wizard import ImportWizard
from quarterdeck.gui.dialogs.load_options import LoadOptionsDialog
from quarterdeck.gui.dropping import dropped_files
from quarterdeck.gui.models.model_list import ModelRows
from quarterdeck.gui.presenters.card import Verb
from quarterdeck.gui.presenters.filters import Filters
from quarterdeck.gui.widgets.card_board import CardBoard
from quarterdeck.gui.widgets.empty_state import EmptyState
from quarterdeck.gui.widgets.model_card import ModelCard
from quarterdeck.gui.widgets.model_toolbar import ModelToolbar
from quarterdeck.gui.widgets.models_header import ModelsHeader
from quarterdeck.gui.widgets.queue_panel import QueuePanel
from quarterdeck.tasks import spawn

if TYPE_CHECKING:
    from quarterdeck.gui.backend_commands import BackendCommands
    from quarterdeck.gui.commands import Commands
    from quarterdeck.gui.store import Store

PANEL_IN_LETTERS = 66
NARROW_IN_LETTERS = 165


class ModelsPage(QWidget):
    """Lists the models of the store and acts on them; order and direction are remembered in `settings`.

    `why_wanted(subject)` asks the window for the problems of a model.
    """

    why_wanted = Signal(str)

    def __init__(
        self,
        store: Store,
        commands: Commands,
        backend_commands: BackendCommands,
        settings: QSettings | None = None,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._store, self._commands, self._backend_commands = store, commands, backend_commands
        self.header = ModelsHeader()
        self.queue = QueuePanel(store, commands)
        self.rows = ModelRows(store, self)
        self.toolbar = ModelToolbar(settings)
        self.rows.set_filters(self.toolbar.filters)
        self.board = CardBoard(store, commands, self.rows)
        self.empty = EmptyState()
        self.panel = DetailsPanel(store, commands)
        self._build()
        self._connect()
        self.setAcceptDrops(True)
        self._show_state()

    def page_shown(self) -> None:
        self._show_state()

    def page_hidden(self) -> None:
        """Nothing to stop: cards stop their own clocks when they are hidden."""

    def unsaved(self) -> set[str]:
        """The models with edits that were not saved; the window asks before it ends."""
        return self.panel.unsaved()

    def show_details(self, name: str, tab: int | None = None) -> None:
        """Open the details of a model, at `tab` of the panel where it is given."""
        self.panel.show_model(name, tab)
        self.panel.setVisible(bool(self.panel.name))
        self._adapt()
        if self._left.isHidden():
            # Else the keyboard would go from the hidden list to some other place of the window.
            self.panel.back.setFocus(Qt.FocusReason.OtherFocusReason)

    @Slot(str)
    def show_history(self, name: str) -> None:
        """Open the details of a model at its load attempts."""
        self.show_details(name, HISTORY)

    def add_files(self, paths: Sequence[Path]) -> None:
        """Add model files, one after the other, each with its name to confirm."""
        spawn(self._add_all(list(paths)), name="add models")

    def _build(self) -> None:
        self._stack = QStackedWidget()
        self._stack.addWidget(self.board)
        self._stack.addWidget(self.empty)
        self._left = QWidget()
        column = QVBoxLayout(self._left)
        column.setContentsMargins(24, 18, 12, 0)
        column.setSpacing(12)
        column.addWidget(self.header)
        column.addWidget(self.toolbar)
        held = QVBoxLayout()
        # As wide as the cards below, which keep a gap for their scroll bar.
        held.setContentsMargins(2, 0, 12, 0)
        held.addWidget(self.queue)
        column.addLayout(held)
        column.addWidget(self._stack, 1)
        self._split = QSplitter(Qt.Orientation.Horizontal)
        self._split.setChildrenCollapsible(False)
        self._split.setHandleWidth(1)
        self._split.addWidget(self._left)
        self._split.addWidget(self.panel)
        self._split.setStretchFactor(0, 1)
        self._split.setStretchFactor(1, 0)
        self._panel_width = self.fontMetrics().averageCharWidth() * PANEL_IN_LETTERS
        self.panel.setMinimumWidth(self._panel_width * 3 // 4)
        self.panel.hide()
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(self._split)

    def _connect(self) -> None:
        self.toolbar.changed.connect(self._filter)
        self.header.add.connect(self.choose_file)
        self.header.imports.connect(self.import_list)
        self.header.scan.connect(self._backend_commands.scan)
        self.header.absences.connect(self.show_absences)
        self._backend_commands.scanning_changed.connect(self.header.show_scanning)
        self.toolbar.search.down.connect(self._focus_cards)
        self.board.created.connect(self._created)
        for card in self.board.cards.values():
            self._created(card)
        self.empty.chosen.connect(self._empty_chosen)
        self.panel.closed.connect(self.close_details)
        self.panel.options_wanted.connect(self.load_with_options)
        self.panel.why_wanted.connect(self._on_why)
        self._store.connection_changed.connect(self._show_state)
        self._store.models_reset.connect(self._show_state)
        self._store.model_removed.connect(self._removed)
        self.rows.changed.connect(self._show_state)
        find = QShortcut(QKeySequence(QKeySequence.StandardKey.Find), self)
        find.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
        find.activated.connect(self.focus_search)

    @Slot()
    def focus_search(self) -> None:
        self.toolbar.search.setFocus(Qt.FocusReason.ShortcutFocusReason)
        self.toolbar.search.selectAll()

    @Slot()
    def choose_file(self) -> None:
        """Let a person choose files to add."""
        dialog = QFileDialog(self, "Add a model", "", FILE_FILTER)
        dialog.setFileMode(QFileDialog.FileMode.ExistingFiles)
        dialog.setLabelText(QFileDialog.DialogLabel.Accept, "Add")
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.filesSelected.connect(self._files_chosen)
        dialog.open()

    @Slot()
    def import_list(self) -> None:
        """Import models from a list or the configuration of another program."""
        spawn(answer(ImportWizard(self._commands, self.window())), name="import models")

    @Slot()
    def show_absences(self) -> None:
        """Say why a model is not listed."""
        spawn(answer(AbsencesDialog(self._commands, self.window())), name="show absences")

    @Slot(str)
    def load_with_options(self, name: str) -> None:
        """Load a model with other options than the stored ones, after a look at what they need."""
        model = self._store.models.get(name)
        if model is not None:
            spawn(answer(LoadOptionsDialog(self._commands, model, self.window())), name=f"options for {name}")

    @Slot()
    def close_details(self) -> None:
        name = self.panel.name
        self.panel.name = ""
        self.panel.hide()
        self._adapt()
        self.board.focus_card(name)

    @Slot(object)
    def _filter(self, filters: Filters) -> None:
        self.rows.set_filters(filters)
        self.board.to_top()

    @Slot()
    def _show_state(self) -> None:
        shown, total = len(self.rows.names), self.rows.total
        self.toolbar.show_count(shown, total)
        self._stack.setCurrentWidget(self.board if shown else self.empty)
        if shown:
            return
        if total:
            words = self.toolbar.search.text().strip()
            what = f"No model matches “{words}”" if words else "No model has this status"
            self.empty.show_state("search", what, "", "Clear filters")
        elif self._store.status is None:
            self.empty.show_state("queued", "Reading the list of models…", "")
        else:
            self.empty.show_state(
                "models",
                "No models yet",
                "Scan this computer for models and running servers, add a model file in GGUF format, or drop one on "
                "this window. Files stay where they are.",
                "Add a model",
            )

    @Slot()
    def _empty_chosen(self) -> None:
        if self.rows.total:
            self.toolbar.clear()
        else:
            self.choose_file()

    @Slot(object)
    def _created(self, card: ModelCard) -> None:
        card.primary.connect(self._primary)
        card.details.connect(self._show_overview)
        card.history.connect(self.show_history)
        card.why_wanted.connect(self._on_why)
        card.chosen.connect(self._menu)

    @Slot(str, str)
    def _primary(self, name: str, verb: str) -> None:
        self._commands.run(name, Verb(verb))

    @Slot(str)
    def _show_overview(self, name: str) -> None:
        self.show_details(name, None if self.panel.isVisible() else OVERVIEW)

    @Slot(str)
    def _on_why(self, name: str) -> None:
        self.why_wanted.emit(f"model:{name}")

    @Slot(str, str)
    def _menu(self, name: str, key: str) -> None:
        actions: dict[str, Callable[[], object]] = {
            "details": lambda: self._show_overview(name),
            "options": lambda: self.load_with_options(name),
            "unload": lambda: self._commands.unload(name),
            "copy": lambda: self._commands.copy_text(name, f"the API name “{name}”"),
            "show": lambda: self._commands.show_file(name),
            "remove": lambda: self._commands.remove(name),
        }
        actions[key]()

    @Slot(str)
    def _removed(self, name: str) -> None:
        if self.panel.name == name:
            self.close_details()

    @Slot()
    def _focus_cards(self) -> None:
        self.board.focus_card()

    @Slot(list)
    def _files_chosen(self, paths: list[str]) -> None:
        self.add_files([Path(path) for path in paths])

    async def _add_all(self, paths: list[Path]) -> None:
        for path in paths:
            await answer(AddModelDialog(self._commands, self.window(), path))

    def _adapt(self) -> None:
        """Beside the list where there is room for both, else instead of it."""
        narrow = self.width() < self.fontMetrics().averageCharWidth() * NARROW_IN_LETTERS
        shown = not self.panel.isHidden()
        self._left.setVisible(not (narrow and shown))
        self.panel.set_narrow(narrow)
        self.panel.setMaximumWidth(16_777_215 if narrow else self._panel_width * 3 // 2)
        if shown and not narrow and self._split.sizes()[1] < self.panel.minimumWidth():
            self._split.setSizes([max(1, self.width() - self._panel_width), self._panel_width])

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._adapt()

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if dropped_files(event):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        files = dropped_files(event)
        if files:
            event.acceptProposedAction()
            self.add_files(files)
