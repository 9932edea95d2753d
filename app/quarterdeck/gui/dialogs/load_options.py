"""Loading a model with other options than the stored ones, with an estimate that follows every edit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QSize, Qt, QTimer, Slot
from PySide6.QtWidgets import QDialog, QFrame, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from quarterdeck.errors import AppError, ConfigError
from quarterdeck.gui.dialogs.ask import MARGIN, confirm
from quarterdeck.gui.presenters import load_options as options_of
from quarterdeck.gui.presenters.estimate import force_text
from quarterdeck.gui.widgets.estimate_panel import EstimatePanel
from quarterdeck.gui.widgets.options_form import OptionsForm
from quarterdeck.schemas.estimate import EstimateRequest, Verdict
from quarterdeck.schemas.models import ConfigPatch, ModelView
from quarterdeck.tasks import spawn

if TYPE_CHECKING:
    from quarterdeck.gui.commands import Commands

DEBOUNCE_MS = 200
USUAL = QSize(940, 600)
FORM_IN_LETTERS = 58


class LoadOptionsDialog(QDialog):
    """Edits a copy of the stored configuration; Load uses it once, Save keeps it."""

    def __init__(self, commands: Commands, model: ModelView, parent: QWidget | None) -> None:
        super().__init__(parent)
        self._commands, self._model = commands, model
        self._asking: asyncio.Task[None] | None = None
        self._working: asyncio.Task[None] | None = None
        self._saved: str | None = None
        self.setWindowTitle(f"Load {model.name} with options")
        self.setAccessibleName(self.windowTitle())
        self.setWindowModality(Qt.WindowModality.WindowModal)
        self._build()
        self._soon = QTimer(self, interval=DEBOUNCE_MS, singleShot=True)
        self._soon.timeout.connect(self._ask)
        self.form.changed.connect(self._changed)
        self.estimate.use_context.connect(self.form.set_context)
        self.estimate.use_advice.connect(self._use_advice)
        self._fill()
        room = self.screen().availableSize()
        self.resize(USUAL.boundedTo(QSize(room.width() - 80, room.height() - 120)))
        self.load.setFocus()

    def _build(self) -> None:
        heading = QLabel(f"Load {self._model.name}")
        heading.setProperty("role", "heading")
        heading.setTextFormat(Qt.TextFormat.PlainText)
        about = QLabel("What you set here holds for this load. Save it to use it for every later load as well.")
        about.setProperty("role", "muted")
        about.setWordWrap(True)
        self.form = OptionsForm(self._model.backend, self._model.context_length)
        self.form.setMinimumWidth(self.fontMetrics().averageCharWidth() * FORM_IN_LETTERS)
        self.estimate = EstimatePanel()
        frame = QFrame()
        frame.setProperty("card", True)
        inside = QVBoxLayout(frame)
        inside.setContentsMargins(16, 14, 8, 14)
        inside.addWidget(self.estimate)
        body = QHBoxLayout()
        body.setSpacing(20)
        body.addWidget(self.form, 5)
        body.addWidget(frame, 5)
        self.problem = QLabel()
        self.problem.setProperty("role", "error")
        self.problem.setWordWrap(True)
        self.problem.setTextFormat(Qt.TextFormat.PlainText)
        column = QVBoxLayout(self)
        column.setContentsMargins(MARGIN, MARGIN, MARGIN, MARGIN)
        column.setSpacing(12)
        column.addWidget(heading)
        column.addWidget(about)
        column.addLayout(body, 1)
        column.addWidget(self.problem)
        column.addLayout(self._buttons())

    def _buttons(self) -> QHBoxLayout:
        self.save = QPushButton("Save as configuration")
        self.save.setToolTip("Keep these options for every load of this model")
        self.cancel = QPushButton("Cancel")
        self.load = QPushButton("Load")
        self.load.setProperty("kind", "primary")
        self.load.setDefault(True)
        for button, slot in ((self.save, self._save), (self.cancel, self.reject), (self.load, self._load)):
            button.setAutoDefault(False)
            button.clicked.connect(slot)
        row = QHBoxLayout()
        row.setSpacing(8)
        row.addWidget(self.save)
        row.addStretch(1)
        row.addWidget(self.load)
        row.addWidget(self.cancel)
        return row

    def _fill(self) -> None:
        try:
            self.form.show_options(options_of.read(self._model.backend, self._model.load_config))
        except ConfigError:
            # What cannot be read is shown as it is, to be mended here.
            self.form.rest.show_text(self._model.load_config)

    def _config(self) -> str | None:
        """The load_config as it stands in the fields; None, and the reason shown, while it cannot be used."""
        try:
            text = options_of.as_json(self._model.backend, self.form.options())
        except ConfigError as error:
            self._show_state(None, f"{error.sentence} {error.hint}".strip())
            return None
        self._show_state(text)
        return text

    def _show_state(self, config: str | None, problem: str = "") -> None:
        """Which buttons can be used, and why not."""
        self.problem.setText(problem)
        self.problem.setVisible(bool(problem))
        saved = config is not None and config == self._saved
        self.save.setText("Saved" if saved else "Save as configuration")
        usable = config is not None and self._working is None
        self.load.setEnabled(usable)
        self.save.setEnabled(usable and not saved)
        for button in (self.load, self.save):
            button.setToolTip(problem)

    @Slot()
    def _changed(self) -> None:
        self._soon.start()
        if self._config() is not None:
            self.estimate.show_asking()

    @Slot()
    def _ask(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
        config = self._config()
        if config is None:
            self.estimate.show_blocked("Mend the options first.")
        else:
            self._asking = spawn(self._estimate(config), name="estimate")

    async def _estimate(self, config: str) -> None:
        request = EstimateRequest(model_name=self._model.name, load_config=config)
        try:
            found = await self._commands.estimate(request)
        except AppError as error:
            self.estimate.show_error(error)
            return
        self.estimate.show_estimate(found)
        self.form.show_layer_count(found.layer_count)

    @Slot(float, int)
    def _use_advice(self, share: float, context: int) -> None:
        self.form.set_share(share)
        self.form.set_context(context)

    @Slot()
    def _save(self) -> None:
        self._work(self._store, "save options")

    @Slot()
    def _load(self) -> None:
        self._work(self._start, "load with options")

    def _work(self, what: Callable[[str], Coroutine[Any, Any, str]], name: str) -> None:
        config = self._config()
        if config is not None and self._working is None:
            self._working = spawn(self._do(what, config), name=name)
            self._show_state(config)

    async def _do(self, what: Callable[[str], Coroutine[Any, Any, str]], config: str) -> None:
        """Do one thing with the options; what went wrong is said in place."""
        problem = await what(config)
        self._working = None
        self._show_state(config, problem)

    async def _store(self, config: str) -> str:
        try:
            await self._commands.patch(self._model.name, ConfigPatch(load_config=config))
        except AppError as error:
            return f"{error.sentence} {error.hint}".strip()
        self._saved = config
        return ""

    async def _start(self, config: str) -> str:
        """Ask where the estimate speaks against it, then close and load."""
        found = self.estimate.estimate
        force = found is not None and found.verdict is Verdict.TOO_BIG
        if found is not None and force:
            title = f"Load {self._model.name} anyway?"
            if not await confirm(self, title=title, text=force_text(found), verb="Load anyway", danger=True):
                return ""
        # Closing ends what the dialog still does, but not this.
        self._working = None
        self.accept()
        self._commands.load(self._model.name, load_config=config, force=force)
        return ""

    def done(self, result: int) -> None:
        self._soon.stop()
        for task in (self._asking, self._working):
            if task is not None:
                task.cancel()
        super().done(result)
