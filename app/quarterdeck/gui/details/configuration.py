"""How clients name a model, when it is unloaded, and the options it is loaded with."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtGui import QAction, QKeySequence, QShortcut
from PySide6.QtWidgets import QHBoxLayout, QLabel, QMenu, QPushButton, QVBoxLayout, QWidget

from quarterdeck.errors import AppError
from quarterdeck.gui import theme
from quarterdeck.gui.details.policy_form import PolicyForm
from quarterdeck.gui.details.save_bar import SaveBar
from quarterdeck.gui.presenters.json_text import EXAMPLES, Problem, refusal, same, shown, with_options
from quarterdeck.gui.presenters.policy import Policy, patch, policy
from quarterdeck.gui.widgets.elided import LinkLine
from quarterdeck.gui.widgets.json_editor import JsonEditor
from quarterdeck.schemas.models import ConfigPatch, ModelView, Phase
from quarterdeck.tasks import spawn

if TYPE_CHECKING:
    from quarterdeck.gui.commands import Commands
    from quarterdeck.gui.store import Store

LLAMA_CPP = ("embedded", "llama-server")
CONFIG_CODES = ("bad_json", "bad_load_config", "unknown_option")


class Draft(NamedTuple):
    """Edits that were not saved."""

    text: str
    policy: Policy


class ConfigurationTab(QWidget):
    """Edits are kept per model until they are saved or reverted; `dirty_changed` tells whether there are any."""

    dirty_changed = Signal(bool)

    def __init__(self, store: Store, commands: Commands, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._store, self._commands = store, commands
        self._base: ModelView | None = None
        self._drafts: dict[str, Draft] = {}
        self._saving = False
        self._refused: Problem | None = None
        self._failure = ""
        self._build()

    @property
    def drafts(self) -> set[str]:
        """The models with edits that are not saved."""
        self._remember()
        return set(self._drafts)

    def show_model(self, model: ModelView) -> None:
        """Show a model, or its newer state; an edit under way is kept."""
        before, self._base = self._base, model
        if before is None or before.name != model.name:
            if before is not None:
                self._base = before
                self._remember()
                self._base = model
            self._refused, self._failure = None, ""
            draft = self._drafts.get(model.name, Draft(shown(model.load_config), policy(model)))
            self.editor.show_text(draft.text)
            self.policy.show_policy(draft.policy)
            self._show_refused_load(model)
        else:
            if before.load_config != model.load_config and same(self.editor.toPlainText(), before.load_config):
                self.editor.replace_text(shown(model.load_config))
            if policy(before) != policy(model) and self.policy.policy() == policy(before):
                self.policy.show_policy(policy(model))
        self.examples.setVisible(model.backend in LLAMA_CPP)
        self._changed()

    def _build(self) -> None:
        self.policy = PolicyForm(self._store)
        self.policy.changed.connect(self._edited)
        about = QLabel("Options for the engine, used at the next load. An empty object { } means its defaults.")
        about.setWordWrap(True)
        about.setProperty("role", "muted")
        self.editor = JsonEditor()
        self.editor.setMinimumHeight(self.fontMetrics().lineSpacing() * 5)
        self.editor.textChanged.connect(self._edited)
        self.editor.problem_changed.connect(self._changed)
        self.examples = QPushButton("Add an option")
        menu = QMenu(self.examples)
        for place, example in enumerate(EXAMPLES):
            menu.addAction(example.title).setData(place)
        menu.triggered.connect(self._add_example)
        self.examples.setMenu(menu)
        self.format = QPushButton("Format")
        self.format.setToolTip("Indent neatly (Ctrl+Shift+F); undo takes it back")
        self.format.clicked.connect(self.editor.format_text)
        self.place = LinkLine()
        self.place.clicked.connect(self.editor.go_to_problem)
        self.reload = QLabel("The model is loaded. Changed options take effect when it is loaded again.")
        self.reload.setWordWrap(True)
        self.reload.setProperty("role", "muted")
        self.bar = SaveBar()
        self.bar.saved.connect(self.save)
        self.bar.reverted.connect(self.revert)
        tools = QHBoxLayout()
        tools.addWidget(self.examples)
        tools.addWidget(self.format)
        tools.addStretch(1)
        column = QVBoxLayout(self)
        column.setContentsMargins(16, 14, 16, 14)
        column.setSpacing(10)
        column.addWidget(self.policy)
        column.addSpacing(4)
        column.addWidget(about)
        column.addLayout(tools)
        column.addWidget(self.editor, 1)
        for part in (self.reload, self.place, self.bar):
            column.addWidget(part)
        for keys, action in ((QKeySequence(QKeySequence.StandardKey.Save), self.save),
                             (QKeySequence("Ctrl+Shift+F"), self.editor.format_text)):  # fmt: skip
            shortcut = QShortcut(keys, self)
            shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            shortcut.activated.connect(action)

    def _show_refused_load(self, model: ModelView) -> None:
        """When the last load failed because of the configuration, mark the option it complained about."""
        error = self._commands.error(model.name)
        if error is not None and error.code in CONFIG_CODES and self.editor.problem is None:
            self._refuse(error)

    def _refuse(self, error: AppError) -> None:
        """Mark what the core refused where that is an option, else say it below."""
        if error.code in CONFIG_CODES:
            self._refused = refusal(error, self.editor.toPlainText())
            self.editor.show_problem(self._refused)
        else:
            self._failure = f"{error.sentence} {error.hint}".strip()

    @property
    def _text_dirty(self) -> bool:
        return self._base is not None and not same(self.editor.toPlainText(), self._base.load_config)

    @property
    def _dirty(self) -> bool:
        return self._text_dirty or (self._base is not None and self.policy.policy() != policy(self._base))

    def _remember(self) -> None:
        if self._base is None:
            return
        if self._dirty:
            self._drafts[self._base.name] = Draft(self.editor.toPlainText(), self.policy.policy())
        else:
            self._drafts.pop(self._base.name, None)

    @Slot()
    def _edited(self) -> None:
        self._refused, self._failure = None, ""
        self._changed()

    @Slot()
    def _changed(self) -> None:
        problem, dirty = self.editor.problem, self._dirty
        refused = problem is not None and problem is self._refused
        where = f"Go to line {problem.line}, column {problem.column}" if problem and problem.line else ""
        colours = theme.tokens()
        self.place.setVisible(bool(where))
        self.place.setText(where)
        self.place.setToolTip("Put the cursor where the mistake is")
        self.place.setIcon(theme.icon("error", colours.error.fg))
        self.place.set_colour(colours.error.fg)
        self.reload.setVisible(self._text_dirty and self._base is not None and self._base.phase is Phase.LOADED)
        # A text the core refused may be sent again: what it refuses can change, broken JSON cannot.
        self.bar.show_state(
            dirty=dirty,
            error=problem.words if problem else self._failure,
            blocked=problem is not None and not refused,
            saving=self._saving,
        )
        self.dirty_changed.emit(dirty)

    @Slot(QAction)
    def _add_example(self, action: QAction) -> None:
        self.editor.validate()
        if self.editor.problem is not None and self.editor.problem is not self._refused:
            self.editor.go_to_problem()
            return
        self.editor.replace_text(with_options(self.editor.toPlainText(), EXAMPLES[int(action.data())].options))

    @Slot()
    def revert(self) -> None:
        if self._base is not None:
            self.editor.replace_text(shown(self._base.load_config))
            self.policy.show_policy(policy(self._base))
            self._edited()

    @Slot()
    def save(self) -> None:
        """Send what changed, unless the options are not a JSON object."""
        if self._refused is None:
            self.editor.validate()
        blocked = self.editor.problem is not None and self.editor.problem is not self._refused
        if self._base is None or not self._dirty or blocked or self._saving:
            return
        text = self.editor.toPlainText() if self._text_dirty else None
        sent = self.policy.policy()
        self._saving = True
        self._changed()
        work = self._save(self._base.name, patch(policy(self._base), sent, text), sent)
        spawn(work, name=f"save configuration of {self._base.name}")

    async def _save(self, name: str, wanted: ConfigPatch, sent: Policy) -> None:
        failure, saved = None, None
        try:
            saved = await self._commands.patch(name, wanted)
        except AppError as error:
            failure = error
        finally:
            self._saving = False
        if self._base is None or self._base.name != name:
            if saved is not None:
                self._drafts.pop(name, None)
            return
        if failure is not None:
            self._refuse(failure)
        elif saved is not None:
            self._base = saved
            self._refused, self._failure = None, ""
            if self.policy.policy() == sent:
                # The core may have written names in another form.
                self.policy.show_policy(policy(saved))
            self.editor.validate()
        self._changed()
