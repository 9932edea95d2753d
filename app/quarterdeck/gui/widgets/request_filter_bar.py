"""The filters of the Requests page: words, outcome, model."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QSignalBlocker, Qt, Signal, Slot
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QLineEdit, QWidget

from quarterdeck.gui.presenters.requests import OUTCOME_CHOICES, Outcomes, RequestFilter

ALL_MODELS = "All models"


class RequestFilterBar(QWidget):
    """`changed(RequestFilter)` says what is to be shown."""

    changed = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.search = QLineEdit(placeholderText="Filter requests", clearButtonEnabled=True)
        self.search.setAccessibleName("Filter requests by text")
        self.search.setToolTip("Words of the model, backend, key, client, address or error (Ctrl+F)")
        self.outcomes = QComboBox()
        self.outcomes.setAccessibleName("Outcome")
        for text, which in OUTCOME_CHOICES:
            self.outcomes.addItem(text, which.value)
        self.model = QComboBox()
        self.model.setAccessibleName("Model")
        self.model.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
        self.model.setMaximumWidth(self.fontMetrics().averageCharWidth() * 36)
        self.model.addItem(ALL_MODELS, "")
        self.search.textChanged.connect(self._tell)
        self.outcomes.currentIndexChanged.connect(self._tell)
        self.model.currentIndexChanged.connect(self._tell)
        line = QHBoxLayout(self)
        line.setContentsMargins(0, 0, 0, 0)
        line.setSpacing(8)
        line.addWidget(self.search, 1)
        line.addWidget(self.outcomes)
        line.addWidget(self.model)

    def offer_models(self, names: Sequence[str]) -> None:
        """Offer these models, and the one that is chosen."""
        chosen = self.model.currentData()
        wanted = list(dict.fromkeys([*names, chosen] if chosen else names))
        if wanted == [self.model.itemData(place) for place in range(1, self.model.count())]:
            return
        with QSignalBlocker(self.model):
            self.model.clear()
            self.model.addItem(ALL_MODELS, "")
            for name in wanted:
                self.model.addItem(name, name)
            self.model.setCurrentIndex(max(0, self.model.findData(chosen)))

    @Slot()
    def clear(self) -> None:
        self.search.clear()
        self.outcomes.setCurrentIndex(0)
        self.model.setCurrentIndex(0)

    @Slot()
    def focus_search(self) -> None:
        self.search.setFocus(Qt.FocusReason.ShortcutFocusReason)
        self.search.selectAll()

    @Slot()
    def _tell(self) -> None:
        outcomes = Outcomes(self.outcomes.currentData())
        self.changed.emit(RequestFilter.of(self.search.text(), outcomes, self.model.currentData() or ""))
