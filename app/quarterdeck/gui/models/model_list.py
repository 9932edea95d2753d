"""Which models of the store are shown, and in which order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, QTimer, Signal, Slot

from quarterdeck.gui.presenters.filters import Filters, chosen, ordered, search_text

if TYPE_CHECKING:
    from quarterdeck.gui.store import Store
    from quarterdeck.schemas.models import ModelView


class ModelRows(QObject):
    """The names of the models that a person wants to see, in the order they chose; `changed` follows each change.

    Filter and order are worked out anew when a person changes them and when a model is added, not at every event: a
    card must not jump or vanish under the pointer because its status changed.
    """

    changed = Signal()

    def __init__(self, store: Store, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._store = store
        self._known: set[str] = set()
        self._texts: dict[str, tuple[ModelView, str]] = {}
        self.filters = Filters()
        self.names: list[str] = []
        # A scan adds models by the thousand, each with an event of its own.
        self._soon = QTimer(self, interval=0, singleShot=True)
        self._soon.timeout.connect(self.follow)
        store.models_reset.connect(self._soon.start)
        store.model_changed.connect(self._changed)
        store.model_removed.connect(self._changed)
        self.set_filters(self.filters)

    @property
    def total(self) -> int:
        return len(self._known)

    def set_filters(self, filters: Filters) -> None:
        """Show what these filters let through."""
        self.filters = filters
        self._known = set(self._store.models)
        self._show([model.name for model in chosen(self._store.models.values(), filters, self._text)])

    @Slot()
    def follow(self) -> None:
        """Take in models that came, and leave out those that went."""
        self._soon.stop()
        models = self._store.models
        came = [model.name for name, model in models.items() if name not in self._known and self.filters.accepts(model)]
        self._known = set(models)
        self._texts = {name: text for name, text in self._texts.items() if name in models}
        self._show([*(name for name in self.names if name in models), *came])

    def _text(self, model: ModelView) -> str:
        """What a search looks through, worked out once for each state of a model."""
        known = self._texts.get(model.name)
        if known is None or known[0] is not model:
            known = self._texts[model.name] = (model, search_text(model))
        return known[1]

    @Slot(str)
    def _changed(self, name: str) -> None:
        if (name in self._known) != (name in self._store.models):
            self._soon.start()

    def _show(self, names: list[str]) -> None:
        models = self._store.models
        self.names = [model.name for model in ordered([models[name] for name in names], self.filters)]
        self.changed.emit()
