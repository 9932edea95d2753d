"""The version lock of a model: whether its files are held to what was checked, and the buttons for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Slot
from PySide6.QtWidgets import QHBoxLayout, QLabel, QProgressBar, QPushButton, QVBoxLayout, QWidget

from quarterdeck.gui import theme
from quarterdeck.gui.presenters.card import Verb
from quarterdeck.gui.presenters.facts import version_words
from quarterdeck.schemas.models import ModelView

if TYPE_CHECKING:
    from quarterdeck.gui.commands import Commands

_DOING = {
    Verb.LOCK: "Reading the files to lock them…",
    Verb.VERIFY: "Reading the files to compare them…",
    Verb.UNLOCK: "Unlocking…",
}


class VersionRow(QWidget):
    """Shows the lock of a model that has files; reading them takes a while for large ones."""

    def __init__(self, commands: Commands, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._commands = commands
        self._model: ModelView | None = None
        self._picture = QLabel()
        self.words = QLabel()
        self.words.setWordWrap(True)
        self.words.setTextFormat(Qt.TextFormat.PlainText)
        self.lock, self.verify, self.unlock = QPushButton("Lock"), QPushButton("Check"), QPushButton("Unlock")
        self.lock.setToolTip("Hold this model to the files it has now. When they change, it says so.")
        self.verify.setToolTip("Compare the files with those the model is locked to")
        self.unlock.setToolTip("Let the files change again")
        for button, slot in ((self.lock, self._lock), (self.verify, self._verify), (self.unlock, self._unlock)):
            button.clicked.connect(slot)
        self.bar = QProgressBar(textVisible=False)
        self.bar.setRange(0, 0)
        self.bar.setAccessibleName("Progress of the check")
        row = QHBoxLayout()
        row.setSpacing(8)
        row.addWidget(self._picture)
        row.addWidget(self.words, 1)
        for button in (self.verify, self.unlock, self.lock):
            row.addWidget(button)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(6)
        column.addLayout(row)
        column.addWidget(self.bar)
        commands.busy_changed.connect(self._changed)
        theme.notifier.changed.connect(self._show)

    def show_model(self, model: ModelView) -> None:
        self._model = model
        self._show()

    @Slot(str)
    def _changed(self, name: str) -> None:
        if self._model is not None and name == self._model.name:
            self._show()

    @Slot()
    def _show(self) -> None:
        if self._model is None:
            return
        model = self._model
        self.setVisible(bool(model.path) or model.locked)
        doing = _DOING.get(verb) if (verb := self._commands.busy(model.name)) is not None else None
        self.words.setText(doing or version_words(model))
        self.bar.setVisible(doing is not None)
        self.lock.setVisible(not model.locked)
        self.verify.setVisible(model.locked)
        self.unlock.setVisible(model.locked)
        for button in (self.lock, self.verify, self.unlock):
            button.setEnabled(verb is None)
            button.setAccessibleName(f"{button.text()} the version of {model.name}")
        side = self.fontMetrics().height()
        colours = theme.tokens()
        self._picture.setPixmap(theme.pixmap("lock", colours.muted, side, self.devicePixelRatioF()))
        self._picture.setVisible(model.locked)

    @Slot()
    def _lock(self) -> None:
        if self._model is not None:
            self._commands.lock(self._model.name)

    @Slot()
    def _verify(self) -> None:
        if self._model is not None:
            self._commands.verify(self._model.name)

    @Slot()
    def _unlock(self) -> None:
        if self._model is not None:
            self._commands.unlock(self._model.name)
