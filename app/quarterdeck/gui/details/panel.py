"""Everything about one model beside the list: header with its state, and five tabs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QTabWidget,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from quarterdeck.gui import theme
from quarterdeck.gui.details.clients import ClientsTab
from quarterdeck.gui.details.configuration import ConfigurationTab
from quarterdeck.gui.details.history import HistoryTab
from quarterdeck.gui.details.overview import OverviewTab
from quarterdeck.gui.details.try_it import TryItTab
from quarterdeck.gui.presenters.badges import Tone
from quarterdeck.gui.presenters.card import CardState, Verb, card_state
from quarterdeck.gui.presenters.engines import engine_title
from quarterdeck.gui.presenters.problems import why_line
from quarterdeck.gui.widgets.badge import StatusBadge, shade
from quarterdeck.gui.widgets.elided import ElidedLabel, LinkLine

if TYPE_CHECKING:
    from quarterdeck.gui.commands import Commands
    from quarterdeck.gui.store import Store

OVERVIEW, CONFIGURATION, CLIENTS, HISTORY, TRY_IT = range(5)
TITLES = ("Overview", "Configuration", "Clients", "History", "Try it")


class DetailsPanel(QFrame):
    """Shows one model of the store and follows it; `closed` asks the page to hide the panel, `options_wanted(name)` for
    the load with options.
    """

    closed = Signal()
    options_wanted = Signal(str)
    why_wanted = Signal(str)

    def __init__(self, store: Store, commands: Commands, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("panel", True)
        self._store, self._commands = store, commands
        self.name = ""
        self._verb: Verb | None = None
        self._state: CardState | None = None
        self._build()
        store.model_changed.connect(self._changed)
        store.models_reset.connect(self._reset)
        store.problems.changed.connect(self._reset)
        commands.busy_changed.connect(self._changed)
        theme.notifier.changed.connect(self._icons)
        self._icons()

    def show_model(self, name: str, tab: int | None = None) -> None:
        """Show a model of the store, at `tab` or at the one that was open."""
        if name not in self._store.models:
            return
        self.name = name
        if tab is not None:
            self.tabs.setCurrentIndex(tab)
        self._refresh()

    def unsaved(self) -> set[str]:
        """The models with edits that are not saved."""
        return (self.overview.drafts | self.configuration.drafts | self.clients.drafts) & set(self._store.models)

    def set_narrow(self, narrow: bool) -> None:
        """In a narrow window the panel takes the place of the list: its close button leads back."""
        self.back.setVisible(narrow)
        self.close_button.setVisible(not narrow)

    def _build(self) -> None:
        self.tabs = QTabWidget()
        self.tabs.setDocumentMode(True)
        self.tabs.setAccessibleName("Details")
        self.tabs.tabBar().setAccessibleName("Parts of the details")
        self.overview = OverviewTab(self._commands)
        self.configuration = ConfigurationTab(self._store, self._commands)
        self.clients = ClientsTab(self._store, self._commands)
        self.history = HistoryTab(self._store, self._commands)
        self.try_it = TryItTab(self._store, self._commands)
        tabs = (self.overview, self.configuration, self.clients, self.history, self.try_it)
        for tab, title in zip(tabs, TITLES, strict=True):
            self.tabs.addTab(tab, title)
        self.tabs.tabBar().setUsesScrollButtons(False)
        self.tabs.tabBar().setDrawBase(False)
        self.overview.dirty_changed.connect(self._overview_dirty)
        self.configuration.dirty_changed.connect(self._configuration_dirty)
        self.clients.dirty_changed.connect(self._clients_dirty)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addLayout(self._header())
        column.addWidget(self.tabs, 1)

    def _header(self) -> QVBoxLayout:
        self.back = QPushButton("Back to the list")
        self.back.clicked.connect(self.closed)
        self.title = QLabel()
        self.title.setProperty("role", "heading")
        self.title.setTextFormat(Qt.TextFormat.PlainText)
        self.title.setWordWrap(True)
        self.close_button = QToolButton()
        self.close_button.setProperty("kind", "quiet")
        self.close_button.setAccessibleName("Close details")
        self.close_button.setToolTip("Close details (Esc)")
        self.close_button.clicked.connect(self.closed)
        self.badge = StatusBadge()
        self.state = ElidedLabel()
        self.state.setProperty("role", "muted")
        self.primary = QPushButton()
        self.primary.clicked.connect(self._run)
        self.options = QPushButton("Options…")
        self.options.setToolTip("Load with other options than the saved ones, with an estimate of its memory")
        self.options.clicked.connect(self._ask_options)
        self.retest, self.remark, self.error, self.why = (LinkLine() for _ in range(4))
        self.why.clicked.connect(self._open_why)
        self.remark.clicked.connect(self._open_overview)
        self.retest.clicked.connect(self._load_again)
        self.error.clicked.connect(self._open_history)
        self.progress_line = ElidedLabel()
        self.progress_line.setProperty("role", "muted")
        self.bar = QProgressBar(textVisible=False)
        top, middle = QHBoxLayout(), QHBoxLayout()
        top.addWidget(self.title, 1)
        top.addWidget(self.close_button, 0, Qt.AlignmentFlag.AlignTop)
        middle.setSpacing(10)
        middle.addWidget(self.badge)
        middle.addWidget(self.state, 1)
        middle.addWidget(self.options)
        middle.addWidget(self.primary)
        header = QVBoxLayout()
        header.setContentsMargins(16, 12, 12, 10)
        header.setSpacing(8)
        header.addWidget(self.back, 0, Qt.AlignmentFlag.AlignLeft)
        header.addLayout(top)
        header.addLayout(middle)
        for line in (self.retest, self.remark, self.error, self.why, self.progress_line, self.bar):
            header.addWidget(line)
        self.set_narrow(False)
        return header

    @Slot(str)
    def _changed(self, name: str) -> None:
        if name == self.name:
            self._refresh()

    @Slot()
    def _reset(self) -> None:
        if self.name in self._store.models:
            self._refresh()
        elif self.name:
            self.closed.emit()

    def _refresh(self) -> None:
        model = self._store.models.get(self.name)
        if model is None:
            return
        title = engine_title(model, self._store.backends)
        busy, error = self._commands.busy(self.name), self._commands.error(self.name)
        why = why_line(self._store.problems.about(f"model:{self.name}"), self._store.problems.titles)
        self._state = card_state(model, busy=busy, error=error, why=why, backend_title=title)
        self._show_header(self._state)
        self.overview.show_model(model, title)
        self.configuration.show_model(model)
        self.clients.show_model(model)
        self.history.show_model(model)
        self.try_it.show_model(model)

    def _show_header(self, state: CardState) -> None:
        self.setAccessibleName(f"Details of {state.name}")
        self.title.setText(state.name)
        self.badge.show_badge(state.badge, state.badge_tip)
        words = (state.state_word, state.state_more, state.badge.meaning.split(" – ")[0])
        self.state.setText(" · ".join(word for word in words if word))
        self.state.setToolTip(self.state.text())
        self.options.setVisible("options" in state.menu)
        self.options.setAccessibleName(f"Load {state.name} with options")
        self._verb = state.primary.verb
        kind = "primary" if state.primary.verb is Verb.LOAD else ""
        if self.primary.property("kind") != kind:
            self.primary.setProperty("kind", kind)
            self.primary.style().unpolish(self.primary)
            self.primary.style().polish(self.primary)
        self.primary.setText(state.primary.label)
        self.primary.setEnabled(state.primary.verb is not None)
        self.primary.setToolTip(state.primary.reason)
        self.primary.setAccessibleName(f"{state.primary.label} {state.name}")
        remark = (state.remark.text, state.remark.tip) if state.remark is not None else ("", "")
        lines = (
            (self.retest, state.retest, state.retest_tip),
            (self.remark, *remark),
            (self.error, state.error, state.error),
            (self.why, state.why, "Show what helps"),
        )
        for line, shown, tip in lines:
            line.setVisible(bool(shown))
            line.setText(shown)
            line.setToolTip(tip)
        self._icons()
        self._show_progress(state)

    def _show_progress(self, state: CardState) -> None:
        progress = state.progress
        self.bar.setVisible(progress is not None)
        self.progress_line.setVisible(progress is not None)
        if progress is not None:
            self.bar.setRange(0, 1000 if progress.fraction is not None else 0)
            self.bar.setValue(round((progress.fraction or 0.0) * 1000))
            self.bar.setAccessibleName(f"Progress of {state.name}")
            self.progress_line.setText(progress.line())

    @Slot()
    def _icons(self) -> None:
        colours = theme.tokens()
        self.close_button.setIcon(theme.icon("close", colours.muted))
        self.back.setIcon(theme.icon("chevron-left"))
        remark = self._state.remark if self._state is not None else None
        tone, picture = (remark.tone, remark.icon) if remark is not None else (Tone.WARN, "warn")
        links = (
            (self.retest, "restart", Tone.WARN), (self.remark, picture, tone), (self.error, "warn", Tone.ERROR),
            (self.why, "diagnosis", Tone.INFO),
        )  # fmt: skip
        for line, icon, shown in links:
            line.setIcon(theme.icon(icon, shade(shown).fg))
            line.set_colour(shade(shown).fg)

    @Slot()
    def _open_why(self) -> None:
        self.why_wanted.emit(self.name)

    @Slot(bool)
    def _overview_dirty(self, dirty: bool) -> None:
        self._mark_tab(OVERVIEW, dirty)

    @Slot(bool)
    def _configuration_dirty(self, dirty: bool) -> None:
        self._mark_tab(CONFIGURATION, dirty)

    @Slot(bool)
    def _clients_dirty(self, dirty: bool) -> None:
        self._mark_tab(CLIENTS, dirty)

    def _mark_tab(self, tab: int, dirty: bool) -> None:
        self.tabs.setTabText(tab, TITLES[tab] + (" •" if dirty else ""))
        self.tabs.setTabToolTip(tab, "There are changes that are not saved." if dirty else "")

    @Slot()
    def _run(self) -> None:
        if self._verb is not None:
            self._commands.run(self.name, self._verb)

    @Slot()
    def _load_again(self) -> None:
        if self._verb is Verb.LOAD:
            self._run()

    @Slot()
    def _ask_options(self) -> None:
        self.options_wanted.emit(self.name)

    @Slot()
    def _open_overview(self) -> None:
        self.tabs.setCurrentIndex(OVERVIEW)

    @Slot()
    def _open_history(self) -> None:
        self.tabs.setCurrentIndex(HISTORY)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape:
            self.closed.emit()
        else:
            super().keyPressEvent(event)
