"""What a change would do, before it is made."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QFontDatabase
from PySide6.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QFrame,
    QGridLayout,
    QLabel,
    QPlainTextEdit,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from quarterdeck.gui.dialogs.ask import MARGIN, WIDTH_IN_LETTERS
from quarterdeck.gui.presenters.problems import difference, is_grave, is_long, verb, way_back
from quarterdeck.gui.widgets.words import words
from quarterdeck.schemas.problems import Change, Fix, FixPreview

MOST_LINES = 16
WIDE_IN_LETTERS = 100
SHARE_OF_SCREEN = 0.5
HEADINGS = ("What", "Now", "Then")


class FixPreviewDialog(QDialog):
    """Shows each change as now and then; accepted with the verb."""

    def __init__(self, parent: QWidget | None, fix: Fix, preview: FixPreview) -> None:
        super().__init__(parent)
        self.setWindowTitle(preview.title)
        self.setAccessibleName(preview.title)
        self.setWindowModality(Qt.WindowModality.WindowModal)
        long = [change for change in preview.changes if is_long(change)]
        letters = WIDE_IN_LETTERS if long else WIDTH_IN_LETTERS
        self.setMinimumWidth(self.fontMetrics().averageCharWidth() * letters + 2 * MARGIN)
        column = QVBoxLayout(self)
        column.setContentsMargins(MARGIN, MARGIN, MARGIN, MARGIN)
        column.setSpacing(14)
        column.addWidget(words("heading", preview.title))
        short = [change for change in preview.changes if not is_long(change)]
        if short:
            column.addLayout(_table(short))
        if long:
            column.addWidget(self._differences(long), 1)
        self.consequence = words("", _consequence(fix, preview))
        self.consequence.setVisible(bool(self.consequence.text()))
        column.addWidget(self.consequence)
        column.addWidget(self._buttons(fix, preview))
        if long:
            # Lines that wrap need more height than a dialog is given by itself.
            width = max(self.minimumWidth(), self.sizeHint().width())
            self.resize(width, column.heightForWidth(width))

    def _differences(self, changes: list[Change]) -> QScrollArea:
        """All of them, as far as the screen has room for them; the rest is a turn of the wheel away."""
        body = QWidget()
        body.setProperty("plain", "true")
        column = QVBoxLayout(body)
        column.setContentsMargins(0, 0, 0, 0)
        for change in changes:
            column.addWidget(words("muted", change.what))
            column.addWidget(_difference(change))
        column.addStretch()
        area = QScrollArea()
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        area.setWidgetResizable(True)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setWidget(body)
        room = int(self.screen().availableGeometry().height() * SHARE_OF_SCREEN)
        area.setMinimumHeight(min(body.sizeHint().height(), room))
        return area

    def _buttons(self, fix: Fix, preview: FixPreview) -> QDialogButtonBox:
        box = QDialogButtonBox()
        self.cancel_button: QPushButton = box.addButton("Cancel", QDialogButtonBox.ButtonRole.RejectRole)
        self.verb_button: QPushButton = box.addButton(verb(fix), QDialogButtonBox.ButtonRole.AcceptRole)
        grave = is_grave(fix, preview)
        self.verb_button.setProperty("kind", "danger" if grave else "primary")
        # What can be taken back may be a key press away; what cannot is not.
        (self.cancel_button if grave else self.verb_button).setDefault(True)
        box.accepted.connect(self.accept)
        box.rejected.connect(self.reject)
        return box

    @property
    def texts(self) -> list[str]:
        """Every text of the dialog, from top to bottom."""
        found: list[str] = []
        for part in self.findChildren(QWidget):
            if isinstance(part, QLabel):
                found.append(part.text())
            elif isinstance(part, QPlainTextEdit):
                found.append(part.toPlainText())
        return found


def _consequence(fix: Fix, preview: FixPreview) -> str:
    parts = [
        preview.consequence or ("Then it is tried whether that helped." if fix.retries else ""),
        way_back(fix, preview),
    ]
    return " ".join(part for part in parts if part)


def _table(changes: list[Change]) -> QGridLayout:
    grid = QGridLayout()
    grid.setHorizontalSpacing(16)
    grid.setVerticalSpacing(8)
    for place, heading in enumerate(HEADINGS):
        grid.addWidget(words("muted", heading), 0, place)
        grid.setColumnStretch(place, 1)
    for row, change in enumerate(changes, start=1):
        for place, text in enumerate((change.what, change.before.strip() or "–", change.after.strip() or "–")):
            label = words("", text)
            label.setAccessibleName(f"{HEADINGS[place]}: {text}")
            grid.addWidget(label, row, place, Qt.AlignmentFlag.AlignTop)
    return grid


def _difference(change: Change) -> QPlainTextEdit:
    text = difference(change)
    box = QPlainTextEdit(text, readOnly=True)
    box.setProperty("detail", True)
    box.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
    box.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
    box.setTabChangesFocus(True)
    box.setAccessibleName(f"Difference: {change.what}")
    box.setFixedHeight(box.fontMetrics().lineSpacing() * (min(MOST_LINES, text.count("\n") + 1) + 2) + 8)
    return box
