"""The line above the cards: search, status filter, order and count."""

from __future__ import annotations

from PySide6.QtCore import QSettings, Qt, QTimer, Signal, Slot
from PySide6.QtGui import QIcon, QKeyEvent
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QLabel, QLineEdit, QToolButton, QWidget

from quarterdeck.gui import theme
from quarterdeck.gui.presenters.badges import BADGES
from quarterdeck.gui.presenters.filters import SORT_TITLES, Filters, SortKey, count_line
from quarterdeck.gui.widgets.badge import shade
from quarterdeck.schemas.models import Status

DEBOUNCE_MS = 120
SORT_SETTING, DIRECTION_SETTING = "models/sort", "models/descending"


class SearchField(QLineEdit):
    """Finds as one types; Escape clears, the Down key goes on to the results."""

    down = Signal()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape and self.text():
            self.clear()
        elif event.key() in (Qt.Key.Key_Down, Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.down.emit()
        else:
            super().keyPressEvent(event)


class ModelToolbar(QWidget):
    """Emits `changed(Filters)`; order and direction are kept in `settings` where it is given."""

    changed = Signal(object)

    def __init__(self, settings: QSettings | None = None, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._settings = settings
        self._debounce = QTimer(self, interval=DEBOUNCE_MS, singleShot=True)
        self._debounce.timeout.connect(self._emit)
        self._build()
        self._restore()
        self.search.textChanged.connect(self._debounce.start)
        self.status.currentIndexChanged.connect(self._emit)
        self.sort.currentIndexChanged.connect(self._keep)
        self.direction.toggled.connect(self._keep)
        theme.notifier.changed.connect(self._icons)
        self._icons()

    @property
    def filters(self) -> Filters:
        status = self.status.currentData()  # comes back from Qt as a plain string
        return Filters(
            words=self.search.text(),
            status=Status(status) if status else None,
            sort=SortKey(self.sort.currentData()),
            descending=self.direction.isChecked(),
        )

    def show_count(self, shown: int, total: int) -> None:
        self.count.setText(count_line(shown, total) if total else "")

    @Slot()
    def clear(self) -> None:
        """Show all models again."""
        self.search.clear()
        self.status.setCurrentIndex(0)
        self._emit()

    def _build(self) -> None:
        self.search = SearchField(placeholderText="Search models")
        self.search.setClearButtonEnabled(True)
        self.search.setAccessibleName("Search models")
        self.search.setToolTip("Search by name, other names, architecture, quantization, group or engine (Ctrl+F)")
        self.search.setMinimumWidth(self.fontMetrics().averageCharWidth() * 22)
        self._search_icon = self.search.addAction(QIcon(), QLineEdit.ActionPosition.LeadingPosition)
        self.status = QComboBox()
        self.status.setAccessibleName("Show models with status")
        self.status.addItem("Any status", None)
        for status in (Status.COMPATIBLE, Status.DEGRADED, Status.INCOMPATIBLE, Status.UNKNOWN, Status.TESTING):
            self.status.addItem(BADGES[status].word, status)
            self.status.setItemData(self.status.count() - 1, status.value, Qt.ItemDataRole.ToolTipRole)
        self.sort = QComboBox()
        self.sort.setAccessibleName("Sort by")
        self.sort.setToolTip("Sort by")
        for key, title in SORT_TITLES.items():
            self.sort.addItem(title, key.value)
        self.direction = QToolButton()
        self.direction.setCheckable(True)
        self.direction.setProperty("kind", "quiet")
        self.count = QLabel()
        self.count.setProperty("role", "muted")
        row = QHBoxLayout(self)
        row.setContentsMargins(2, 0, 12, 0)
        row.setSpacing(8)
        row.addWidget(self.search, 4)
        for part in (self.status, self.sort, self.direction, self.count):
            row.addWidget(part)
        row.addStretch(1)

    def _restore(self) -> None:
        if self._settings is None:
            return
        found = self.sort.findData(str(self._settings.value(SORT_SETTING, SortKey.NAME.value)))
        self.sort.setCurrentIndex(max(0, found))
        self.direction.setChecked(str(self._settings.value(DIRECTION_SETTING, "false")).lower() == "true")

    @Slot()
    def _keep(self) -> None:
        if self._settings is not None:
            self._settings.setValue(SORT_SETTING, self.sort.currentData())
            self._settings.setValue(DIRECTION_SETTING, self.direction.isChecked())
        self._icons()
        self._emit()

    @Slot()
    def _emit(self) -> None:
        self._debounce.stop()
        self.changed.emit(self.filters)

    @Slot()
    def _icons(self) -> None:
        colours = theme.tokens()
        self._search_icon.setIcon(theme.icon("search", colours.muted))
        falling = self.direction.isChecked()
        self.direction.setIcon(theme.icon("chevron-down" if falling else "chevron-up"))
        words = "Descending" if falling else "Ascending"
        self.direction.setToolTip(f"{words} – click to turn round")
        self.direction.setAccessibleName(f"Sort direction: {words.lower()}")
        for row in range(1, self.status.count()):
            badge = BADGES[self.status.itemData(row)]
            self.status.setItemIcon(row, theme.icon(badge.icon, shade(badge.tone).fg))
