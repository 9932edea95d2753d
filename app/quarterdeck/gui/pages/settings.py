"""The settings page: every setting of the core, applied at once, the desktop's files, and About."""

from __future__ import annotations

from itertools import groupby
from typing import Any, NamedTuple

from PySide6.QtCore import Qt, Slot
from PySide6.QtGui import QKeyEvent, QKeySequence, QShortcut
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QLineEdit, QScrollArea, QVBoxLayout, QWidget

from quarterdeck.errors import AppError
from quarterdeck.gui.presenters.setting import group_order, needle
from quarterdeck.gui.store import Store
from quarterdeck.gui.widgets.about import About
from quarterdeck.gui.widgets.desktop_group import DesktopGroup
from quarterdeck.gui.widgets.empty_state import EmptyState
from quarterdeck.gui.widgets.section_list import SectionList
from quarterdeck.gui.widgets.setting_row import SettingRow
from quarterdeck.schemas.system import SettingView
from quarterdeck.tasks import spawn

WIDTH_IN_LETTERS = 112


class Section(NamedTuple):
    """One card of the page: `rows` with what a search looks into, or the words of a card without rows."""

    title: str
    card: QWidget
    rows: tuple[tuple[SettingRow, str], ...] = ()
    words: str = ""


class SettingsPage(QWidget):
    """Rows are made once from what the core declares, and follow later changes in place."""

    def __init__(self, store: Store, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._store = store
        self.rows: dict[str, SettingRow] = {}
        self._groups: list[Section] = []
        self.desktop = DesktopGroup()
        self.desktop.done.connect(store.toast)
        self.about = About()
        self.about.copied.connect(self._on_copied)
        self._last = [
            Section("Desktop", self.desktop, words="desktop application menu start at login tray autostart"),
            Section("About", self.about, words="about version versions licence data folder"),
        ]
        self._build_page()
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
            self.search.clear()
            self._area.ensureWidgetVisible(row)
            row.editor.setFocus()

    @property
    def shown(self) -> list[str]:
        """The names of the settings that pass the filter."""
        return [name for name, row in self.rows.items() if not row.isHidden()]

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape and self.search.text():
            self.search.clear()
        else:
            super().keyPressEvent(event)

    def _build_page(self) -> None:
        title = QLabel("Settings")
        title.setProperty("role", "title")
        self.search = QLineEdit(placeholderText="Filter settings", clearButtonEnabled=True)
        self.search.setAccessibleName("Filter settings")
        self.search.setToolTip("Words of the name, help or group of a setting, or its environment variable (Ctrl+F)")
        self.search.textChanged.connect(self._filter)
        self.search.setMaximumWidth(self._column_width())
        self.sections = SectionList("Groups of settings")
        self.sections.wanted.connect(self._go_to)
        self.empty = EmptyState("search")
        self.empty.chosen.connect(self.search.clear)
        self.empty.hide()
        self._column = QVBoxLayout()
        self._column.setSpacing(16)
        self._column.setContentsMargins(0, 0, 10, 24)
        for section in self._last:
            self._column.addWidget(section.card)
        self._column.addWidget(self.empty)
        self._column.addStretch()
        self._area = self._scroll_area()
        self._area.verticalScrollBar().valueChanged.connect(self._mark)
        right = QVBoxLayout()
        right.setSpacing(12)
        right.addWidget(self.search)
        right.addWidget(self._area, 1)
        below = QHBoxLayout()
        below.setSpacing(16)
        below.addWidget(self.sections)
        below.addLayout(right, 1)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(24, 20, 12, 0)
        outer.setSpacing(12)
        outer.addWidget(title)
        outer.addLayout(below, 1)
        QWidget.setTabOrder(self.search, self.sections)
        find = QShortcut(QKeySequence(QKeySequence.StandardKey.Find), self)
        find.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
        find.activated.connect(self.focus_search)

    def _column_width(self) -> int:
        return self.fontMetrics().averageCharWidth() * WIDTH_IN_LETTERS

    def _scroll_area(self) -> QScrollArea:
        narrow = QWidget()
        narrow.setProperty("plain", "true")
        narrow.setLayout(self._column)
        narrow.setMaximumWidth(self._column_width() + self._column.contentsMargins().right())
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
    def focus_search(self) -> None:
        self.search.setFocus(Qt.FocusReason.ShortcutFocusReason)
        self.search.selectAll()

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
        for section in self._groups:
            self._column.removeWidget(section.card)
            section.card.deleteLater()
        self._groups.clear()
        self.rows.clear()
        ordered = sorted(views, key=lambda view: group_order(view.group))
        for position, (group, members) in enumerate(groupby(ordered, key=lambda view: view.group)):
            section = self._section(group, list(members))
            self._groups.append(section)
            self._column.insertWidget(position, section.card)
        self._filter()

    def _section(self, group: str, views: list[SettingView]) -> Section:
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
        return Section(group, card, tuple((self.rows[view.name], needle(view)) for view in views))

    @property
    def _sections(self) -> list[Section]:
        return [*self._groups, *self._last]

    @Slot()
    def _filter(self) -> None:
        words = self.search.text().lower().split()
        found = []
        self._area.setUpdatesEnabled(False)
        for section in self._sections:
            fits = [all(word in text for word in words) for _, text in section.rows]
            for (row, _), fit in zip(section.rows, fits, strict=True):
                row.setVisible(fit)
            shown = any(fits) or (not section.rows and all(word in section.words for word in words))
            section.card.setVisible(shown)
            if shown:
                found.append(section.title)
        self.empty.setVisible(not found)
        if not found:
            self.empty.show_state(
                "search", f"No setting matches “{self.search.text().strip()}”", "", "Clear the filter"
            )
        self.sections.offer(found)
        self._area.verticalScrollBar().setValue(0)
        self.sections.mark(found[0] if found else "")
        self._area.setUpdatesEnabled(True)

    @Slot(str)
    def _go_to(self, title: str) -> None:
        card = next(section.card for section in self._sections if section.title == title)
        self._area.verticalScrollBar().setValue(card.y())
        # The last cards cannot reach the top: what was chosen is marked all the same.
        self.sections.mark(title)

    @Slot(int)
    def _mark(self, value: int) -> None:
        shown = [section for section in self._sections if not section.card.isHidden()]
        if not shown:
            return
        bar = self._area.verticalScrollBar()
        above = [section for section in shown if section.card.y() <= value + bar.singleStep()]
        at_end = value > 0 and value == bar.maximum()
        self.sections.mark((shown[-1] if at_end else above[-1] if above else shown[0]).title)

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
