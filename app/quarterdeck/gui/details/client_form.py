"""The fields of a client policy: mitigations, tools, context, system prompt and saved parameters."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from PySide6.QtCore import QSignalBlocker, Qt, Signal, Slot
from PySide6.QtGui import QWheelEvent
from PySide6.QtWidgets import QComboBox, QFormLayout, QLabel, QLineEdit, QPlainTextEdit, QSpinBox, QWidget

from quarterdeck.gui.presenters.client_policy import CHOICES, SWITCHES, TOOL_CHOICES, ClientDraft
from quarterdeck.gui.presenters.policy import names_in
from quarterdeck.gui.widgets.json_editor import JsonEditor
from quarterdeck.gui.widgets.spin import aligned
from quarterdeck.schemas.requests import ClientPolicy

MOST_CONTEXT = 10_000_000
TEXT_LINES = 4
LEAST_LETTERS = 10


class ClientForm(QWidget):
    """Shows a ClientDraft; `changed` follows every edit."""

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.switches = {switch.field: _choice(switch.title, switch.about, CHOICES) for switch in SWITCHES}
        self.tools = _choice("Tools it cannot use", "What happens to requests with tools", TOOL_CHOICES)
        self.num_ctx = aligned(QSpinBox(minimum=0, maximum=MOST_CONTEXT, suffix=" tokens"))
        self.num_ctx.setSingleStep(1024)
        self.num_ctx.setSpecialValueText("As it was loaded")
        self.num_ctx.setAccessibleName("Context at Ollama")
        self.num_ctx.setToolTip("The context length of this model at Ollama, for all clients")
        self.system_prompt = QPlainTextEdit(placeholderText="None")
        self.system_prompt.setAccessibleName("System prompt")
        self.system_prompt.setToolTip("Put before every conversation that brings no system message of its own")
        self.system_prompt.setTabChangesFocus(True)
        self.defaults = JsonEditor()
        self.defaults.setAccessibleName("Parameters as JSON")
        self.defaults.setToolTip('Values for what a request leaves out, such as {"temperature": 0.2}')
        self.override = QLineEdit(placeholderText="None")
        self.override.setAccessibleName("Parameters that win over requests")
        self.override.setToolTip("Names of parameters above whose value counts whatever a request says, between commas")
        self.num_ctx.setMinimumWidth(self.fontMetrics().averageCharWidth() * LEAST_LETTERS)
        for field in (self.system_prompt, self.defaults):
            field.setFixedHeight(self.fontMetrics().lineSpacing() * TEXT_LINES + 14)
        self._lay_out()
        self._connect()

    def show_draft(self, draft: ClientDraft) -> None:
        """Fill the fields, without `changed`."""
        with ExitStack() as quiet:
            for field in (*self.switches.values(), self.tools, self.num_ctx, self.override, self.system_prompt,
                          self.defaults):  # fmt: skip
                quiet.enter_context(QSignalBlocker(field))
            policy = draft.policy
            for name, box in self.switches.items():
                box.setCurrentIndex(_place(CHOICES, getattr(policy, name)))
            self.tools.setCurrentIndex(_place(TOOL_CHOICES, policy.tools))
            self.num_ctx.setValue(policy.num_ctx or 0)
            self.system_prompt.setPlainText(policy.system_prompt or "")
            self.override.setText(", ".join(policy.override))
        # It marks mistakes by its own signals.
        if self.defaults.toPlainText() != draft.defaults:
            self.defaults.show_text(draft.defaults)

    def draft(self) -> ClientDraft:
        """What the fields hold."""
        values: dict[str, Any] = {name: CHOICES[box.currentIndex()][1] for name, box in self.switches.items()}
        policy = ClientPolicy(
            **values,
            tools=TOOL_CHOICES[self.tools.currentIndex()][1],
            num_ctx=self.num_ctx.value() or None,
            system_prompt=self.system_prompt.toPlainText() or None,
            override=list(names_in(self.override.text())),
        )
        return ClientDraft(policy, self.defaults.toPlainText())

    def _lay_out(self) -> None:
        form = QFormLayout(self)
        form.setContentsMargins(0, 0, 0, 0)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.setHorizontalSpacing(14)
        form.setVerticalSpacing(8)
        form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        for switch in SWITCHES:
            label = QLabel(switch.title)
            label.setToolTip(switch.about)
            form.addRow(label, self.switches[switch.field])
        form.addRow("Tools it cannot use", self.tools)
        form.addRow("Context at Ollama", self.num_ctx)
        form.addRow("System prompt", self.system_prompt)
        form.addRow("Parameters", self.defaults)
        form.addRow("Win over requests", self.override)
        for field in (*self.switches.values(), self.tools, self.num_ctx, self.override):
            # Labels are centred only within their own height.
            form.labelForField(field).setMinimumHeight(field.sizeHint().height())

    def _connect(self) -> None:
        for box in (*self.switches.values(), self.tools):
            box.currentIndexChanged.connect(self._edited)
        for signal in (self.num_ctx.valueChanged, self.override.textChanged, self.system_prompt.textChanged,
                       self.defaults.textChanged):  # fmt: skip
            signal.connect(self._edited)

    @Slot()
    def _edited(self) -> None:
        self.changed.emit()


class _Box(QComboBox):
    """A box that the wheel scrolls past, so that no choice changes by accident."""

    def wheelEvent(self, event: QWheelEvent) -> None:
        event.ignore()


def _choice(name: str, about: str, choices: Sequence[tuple[str, Any]]) -> QComboBox:
    box = _Box()
    box.setAccessibleName(name)
    box.setAccessibleDescription(about)
    box.setToolTip(about)
    box.addItems([title for title, _ in choices])
    # The panel may be narrower than the longest choice.
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(LEAST_LETTERS)
    return box


def _place(choices: Sequence[tuple[str, Any]], value: object) -> int:
    return next(place for place, (_, each) in enumerate(choices) if each is value)
