"""One setting: label, help, editor, where the value comes from, and what is wrong with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtGui import QWheelEvent
from PySide6.QtWidgets import QCheckBox, QComboBox, QGridLayout, QLabel, QLineEdit, QPushButton, QWidget

from quarterdeck.errors import AppError
from quarterdeck.gui.presenters import setting as words

if TYPE_CHECKING:
    from quarterdeck.schemas.system import SettingView

EDITOR_LETTERS = 38


class _Choice(QComboBox):
    """A combo box that the wheel scrolls past, unless somebody works in it."""

    def wheelEvent(self, event: QWheelEvent) -> None:
        if self.hasFocus():
            super().wheelEvent(event)
        else:
            event.ignore()


class SettingRow(QWidget):
    """Emits `changed(name, value)` when a person chose another value; what was typed stays until it is accepted."""

    changed = Signal(str, object)

    def __init__(self, view: SettingView, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.view = view
        self.setProperty("plain", "true")
        label = QLabel(view.label)
        font = label.font()
        font.setBold(True)
        label.setFont(font)
        help_text = QLabel(view.help)
        help_text.setProperty("role", "muted")
        help_text.setWordWrap(True)
        self.editor = self._make_editor()
        self.editor.setProperty("invalid", "false")
        self.editor.setAccessibleName(view.label)
        self.editor.setAccessibleDescription(view.help)
        self.editor.setFixedWidth(self.fontMetrics().averageCharWidth() * EDITOR_LETTERS)
        label.setBuddy(self.editor)
        self._note = QLabel()
        self._note.setProperty("role", "muted")
        self._note.setWordWrap(True)
        self._error = QLabel()
        self._error.setProperty("role", "error")
        self._error.setWordWrap(True)
        self._error.hide()
        self.reset = QPushButton("Use default")
        self.reset.setProperty("kind", "quiet")
        self.reset.setAccessibleName(f"Use the default for {view.label}")
        self.reset.clicked.connect(self._on_reset)
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 8, 0, 8)
        grid.setHorizontalSpacing(20)
        grid.setVerticalSpacing(3)
        grid.setColumnStretch(0, 1)
        grid.addWidget(label, 0, 0)
        grid.addWidget(help_text, 1, 0)
        grid.addWidget(self._note, 2, 0)
        grid.addWidget(self._error, 3, 0, 1, 2)
        grid.addWidget(self.editor, 0, 1, 2, 1, Qt.AlignmentFlag.AlignTop)
        grid.addWidget(self.reset, 2, 1, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignTop)
        self._show_value()

    def update_view(self, view: SettingView) -> None:
        """Take the core's word for the value, unless a person is just typing another one."""
        same = view.value == self.view.value
        self.view = view
        typing = isinstance(self.editor, QLineEdit) and self.editor.isModified() and same
        self._show_state()
        if not typing:
            self._show_value()

    def show_error(self, error: AppError) -> None:
        self._error.setText(f"{error.sentence} {error.hint}".strip())
        self._error.show()
        self._mark(True)

    @property
    def error(self) -> str:
        return "" if self._error.isHidden() else self._error.text()

    @property
    def note(self) -> str:
        return self._note.text()

    def _make_editor(self) -> QWidget:
        view = self.view
        if view.choices:
            box = _Choice()
            box.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
            for choice in view.choices:
                box.addItem(words.choice_words(view.name, choice), choice)
            box.activated.connect(lambda index: self._send(box.itemData(index)))
            return box
        if isinstance(view.default, bool):
            check = QCheckBox("On")
            check.clicked.connect(self._send)
            return check
        line = QLineEdit()
        line.editingFinished.connect(self._on_typed)
        if isinstance(view.default, list):
            line.setPlaceholderText("Separate several by commas")
        return line

    def _show_value(self) -> None:
        value, editor = self.view.value, self.editor
        if isinstance(editor, QComboBox):
            editor.setCurrentIndex(editor.findData(value))
        elif isinstance(editor, QCheckBox):
            editor.setChecked(bool(value))
        elif isinstance(editor, QLineEdit):
            editor.setText(words.as_text(value))
            editor.setCursorPosition(0)
            editor.setModified(False)
        self._error.hide()
        self._mark(False)
        self._show_state()

    def _show_state(self) -> None:
        may = words.editable(self.view)
        text = words.note(self.view)
        self._note.setText(text)
        self._note.setVisible(bool(text))
        self.editor.setEnabled(may)
        self.editor.setToolTip("" if may else text)
        self.reset.setVisible(may and self.view.value != self.view.default)

    def _mark(self, invalid: bool) -> None:
        told = "true" if invalid else "false"
        if self.editor.property("invalid") == told:
            return
        self.editor.setProperty("invalid", told)
        self.editor.style().unpolish(self.editor)
        self.editor.style().polish(self.editor)

    @Slot()
    def _on_typed(self) -> None:
        if not isinstance(self.editor, QLineEdit) or not self.editor.isModified():
            return
        try:
            value = words.from_text(self.view, self.editor.text())
        except AppError as error:
            self.show_error(error)
            return
        self._send(value)

    @Slot()
    def _on_reset(self) -> None:
        if isinstance(self.editor, QLineEdit):
            self.editor.setModified(False)
        self.changed.emit(self.view.name, self.view.default)

    def _send(self, value: Any) -> None:
        if value == self.view.value:
            self._show_value()
        else:
            self.changed.emit(self.view.name, value)
