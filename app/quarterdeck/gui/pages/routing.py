"""The Routing page: where a name leads, and the rules that lead it there."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError
from PySide6.QtCore import QSignalBlocker, Qt, Slot
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from quarterdeck.errors import AppError
from quarterdeck.gui.presenters.routing import lines_of, placed
from quarterdeck.gui.widgets.route_tester import RouteTester
from quarterdeck.gui.widgets.rules_editor import RulesEditor
from quarterdeck.gui.widgets.splitting import plain_split
from quarterdeck.schemas.requests import RouteQuestion, RoutingRules, RoutingState, RuleProblem
from quarterdeck.tasks import spawn

if TYPE_CHECKING:
    from quarterdeck.gui.store import Store

DEFAULT_MODEL = "default_model"
NOBODY = "Nobody: such requests are refused"
WIDE_IN_LETTERS = 150
_PROBLEMS = TypeAdapter(list[RuleProblem])


class RoutingPage(QWidget):
    """Reads the rules when it is shown, unless a person is editing them."""

    def __init__(self, store: Store, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._store = store
        self._shown = False
        self._asking: asyncio.Task[None] | None = None
        self.tester = RouteTester(self._names)
        self.tester.asked.connect(self._on_asked)
        self.editor = RulesEditor(self._names)
        self.editor.saved.connect(self._on_saved)
        self._build()
        for signal in (store.models_reset, store.model_removed, store.backends_changed, store.settings_changed):
            signal.connect(self._refresh)
        store.connection_changed.connect(self._on_connection)

    def unsaved(self) -> set[str]:
        """What would be lost: the rules, where they were edited and not saved."""
        return {"the routing rules"} if self.editor.dirty else set()

    def page_shown(self) -> None:
        self._shown = True
        self._refresh()
        self._read()

    def page_hidden(self) -> None:
        self._shown = False

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        wide = self.width() > self.fontMetrics().averageCharWidth() * WIDE_IN_LETTERS
        self._split.setOrientation(Qt.Orientation.Horizontal if wide else Qt.Orientation.Vertical)

    def _build(self) -> None:
        title = QLabel("Routing")
        title.setProperty("role", "title")
        about = QLabel("Unknown names go to")
        about.setProperty("role", "muted")
        self.default = QComboBox()
        self.default.setAccessibleName("Model for unknown names")
        self.default.setToolTip("The model that answers when no name, capability or pattern fits")
        self.default.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
        self.default.activated.connect(self._on_default)
        about.setBuddy(self.default)
        header = QHBoxLayout()
        header.setSpacing(10)
        header.addWidget(title)
        header.addStretch()
        header.addWidget(about)
        header.addWidget(self.default)
        self._split = plain_split(Qt.Orientation.Horizontal, gap=12)
        self._split.addWidget(self.tester)
        self._split.addWidget(self.editor)
        self._split.setSizes([1000, 1100])
        page = QVBoxLayout(self)
        page.setContentsMargins(24, 20, 24, 18)
        page.setSpacing(14)
        page.addLayout(header)
        page.addWidget(self._split, 1)

    def _names(self) -> list[str]:
        """Every name that is known to lead somewhere."""
        models = self._store.models.values()
        return sorted({name for model in models for name in (model.name, *model.aliases)})

    @Slot()
    def _refresh(self) -> None:
        if not self._shown:
            return
        backends = self._store.backends
        self.tester.offer(sorted(self._store.models), [(name, backend.title) for name, backend in backends.items()])
        setting = self._store.settings.get(DEFAULT_MODEL)
        chosen = str(setting.value) if setting is not None else ""
        with QSignalBlocker(self.default):
            self.default.clear()
            self.default.addItem(NOBODY, "")
            for name in sorted({*self._store.models, *([chosen] if chosen else [])}):
                self.default.addItem(name, name)
            self.default.setCurrentIndex(self.default.findData(chosen))

    def _read(self) -> None:
        if self._store.connected and not self.editor.dirty:
            self._store.run(self._fetch(), name="read routing rules")

    async def _fetch(self) -> None:
        state = await self._store.api().routing()
        if not self.editor.dirty:
            self._show(state)

    def _show(self, state: RoutingState) -> None:
        self.editor.show_rules(state.rules, placed(state.problems, lines_of(state.rules)))
        self.tester.ask()

    @Slot(object)
    def _on_asked(self, question: RouteQuestion) -> None:
        if self._asking is not None:
            self._asking.cancel()
        self._asking = spawn(self._ask(question), name=f"try the route of {question.model}")

    async def _ask(self, question: RouteQuestion) -> None:
        try:
            report = await self._store.api().test_route(question)
        except AppError as error:
            self.tester.show_error(error)
            return
        backend = self._store.backends.get(report.backend or "")
        named = report.model_copy(update={"backend": backend.title}) if backend is not None else report
        self.tester.show_report(named)

    @Slot(object)
    def _on_saved(self, rules: RoutingRules) -> None:
        spawn(self._save(rules), name="save routing rules")

    async def _save(self, rules: RoutingRules) -> None:
        try:
            state = await self._store.api().change_routing(rules)
        except AppError as error:
            words = f"{error.sentence} {error.hint}".strip()
            self.editor.show_refused(words, placed(_problems_in(error), self.editor.lines))
            return
        self._show(state)
        self._store.toast.emit("Saved the routing rules", "ok")

    @Slot(int)
    def _on_default(self, _index: int) -> None:
        self._store.run(self._change_default(self.default.currentData()), name="change the model for unknown names")

    async def _change_default(self, name: str) -> None:
        try:
            await self._store.api().change_settings({DEFAULT_MODEL: name})
        finally:
            self._refresh()
        self.tester.ask()

    @Slot(bool)
    def _on_connection(self, connected: bool) -> None:
        self.default.setEnabled(connected)
        if self._shown and connected:
            self._refresh()
            self._read()


def _problems_in(error: AppError) -> list[RuleProblem]:
    """What the core names in its refusal, as far as it can be read."""
    found: Any = error.details.get("problems", [])
    try:
        return _PROBLEMS.validate_python(found)
    except ValidationError:
        return []
