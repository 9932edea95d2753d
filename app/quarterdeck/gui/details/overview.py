"""The facts about a model, and what a person says about it: status and notes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from PySide6.QtCore import QSignalBlocker, Qt, Signal, Slot
from PySide6.QtWidgets import (
    QComboBox,
    QFormLayout,
    QFrame,
    QHBoxLayout,
    QLabel,
    QPlainTextEdit,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from quarterdeck.errors import AppError
from quarterdeck.gui import theme
from quarterdeck.gui.details.save_bar import SaveBar
from quarterdeck.gui.details.version_row import VersionRow
from quarterdeck.gui.presenters.badges import BADGES, status_choice
from quarterdeck.gui.presenters.facts import facts
from quarterdeck.gui.widgets.badge import shade
from quarterdeck.gui.widgets.elided import ElidedLabel
from quarterdeck.schemas.models import ConfigPatch, ModelView, Status
from quarterdeck.tasks import spawn

if TYPE_CHECKING:
    from quarterdeck.gui.commands import Commands

NOTES_LINES = 4
CHOICES = (Status.UNKNOWN, Status.COMPATIBLE, Status.DEGRADED, Status.INCOMPATIBLE)


class Draft(NamedTuple):
    """Edits that were not saved."""

    status: Status
    notes: str


class OverviewTab(QWidget):
    """Edits are kept per model until they are saved or reverted; `dirty_changed` tells whether there are any."""

    dirty_changed = Signal(bool)

    def __init__(self, commands: Commands, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._commands = commands
        self._base: ModelView | None = None
        self._drafts: dict[str, Draft] = {}
        self._error = ""
        self._saving = False
        self._build()
        theme.notifier.changed.connect(self._icons)

    @property
    def drafts(self) -> set[str]:
        """The models with edits that are not saved."""
        self._remember()
        return set(self._drafts)

    def show_model(self, model: ModelView, backend_title: str = "") -> None:
        """Show a model, or its newer state; fields that a person is editing keep the edit."""
        other = self._base is None or self._base.name != model.name
        if other:
            self._remember()
            self._error = ""
        draft = self._drafts.get(model.name) if other else self._draft()
        base, self._base = self._base, model
        self._show_facts(model, backend_title)
        self.version.show_model(model)
        status, notes = model.status, model.notes
        if draft is not None and (other or (base is not None and draft.status is not base.status)):
            status = draft.status
        if draft is not None and (other or (base is not None and draft.notes != base.notes)):
            notes = draft.notes
        self._fill(status, notes)

    def _build(self) -> None:
        inside = QWidget()
        inside.setProperty("plain", True)
        column = QVBoxLayout(inside)
        column.setContentsMargins(16, 14, 16, 6)
        column.setSpacing(10)
        self._facts = QFormLayout()
        self._facts.setHorizontalSpacing(18)
        self._facts.setVerticalSpacing(5)
        column.addLayout(self._facts)
        column.addLayout(self._file_row())
        self.version = VersionRow(self._commands)
        column.addWidget(self.version)
        column.addSpacing(4)
        self.status = QComboBox()
        self.status.setAccessibleName("Status")
        self.status.currentIndexChanged.connect(self._changed)
        self.notes = QPlainTextEdit()
        self.notes.setAccessibleName("Notes")
        self.notes.setTabChangesFocus(True)
        self.notes.setPlaceholderText("What you know about this model on this computer")
        self.notes.setMinimumHeight(self.fontMetrics().lineSpacing() * NOTES_LINES + 20)
        self.notes.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Ignored)
        self.notes.textChanged.connect(self._changed)
        for title, field in (("&Status", self.status), ("&Notes", self.notes)):
            label = QLabel(title)
            label.setBuddy(field)
            column.addWidget(label)
            column.addWidget(field)
        column.setStretchFactor(self.notes, 1)
        scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setWidget(inside)
        self.bar = SaveBar()
        self.bar.setContentsMargins(16, 6, 16, 14)
        self.bar.saved.connect(self.save)
        self.bar.reverted.connect(self.revert)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.setSpacing(0)
        outer.addWidget(scroll, 1)
        outer.addWidget(self.bar)

    def _file_row(self) -> QHBoxLayout:
        self.path = ElidedLabel(Qt.TextElideMode.ElideMiddle)
        self.path.setAccessibleName("File")
        self.copy_path = QPushButton("Copy path")
        self.copy_path.clicked.connect(self._copy_path)
        self.show_file = QPushButton("Show file")
        self.show_file.setToolTip("Open the folder in which the file lies")
        self.show_file.clicked.connect(self._show_file)
        row = QHBoxLayout()
        row.addWidget(self.path, 1)
        row.addWidget(self.copy_path)
        row.addWidget(self.show_file)
        return row

    def _show_facts(self, model: ModelView, backend_title: str) -> None:
        rows = facts(model, datetime.now(UTC), backend_title)
        while self._facts.rowCount() > len(rows):
            self._facts.removeRow(self._facts.rowCount() - 1)
        for place, (label, value) in enumerate(rows):
            if place == self._facts.rowCount():
                self._facts.addRow(_muted(), _value())
            for role, words in ((QFormLayout.ItemRole.LabelRole, label), (QFormLayout.ItemRole.FieldRole, value)):
                item = self._facts.itemAt(place, role)
                widget = item.widget() if item is not None else None
                if isinstance(widget, QLabel) and widget.text() != words:
                    widget.setText(words)
        self.path.setText(model.path or "")
        self.path.setToolTip(model.path or "")
        for part in (self.path, self.copy_path, self.show_file):
            part.setVisible(bool(model.path))

    def _fill(self, status: Status, notes: str) -> None:
        with QSignalBlocker(self.status), QSignalBlocker(self.notes):
            self._choices(status)
            self.status.setCurrentIndex(self.status.findData(status))
            if self.notes.toPlainText() != notes:
                self.notes.setPlainText(notes)
        self._changed()

    def _choices(self, status: Status) -> None:
        """Only the core sets `testing`: it is listed while it holds and cannot be chosen."""
        testing = status is Status.TESTING or (self._base is not None and self._base.status is Status.TESTING)
        wanted = ((Status.TESTING, *CHOICES)) if testing else CHOICES
        if [self.status.itemData(row) for row in range(self.status.count())] == list(wanted):
            return
        self.status.clear()
        for choice in wanted:
            self.status.addItem(status_choice(choice), choice)
        if testing:
            model = self.status.model()
            model.setData(model.index(0, 0), 0, Qt.ItemDataRole.UserRole - 1)
        self._icons()

    @Slot()
    def _icons(self) -> None:
        for row in range(self.status.count()):
            badge = BADGES[self.status.itemData(row)]
            self.status.setItemIcon(row, theme.icon(badge.icon, shade(badge.tone).fg))

    def _draft(self) -> Draft | None:
        if self._base is None:
            return None
        chosen = self.status.currentData()  # comes back from Qt as a plain string
        edited = Draft(Status(chosen) if chosen else self._base.status, self.notes.toPlainText())
        return None if edited == Draft(self._base.status, self._base.notes) else edited

    def _remember(self) -> None:
        if self._base is None:
            return
        draft = self._draft()
        if draft is None:
            self._drafts.pop(self._base.name, None)
        else:
            self._drafts[self._base.name] = draft

    @Slot()
    def _changed(self) -> None:
        dirty = self._draft() is not None
        if not dirty:
            self._error = ""
        self.bar.show_state(dirty=dirty, error=self._error, saving=self._saving)
        self.dirty_changed.emit(dirty)

    @Slot()
    def revert(self) -> None:
        if self._base is not None:
            self._error = ""
            self._fill(self._base.status, self._base.notes)

    @Slot()
    def save(self) -> None:
        """Send the fields that differ from what is saved."""
        draft, base = self._draft(), self._base
        if draft is None or base is None or self._saving:
            return
        changes: dict[str, str] = {}
        if draft.status is not base.status:
            changes["compatibility_status"] = draft.status.value
        if draft.notes != base.notes:
            changes["compatibility_notes"] = draft.notes
        self._saving = True
        self._changed()
        spawn(self._save(base.name, ConfigPatch(**changes)), name=f"save {base.name}")

    async def _save(self, name: str, patch: ConfigPatch) -> None:
        error, saved = "", None
        try:
            saved = await self._commands.patch(name, patch)
        except AppError as failure:
            error = f"{failure.sentence} {failure.hint}".strip()
        finally:
            self._saving = False
        if self._base is None or self._base.name != name:
            if saved is not None:
                self._drafts.pop(name, None)
            return
        self._error = error
        if saved is not None:
            self._base = saved
        self._changed()

    @Slot()
    def _copy_path(self) -> None:
        self._commands.copy_text(self.path.text(), "the path")

    @Slot()
    def _show_file(self) -> None:
        if self._base is not None:
            self._commands.show_file(self._base.name)


def _muted() -> QLabel:
    label = QLabel()
    label.setProperty("role", "muted")
    return label


def _value() -> QLabel:
    label = QLabel()
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    label.setWordWrap(True)
    return label
