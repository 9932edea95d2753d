"""Making a running server known: its address, what it is, its key, and who starts it."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QSignalBlocker, Slot
from PySide6.QtWidgets import QComboBox, QLabel, QLineEdit, QWidget

from quarterdeck.errors import AppError
from quarterdeck.gui.dialogs.form import FormDialog
from quarterdeck.gui.presenters.servers import (
    FIND_OUT,
    OWNERS,
    OwnerChoice,
    ServerChoice,
    missing,
    server_choices,
    server_request,
)
from quarterdeck.tasks import spawn

if TYPE_CHECKING:
    from quarterdeck.gui.backend_commands import BackendCommands


class AddServerDialog(FormDialog):
    """Adds one server. A product chosen from the list fills in its usual address."""

    def __init__(self, commands: BackendCommands, parent: QWidget | None) -> None:
        super().__init__(
            parent,
            title="Add a server",
            about="A server that runs already, on this computer or elsewhere. Its models then appear with all others.",
            verb="Add server",
            doing="Asking the server…",
        )
        self._commands = commands
        self._choices: list[ServerChoice] = []
        self._filled = ""
        self._build()
        self._show_choices(server_choices(()))
        self._fetching = spawn(self._fetch_presets(), name="fetch presets")
        self._owner_chosen()
        self.fit()
        self.url.setFocus()

    def _build(self) -> None:
        self.kind = QComboBox()
        self.kind.setAccessibleName("What it is")
        self.kind.setMaxVisibleItems(16)
        self.kind.currentIndexChanged.connect(self._kind_chosen)
        self.hint = QLabel()
        self.hint.setProperty("role", "muted")
        self.hint.setWordWrap(True)
        self.url = QLineEdit(placeholderText="http://127.0.0.1:1234")
        self.url.setAccessibleName("Address")
        self.key = QLineEdit(placeholderText="Only if the server asks for one")
        self.key.setAccessibleName("API key")
        self.key.setEchoMode(QLineEdit.EchoMode.Password)
        self.name = QLineEdit(placeholderText="Chosen by itself")
        self.name.setAccessibleName("Name")
        self.owner = QComboBox()
        self.owner.setAccessibleName("Who starts it")
        for choice in OWNERS:
            self.owner.addItem(choice.title)
        self.owner.currentIndexChanged.connect(self._owner_chosen)
        self.owner_name = QLineEdit()
        self._owner_label = QLabel()
        for label, field in (("What it is", self.kind), ("", self.hint), ("Address", self.url), ("API key", self.key),
                             ("Name", self.name), ("Started by", self.owner)):  # fmt: skip
            self.form.addRow(label, field)
        self.form.addRow(self._owner_label, self.owner_name)
        for field in (self.url, self.key, self.name, self.owner_name):
            field.textChanged.connect(self.check)

    def work(self) -> Coroutine[Any, Any, object]:
        return self._commands.add(
            server_request(
                url=self.url.text(),
                name=self.name.text(),
                choice=self._choice,
                key=self.key.text(),
                owner=self._owner,
                owner_name=self.owner_name.text(),
            )
        )

    def missing(self) -> str:
        return missing(self.url.text(), self._owner, self.owner_name.text())

    def done(self, result: int) -> None:
        self._fetching.cancel()
        super().done(result)

    @property
    def _choice(self) -> ServerChoice:
        return self._choices[self.kind.currentIndex()] if self._choices else FIND_OUT

    @property
    def _owner(self) -> OwnerChoice:
        return OWNERS[max(0, self.owner.currentIndex())]

    async def _fetch_presets(self) -> None:
        try:
            presets = await self._commands.presets()
        except AppError:
            # The bare engines can be chosen all the same.
            return
        self._show_choices(server_choices(presets))

    def _show_choices(self, choices: list[ServerChoice]) -> None:
        chosen = self._choice.title
        with QSignalBlocker(self.kind):
            self._choices = choices
            self.kind.clear()
            for choice in choices:
                self.kind.addItem(choice.title)
            self.kind.setCurrentIndex(max(0, self.kind.findText(chosen)))
        self._kind_chosen()

    @Slot()
    def _kind_chosen(self) -> None:
        choice = self._choice
        self.hint.setText(choice.hint)
        self.hint.setVisible(bool(choice.hint))
        if choice.url and self.url.text().strip() in ("", self._filled):
            self.url.setText(choice.url)
            self._filled = choice.url
        self.check()
        self.fit()

    @Slot()
    def _owner_chosen(self) -> None:
        owner = self._owner
        self._owner_label.setText(owner.asks)
        self.owner_name.setPlaceholderText(owner.example)
        self.owner_name.setAccessibleName(owner.asks)
        for part in (self._owner_label, self.owner_name):
            part.setVisible(bool(owner.asks))
        self.check()
        self.fit()
