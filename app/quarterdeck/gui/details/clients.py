"""How requests of clients for a model are treated: mitigations, saved parameters, system prompt."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtGui import QKeySequence, QShortcut, QShowEvent
from PySide6.QtWidgets import QLabel, QVBoxLayout, QWidget

from quarterdeck.errors import AppError, ConfigError
from quarterdeck.gui.details.client_form import ClientForm
from quarterdeck.gui.details.save_bar import SaveBar
from quarterdeck.gui.presenters.client_policy import ClientDraft, differs, draft, policy_of
from quarterdeck.gui.widgets.mitigation_list import MitigationList
from quarterdeck.gui.widgets.scrolling import ScrollingColumn
from quarterdeck.schemas.models import ConfigPatch, ModelView
from quarterdeck.schemas.requests import ClientPolicy
from quarterdeck.tasks import spawn

if TYPE_CHECKING:
    from quarterdeck.gui.commands import Commands
    from quarterdeck.gui.store import Store

ABOUT = (
    "Requests are mended where a model or its backend is known to stumble, and the Requests page says what was done. "
    "Here you decide otherwise for this model; changes hold from the next request on."
)


class ClientsTab(QWidget):
    """Edits are kept per model until they are saved or reverted; `dirty_changed` tells whether there are any."""

    dirty_changed = Signal(bool)

    def __init__(self, store: Store, commands: Commands, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._store, self._commands = store, commands
        self._base: ModelView | None = None
        self._drafts: dict[str, ClientDraft] = {}
        self._saving = False
        self._failure = ""
        self._reading: asyncio.Task[None] | None = None
        about = QLabel(ABOUT)
        about.setWordWrap(True)
        about.setProperty("role", "muted")
        self.active = MitigationList()
        self.form = ClientForm()
        self.form.changed.connect(self._edited)
        self.bar = SaveBar()
        self.bar.saved.connect(self.save)
        self.bar.reverted.connect(self.revert)
        column = QVBoxLayout(self)
        column.setContentsMargins(16, 14, 10, 14)
        column.setSpacing(10)
        column.addWidget(ScrollingColumn(about, self.active, self.form), 1)
        column.addWidget(self.bar)
        keys = QShortcut(QKeySequence(QKeySequence.StandardKey.Save), self)
        keys.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
        keys.activated.connect(self.save)

    @property
    def drafts(self) -> set[str]:
        """The models with edits that are not saved."""
        self._remember()
        return set(self._drafts)

    def show_model(self, model: ModelView) -> None:
        """Show a model, or its newer state; an edit under way is kept."""
        before = self._base
        if before is not None and before.name == model.name:
            self._base = model
            if before.client_policy != model.client_policy and not differs(self.form.draft(), before.client_policy):
                self.form.show_draft(draft(model.client_policy))
        else:
            self._remember()
            self._base, self._failure = model, ""
            self.active.hide()
            self.form.show_draft(self._drafts.get(model.name, draft(model.client_policy)))
        self._show_state()
        if before is None or _treated(before) != _treated(model):
            self._read()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._read()

    def _read(self) -> None:
        """What is on depends on the policy, the settings and what was learned of the model: the core knows."""
        if self._base is None or not self.isVisible():
            return
        if self._reading is not None:
            self._reading.cancel()
        self._reading = spawn(self._fetch(self._base.name), name=f"read the mitigations of {self._base.name}")

    async def _fetch(self, name: str) -> None:
        try:
            views = await self._store.api().mitigations(name)
        except AppError as error:
            self.active.show_failure(f"{error.sentence} {error.hint}".strip())
            return
        self.active.show_all(views)

    @property
    def _dirty(self) -> bool:
        return self._base is not None and differs(self.form.draft(), self._base.client_policy)

    def _remember(self) -> None:
        if self._base is None:
            return
        if self._dirty:
            self._drafts[self._base.name] = self.form.draft()
        else:
            self._drafts.pop(self._base.name, None)

    @Slot()
    def _edited(self) -> None:
        self._failure = ""
        self._show_state()

    def _show_state(self) -> None:
        dirty = self._dirty
        self.bar.show_state(dirty=dirty, error=self._failure, saving=self._saving)
        self.dirty_changed.emit(dirty)

    @Slot()
    def revert(self) -> None:
        if self._base is not None:
            self.form.show_draft(draft(self._base.client_policy))
            self._edited()

    @Slot()
    def save(self) -> None:
        """Send the policy, unless its parameters are not a JSON object."""
        if self._base is None or not self._dirty or self._saving:
            return
        try:
            policy = policy_of(self.form.draft())
        except ConfigError as error:
            self.form.defaults.validate()
            self._failure = f"Parameters: {error.sentence} {error.hint}".strip()
            self._show_state()
            return
        self._saving = True
        self._show_state()
        spawn(self._save(self._base.name, policy), name=f"save the client policy of {self._base.name}")

    async def _save(self, name: str, policy: ClientPolicy) -> None:
        failure = ""
        try:
            saved = await self._commands.patch(name, ConfigPatch(client_policy=policy))
        except AppError as error:
            failure = f"{error.sentence} {error.hint}".strip()
        else:
            self._drafts.pop(name, None)
            if self._base is not None and self._base.name == name:
                self._base = saved
                self._read()
        finally:
            self._saving = False
        if self._base is not None and self._base.name == name:
            self._failure = failure
        self._show_state()


def _treated(model: ModelView) -> tuple[object, ...]:
    """What decides how requests for a model are treated, as far as the model tells."""
    return model.name, model.backend, model.phase, model.client_policy, model.capabilities
