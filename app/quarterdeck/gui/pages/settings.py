"""The settings page: every setting of the core, applied at once, the desktop's files, and About."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from PySide6.QtCore import Slot
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QScrollArea, QVBoxLayout, QWidget

from quarterdeck.errors import AppError
from quarterdeck.gui.presenters.setting import group_order
from quarterdeck.gui.store import Store
from quarterdeck.gui.widgets.about import About
from quarterdeck.gui.widgets.desktop_group import DesktopGroup
from quarterdeck.gui.widgets.setting_row import SettingRow
from quarterdeck.schemas.system import SettingView
from quarterdeck.tasks import spawn

WIDTH_IN_LETTERS = 120


class SettingsPage(QWidget):
    """Rows are made once from what the core declares, and follow later changes in place."""

    def __init__(self, store: Store, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._store = store
        self.rows: dict[str, SettingRow] = {}
        self._groups: list[QWidget] = []
        self._column = QVBoxLayout()
        self._column.setSpacing(16)
        self._column.setContentsMargins(28, 22, 28, 28)
        title = QLabel("Settings")
        title.setProperty("role", "title")
        self._column.addWidget(title)
        self.desktop = DesktopGroup()
        self.desktop.done.connect(store.toast)
        self.about = About()
        self.about.copied.connect(self._on_copied)
        self._column.addWidget(self.desktop)
        self._column.addWidget(self.about)
        self._column.addStretch()
        self._area = self._scroll_area()
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(self._area)
        store.settings_changed.connect(self._on_settings)
        store.status_changed.connect(self._on_status)
        self._on_settings()
        self._on_status()

    def page_shown(self) -> None:
        self.desktop.refresh()

    def page_hidden(self) -> None:
        """Nothing runs while nobody looks."""

    def focus_setting(self, name: str) -> None:
        """Scroll to a setting and put the cursor into it."""
        row = self.rows.get(name)
        if row is not None:
            self._area.ensureWidgetVisible(row)
            row.editor.setFocus()

    def _scroll_area(self) -> QScrollArea:
        narrow = QWidget()
        narrow.setProperty("plain", "true")
        narrow.setLayout(self._column)
        narrow.setMaximumWidth(self.fontMetrics().averageCharWidth() * WIDTH_IN_LETTERS)
        holder = QWidget()
        holder.setProperty("plain", "true")
        row = QHBoxLayout(holder)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(narrow, 1)
        row.addStretch()
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setAccessibleName("Settings")
        area.setWidget(holder)
        return area

    @Slot()
    def _on_settings(self) -> None:
        views = self._store.settings
        if set(views) != set(self.rows):
            self._build(list(views.values()))
        for name, view in views.items():
            self.rows[name].update_view(view)

    @Slot()
    def _on_status(self) -> None:
        self.about.show_status(self._store.status)

    def _build(self, views: list[SettingView]) -> None:
        for card in self._groups:
            self._column.removeWidget(card)
            card.deleteLater()
        self._groups.clear()
        self.rows.clear()
        ordered = sorted(views, key=lambda view: group_order(view.group))
        for position, (group, members) in enumerate(groupby(ordered, key=lambda view: view.group), start=1):
            card = self._card(group, list(members))
            self._groups.append(card)
            self._column.insertWidget(position, card)

    def _card(self, group: str, views: list[SettingView]) -> QFrame:
        card = QFrame()
        card.setProperty("card", "true")
        column = QVBoxLayout(card)
        column.setContentsMargins(20, 16, 20, 12)
        column.setSpacing(2)
        heading = QLabel(group)
        heading.setProperty("role", "heading")
        column.addWidget(heading)
        for view in views:
            row = self.rows[view.name] = SettingRow(view)
            row.changed.connect(self._on_changed)
            column.addWidget(row)
        return card

    @Slot(str)
    def _on_copied(self, said: str) -> None:
        self._store.toast.emit(said, "ok")

    @Slot(str, object)
    def _on_changed(self, name: str, value: Any) -> None:
        spawn(self._apply(name, value), name=f"change {name}")

    async def _apply(self, name: str, value: Any) -> None:
        client = self._store.client
        row = self.rows[name]
        if client is None:
            row.show_error(AppError("core_unreachable", "There is no connection to the core.", "Try again later."))
            return
        try:
            views = await client.change_settings({name: value})
        except AppError as error:
            row.show_error(error)
            return
        self._store.settings = {view.name: view for view in views}
        self._store.settings_changed.emit()
