"""Making an API key, and its text, which is shown only once."""

from __future__ import annotations

from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt, Slot
from PySide6.QtGui import QFontDatabase, QGuiApplication
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from quarterdeck.errors import AppError
from quarterdeck.gui.dialogs.ask import MARGIN, WIDTH_IN_LETTERS
from quarterdeck.gui.dialogs.form import FormDialog
from quarterdeck.gui.presenters.connect import EXPIRIES
from quarterdeck.gui.presenters.policy import names_in
from quarterdeck.gui.widgets.name_completer import NameCompleter
from quarterdeck.gui.widgets.spin import aligned
from quarterdeck.schemas.access import KeyCreate, NewKey

if TYPE_CHECKING:
    from quarterdeck.gui.access_commands import AccessCommands
    from quarterdeck.gui.store import Store

LONGEST_NAME = 64
MOST = 1_000_000_000
PROFILES = (
    ("As set in Settings", "default"),
    ("Give up fast: 5 seconds, no retries", "fail-fast"),
    ("Wait patiently", "patient"),
)


class AddKeyDialog(FormDialog):
    """`made` is the new key once the dialog was accepted."""

    def __init__(self, commands: AccessCommands, store: Store, parent: QWidget | None) -> None:
        super().__init__(
            parent,
            title="Add an API key",
            about="Give each program a key of its own, so that it can be told apart, limited and revoked.",
            verb="Make key",
            doing="Making the key…",
        )
        self.made: NewKey | None = None
        self._commands = commands
        self.name = QLineEdit(placeholderText="open-webui", maxLength=LONGEST_NAME)
        self.name.setAccessibleName("Name")
        self.name.textChanged.connect(self.check)
        self.models = QLineEdit(placeholderText="All models")
        self.models.setAccessibleName("Models it may use")
        self.models.setToolTip("Names of models between commas; empty means all")
        NameCompleter(sorted(store.models), self.models)
        self.expires = QComboBox()
        self.expires.setAccessibleName("Ends")
        for expiry in EXPIRIES:
            self.expires.addItem(expiry.title)
        self.requests = _limit("Requests per minute", " requests per minute")
        self.tokens = _limit("Tokens per minute", " tokens per minute")
        self.tokens.setSingleStep(1000)
        self.concurrency = _limit("Requests at a time", " requests at a time")
        self.profile = QComboBox()
        self.profile.setAccessibleName("Time limits")
        for title, profile in PROFILES:
            self.profile.addItem(title, profile)
        self.admin = QCheckBox("It may also change models, settings and keys")
        for label, field in (("Name", self.name), ("Models", self.models), ("Ends", self.expires),
                             ("Limits", self.requests), ("", self.tokens), ("", self.concurrency),
                             ("Time limits", self.profile), ("Control", self.admin)):  # fmt: skip
            self.form.addRow(label, field)
        self.check()
        self.fit()
        self.name.setFocus()

    def missing(self) -> str:
        return "" if self.name.text().strip() else "Give the key a name first."

    def work(self) -> Coroutine[Any, Any, object]:
        return self._make()

    def failed(self, error: AppError) -> None:
        if error.code == "key_exists":
            self.name.setFocus()
            self.name.selectAll()

    async def _make(self) -> None:
        self.made = await self._commands.add(
            KeyCreate(
                name=self.name.text().strip(),
                models=list(names_in(self.models.text())),
                admin=self.admin.isChecked(),
                expires_at=EXPIRIES[self.expires.currentIndex()].end(datetime.now(UTC)),
                requests_per_minute=self.requests.value() or None,
                tokens_per_minute=self.tokens.value() or None,
                concurrency=self.concurrency.value() or None,
                profile=self.profile.currentData(),
            )
        )


class NewKeyDialog(QDialog):
    """The text of a key that was just made. It closes by its button only, so that no key is lost by a slip."""

    def __init__(self, made: NewKey, parent: QWidget | None) -> None:
        super().__init__(parent)
        title = f"The key “{made.view.name}”"
        self.setWindowTitle(title)
        self.setAccessibleName(title)
        self.setWindowModality(Qt.WindowModality.WindowModal)
        self.setMinimumWidth(self.fontMetrics().averageCharWidth() * WIDTH_IN_LETTERS + 2 * MARGIN)
        heading = QLabel(title)
        heading.setProperty("role", "heading")
        heading.setTextFormat(Qt.TextFormat.PlainText)
        about = QLabel("Copy it now: it is shown only this once. Only its fingerprint is kept.")
        about.setWordWrap(True)
        self.key = QLineEdit(made.key, readOnly=True)
        self.key.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self.key.setAccessibleName("The key")
        self.key.setCursorPosition(0)
        self.copy = QPushButton("Copy")
        self.copy.setProperty("kind", "primary")
        self.copy.clicked.connect(self._copy)
        self.copied = QLabel()
        self.copied.setProperty("role", "muted")
        self.close_button = QPushButton("I have kept it")
        self.close_button.setAutoDefault(False)
        self.close_button.clicked.connect(self.accept)
        row = QHBoxLayout()
        row.addWidget(self.key, 1)
        row.addWidget(self.copy)
        foot = QHBoxLayout()
        foot.addWidget(self.copied, 1)
        foot.addWidget(self.close_button)
        column = QVBoxLayout(self)
        column.setContentsMargins(MARGIN, MARGIN, MARGIN, MARGIN)
        column.setSpacing(14)
        column.addWidget(heading)
        column.addWidget(about)
        column.addLayout(row)
        column.addLayout(foot)
        self.copy.setFocus()

    def reject(self) -> None:
        """Escape does not close it."""

    @Slot()
    def _copy(self) -> None:
        QGuiApplication.clipboard().setText(self.key.text())
        self.copied.setText("Copied")


def _limit(name: str, suffix: str) -> QSpinBox:
    field = aligned(QSpinBox(minimum=0, maximum=MOST, suffix=suffix))
    field.setSpecialValueText(f"No limit on {name[0].lower()}{name[1:]}")
    field.setAccessibleName(name)
    return field
