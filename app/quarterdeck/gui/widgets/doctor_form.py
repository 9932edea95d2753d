"""What the doctor is to examine: a server, a client, an address, or all."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QSignalBlocker, Qt, Signal, Slot
from PySide6.QtWidgets import (
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QLineEdit,
    QPushButton,
    QStyledItemDelegate,
    QVBoxLayout,
    QWidget,
)

from quarterdeck.gui import theme
from quarterdeck.gui.presenters.doctor import Target, TargetKind, Wanted, request
from quarterdeck.schemas.doctor import DoctorRequest

WIDEST_FIELD = 70
MOST_SHOWN = 14


class DoctorForm(QWidget):
    """`wanted(DoctorRequest, title)` asks for an examination, `cancelled` for its end."""

    wanted = Signal(object, str)
    cancelled = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._targets: list[Target] = []
        self._running = False
        self.target = QComboBox()
        self.target.setAccessibleName("What to examine")
        self.target.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
        self.target.setMaxVisibleItems(MOST_SHOWN)
        # A list that scrolls, not a menu over the whole screen; its lines take the room that the style gives them.
        self.target.setStyleSheet("QComboBox { combobox-popup: 0; }")
        self.target.view().setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAsNeeded)
        self.target.setItemDelegate(QStyledItemDelegate(self.target))
        self.target.currentIndexChanged.connect(self._show_fields)
        self.url = QLineEdit(placeholderText="http://127.0.0.1:8000/v1")
        self.url.setAccessibleName("Address")
        self.url.textChanged.connect(self._check)
        self.more = QPushButton("More…")
        self.more.setCheckable(True)
        self.more.setToolTip("A key, a web page that asks, a model, a WebSocket")
        self.more.toggled.connect(self._show_fields)
        self.button = QPushButton("Examine")
        self.button.setProperty("kind", "primary")
        self.button.clicked.connect(self._start_or_stop)
        row = QHBoxLayout()
        row.setSpacing(8)
        row.addWidget(self.target)
        row.addWidget(self.url, 1)
        row.addStretch()
        row.addWidget(self.more)
        row.addWidget(self.button)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(8)
        column.addLayout(row)
        column.addWidget(self._build_more())
        for field in (self.url, self.key, self.origin, self.model, self.websocket):
            field.returnPressed.connect(self._start)
        theme.notifier.changed.connect(self._icons)
        self._icons()

    def _build_more(self) -> QWidget:
        self.key = QLineEdit(placeholderText="The key that is known, if there is one")
        self.key.setEchoMode(QLineEdit.EchoMode.Password)
        self.origin = QLineEdit(placeholderText="http://localhost:3000")
        self.model = QLineEdit(placeholderText="One that is loaded")
        self.websocket = QLineEdit(placeholderText="/ws/socket.io")
        self._fields = QWidget()
        form = QFormLayout(self._fields)
        form.setContentsMargins(0, 0, 0, 0)
        form.setSpacing(8)
        form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        for label, field in (("API key", self.key), ("Web page that asks", self.origin),
                             ("Model for the chat", self.model), ("WebSocket", self.websocket)):  # fmt: skip
            field.setMaximumWidth(self.fontMetrics().averageCharWidth() * WIDEST_FIELD)
            field.setAccessibleName(label)
            form.addRow(label, field)
        return self._fields

    def offer(self, targets: Sequence[Target]) -> None:
        """What can be examined; what was chosen stays chosen."""
        if list(targets) == self._targets:
            return
        chosen = self.chosen
        self._targets = list(targets)
        with QSignalBlocker(self.target):
            self.target.clear()
            for target in targets:
                self.target.addItem(target.title)
            self._choose(chosen)
        self._show_fields()

    @property
    def chosen(self) -> Target | None:
        place = self.target.currentIndex()
        return self._targets[place] if 0 <= place < len(self._targets) else None

    def choose(self, kind: TargetKind, name: str) -> None:
        """Choose a server or a client, where it is known."""
        self._choose(next((one for one in self._targets if (one.kind, one.name) == (kind, name)), self.chosen))

    def show_running(self, running: bool) -> None:
        self._running = running
        self.button.setText("Cancel" if running else "Examine")
        self._check()
        self._icons()

    def _choose(self, target: Target | None) -> None:
        self.target.setCurrentIndex(self._targets.index(target) if target in self._targets else 0)

    @Slot()
    def _show_fields(self) -> None:
        chosen = self.chosen
        self.url.setVisible(chosen is not None and chosen.kind is TargetKind.ADDRESS)
        self._fields.setVisible(self.more.isChecked())
        self.more.setText("Less" if self.more.isChecked() else "More…")
        self._check()

    @Slot()
    def _check(self) -> None:
        missing = not self.url.isHidden() and not self.url.text().strip()
        self.button.setEnabled(self._running or (self.chosen is not None and not missing))
        self.button.setToolTip("Type an address first" if missing and not self._running else "")

    @Slot()
    def _start(self) -> None:
        if self.button.isEnabled() and not self._running:
            self._start_or_stop()

    @Slot()
    def _start_or_stop(self) -> None:
        if self._running:
            self.cancelled.emit()
        elif (chosen := self.chosen) is not None:
            typed = Wanted(self.url.text(), self.key.text(), self.origin.text(), self.model.text(),
                           self.websocket.text())  # fmt: skip
            made: DoctorRequest = request(chosen, typed)
            self.wanted.emit(made, made.url or chosen.title)

    @Slot()
    def _icons(self) -> None:
        colour = theme.tokens().on_accent
        self.button.setIcon(theme.icon("stop" if self._running else "search", colour))
