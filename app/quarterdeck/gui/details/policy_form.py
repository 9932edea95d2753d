"""Other names of a model, who may stay loaded beside it, and when it is unloaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QSignalBlocker, Qt, Signal, Slot
from PySide6.QtWidgets import QCheckBox, QComboBox, QDoubleSpinBox, QFormLayout, QHBoxLayout, QLineEdit, QWidget

from quarterdeck.gui.presenters.policy import MINUTE, Policy, general_idle, names_in
from quarterdeck.gui.widgets.spin import aligned

if TYPE_CHECKING:
    from quarterdeck.gui.store import Store

GENERAL, NEVER, AFTER = range(3)
USUAL_MINUTES = 15.0


class PolicyForm(QWidget):
    """Shows a Policy; `changed` follows every edit."""

    changed = Signal()

    def __init__(self, store: Store, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._store = store
        self.aliases = QLineEdit(placeholderText="gpt-4o, coder")
        self.aliases.setAccessibleName("Other names")
        self.aliases.setToolTip("Names under which clients may ask for this model too, between commas")
        self.group = QLineEdit(placeholderText="None")
        self.group.setAccessibleName("Group")
        self.group.setToolTip("Models of one group may be loaded at the same time")
        self.pinned = QCheckBox("Keep it loaded when another model needs room")
        self.idle = QComboBox()
        self.idle.setAccessibleName("Unload when idle")
        self.idle.addItems([general_idle(0), "Never", "After"])
        self.minutes = aligned(QDoubleSpinBox(decimals=1, minimum=0.1, maximum=10_080.0, value=USUAL_MINUTES))
        self.minutes.setSuffix(" min")
        self.minutes.setAccessibleName("Minutes without a request")
        row = QHBoxLayout()
        row.setSpacing(8)
        row.addWidget(self.idle, 1)
        row.addWidget(self.minutes)
        form = QFormLayout(self)
        form.setContentsMargins(0, 0, 0, 0)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.setHorizontalSpacing(14)
        form.setVerticalSpacing(8)
        form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        for label, field in (("Other names", self.aliases), ("Group", self.group), ("Unload when idle", row),
                             ("", self.pinned)):  # fmt: skip
            form.addRow(label, field)
        self._fields = (self.aliases, self.group, self.pinned, self.idle, self.minutes)
        for signal in (self.aliases.textChanged, self.group.textChanged, self.pinned.toggled,
                       self.idle.currentIndexChanged, self.minutes.valueChanged):  # fmt: skip
            signal.connect(self._edited)
        store.settings_changed.connect(self._show_general)
        self._show_general()

    def show_policy(self, policy: Policy) -> None:
        blockers = [QSignalBlocker(field) for field in self._fields]
        if names_in(self.aliases.text()) != policy.aliases:
            self.aliases.setText(", ".join(policy.aliases))
        if self.group.text().strip() != policy.group.strip():
            self.group.setText(policy.group)
        self.pinned.setChecked(policy.pinned)
        idle = policy.idle_timeout
        self.idle.setCurrentIndex(GENERAL if idle is None else (AFTER if idle else NEVER))
        if idle:
            self.minutes.setValue(idle / MINUTE)
        del blockers
        self._show_minutes()

    def policy(self) -> Policy:
        """What the fields hold."""
        which = self.idle.currentIndex()
        idle = {GENERAL: None, NEVER: 0.0}.get(which, round(self.minutes.value() * MINUTE, 1))
        return Policy(names_in(self.aliases.text()), self.group.text().strip(), self.pinned.isChecked(), idle)

    @Slot()
    def _edited(self) -> None:
        self._show_minutes()
        self.changed.emit()

    @Slot()
    def _show_general(self) -> None:
        setting = self._store.settings.get("idle_timeout")
        self.idle.setItemText(GENERAL, general_idle(float(setting.value) if setting is not None else 0.0))

    def _show_minutes(self) -> None:
        self.minutes.setVisible(self.idle.currentIndex() == AFTER)
