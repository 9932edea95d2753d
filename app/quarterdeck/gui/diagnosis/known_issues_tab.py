"""The known issues: searched, read, added to, and handed on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Slot
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import (
    QFileDialog,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QLineEdit,
    QPushButton,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from quarterdeck.errors import AppError
from quarterdeck.gui import theme
from quarterdeck.gui.dialogs.add_known_issue import AddKnownIssueDialog
from quarterdeck.gui.dialogs.ask import answer, confirm
from quarterdeck.gui.dialogs.report import Report
from quarterdeck.gui.dialogs.save_as import ask_where_to_save
from quarterdeck.gui.files import MIB, read, write
from quarterdeck.gui.models.known_issue_list import KnownIssueList
from quarterdeck.gui.presenters.known_issues import count_words, first_match, imported_words, to_row
from quarterdeck.gui.widgets.empty_state import EmptyState
from quarterdeck.gui.widgets.known_issue_view import KnownIssueView
from quarterdeck.gui.widgets.splitting import plain_split
from quarterdeck.gui.widgets.tables import line_table
from quarterdeck.tasks import spawn

if TYPE_CHECKING:
    from quarterdeck.gui.store import Store
    from quarterdeck.schemas.known_issues import ImportedIssues

PAGES = "Pages of known issues (*.md *.markdown *.txt);;All files (*)"
MOST_BYTES = 4 * MIB
EXPORT = "Write your own entries to a page in Markdown, to hand them on"


class KnownIssuesTab(QWidget):
    """Reads the entries whenever it is shown."""

    def __init__(self, store: Store, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._store = store
        self._wanted = ""
        self._read = False
        self.rows = KnownIssueList(self)
        self._build()
        store.connection_changed.connect(self._on_connection)
        theme.notifier.changed.connect(self._icons)
        self._icons()
        self._show_state()

    def _build(self) -> None:
        self.search = QLineEdit(placeholderText="Search known issues", clearButtonEnabled=True)
        self.search.setAccessibleName("Search known issues")
        self.search.textChanged.connect(self._filter)
        self._count = QLabel()
        self._count.setProperty("role", "muted")
        self.add = QPushButton("Add…")
        self.add.setToolTip("Write down an issue of your own")
        self.add.clicked.connect(self._on_add)
        self.load = QPushButton("Import…")
        self.load.setToolTip("Add the entries of a page in Markdown")
        self.load.clicked.connect(self._choose_import)
        self.save = QPushButton("Export…")
        self.save.clicked.connect(self._choose_export)
        header = QHBoxLayout()
        header.setSpacing(8)
        header.addWidget(self.search, 1)
        header.addWidget(self._count)
        for button in (self.add, self.load, self.save):
            header.addWidget(button)
        self.table = line_table(self.rows, "Known issues", widths=(0, 28, 24, 14))
        self.table.horizontalHeader().setStretchLastSection(False)
        self.table.horizontalHeader().setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self.table.selectionModel().selectionChanged.connect(self._show_current)
        self.view = KnownIssueView()
        self.view.remove_wanted.connect(self._on_remove)
        self.view.copied.connect(self._on_copied)
        split = plain_split(Qt.Orientation.Vertical)
        split.addWidget(self.table)
        split.addWidget(self.view)
        split.setSizes([1000, 1200])
        self.empty = EmptyState("info")
        self.empty.chosen.connect(self._on_empty)
        self.stack = QStackedWidget()
        self.stack.addWidget(split)
        self.stack.addWidget(self.empty)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 12, 0, 0)
        column.setSpacing(12)
        column.addLayout(header)
        column.addWidget(self.stack, 1)
        find = QShortcut(QKeySequence(QKeySequence.StandardKey.Find), self)
        find.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
        find.activated.connect(self.search.setFocus)

    def tab_shown(self) -> None:
        if self._store.connected:
            spawn(self._fetch(), name="read known issues")

    def show_issue(self, id: str) -> None:
        """Show one entry, as soon as the entries are there."""
        self._wanted = id
        self.search.clear()
        self._choose()

    async def add_page(self, page: str) -> None:
        """Add the entries of a page and say what came of it. Raises AppError."""
        result = await self._store.api().import_known_issues(page)
        self._wanted = next(iter([*result.added, *result.replaced]), "")
        await self._fetch()
        self._tell(result)

    @Slot(str)
    def import_from(self, path: str) -> None:
        """Add the entries of a page in a file."""
        self._store.run(self._import(Path(path)), name="import known issues")

    @Slot(str)
    def export_to(self, path: str) -> None:
        """Write one's own entries to `path`."""
        self._store.run(self._export(Path(path)), name="export known issues")

    async def _fetch(self) -> None:
        try:
            issues = await self._store.api().known_issues()
        except AppError as error:
            self.empty.show_state("error", error.sentence, error.hint, "Try again")
            self.stack.setCurrentIndex(1)
            return
        self._read = True
        current = self._current_id()
        self.rows.show([to_row(issue) for issue in issues])
        self._wanted = self._wanted or current
        self._choose()
        self._show_state()

    async def _import(self, path: Path) -> None:
        await self.add_page(await read(path, most=MOST_BYTES))

    async def _export(self, path: Path) -> None:
        await write(path, await self._store.api().export_known_issues())
        self._store.toast.emit(f"Wrote your known issues to {path}", "ok")

    def _tell(self, result: ImportedIssues) -> None:
        words = imported_words(result)
        if not result.problems:
            self._store.toast.emit(words, "ok")
            return
        sections = [("What could not be read", result.problems)]
        dialog = Report(self.window(), title="Some entries were left out", text=words, sections=sections)
        spawn(answer(dialog), name="tell what was imported")

    @Slot()
    def _on_add(self) -> None:
        spawn(answer(AddKnownIssueDialog(self, self.window())), name="add a known issue")

    @Slot()
    def _choose_import(self) -> None:
        dialog = QFileDialog(self, "Import known issues", str(Path.home()), PAGES)
        dialog.setFileMode(QFileDialog.FileMode.ExistingFile)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.fileSelected.connect(self.import_from)
        dialog.open()

    @Slot()
    def _choose_export(self) -> None:
        ask_where_to_save(self, "Export your known issues", "known-issues.md", self.export_to, PAGES)

    @Slot(str)
    def _on_remove(self, id: str) -> None:
        self._store.run(self._remove(id), name=f"remove the known issue {id}")

    async def _remove(self, id: str) -> None:
        title = next((row.title for row in self.rows.all if row.issue.id == id), id)
        text = "The entry is deleted. Export your entries first if you want to keep it."
        if await confirm(self.window(), title=f"Remove “{title}”?", text=text, verb="Remove the entry", danger=True):
            await self._store.api().remove_known_issue(id)
            await self._fetch()

    @Slot(str)
    def _filter(self, typed: str) -> None:
        current = self._current_id()
        self.rows.set_filter(typed)
        self._wanted = self._wanted or current
        self._choose()
        self._show_state()

    def _choose(self) -> None:
        """Select the entry that is wanted, or the first one."""
        place = first_match(self.rows.rows, self._wanted)
        if place >= 0:
            self._wanted = ""
        if self.rows.rows:
            self.table.selectRow(max(0, place))
            self.table.scrollTo(self.rows.index(max(0, place), 0))

    def _current_id(self) -> str:
        chosen = self.table.selectionModel().selectedRows()
        return self.rows.rows[chosen[0].row()].issue.id if chosen else ""

    @Slot()
    def _show_current(self) -> None:
        chosen = self.table.selectionModel().selectedRows()
        self.view.show_issue(self.rows.rows[chosen[0].row()] if chosen else None)

    def _show_state(self) -> None:
        self._count.setText(count_words(len(self.rows.rows), len(self.rows.all)) if self._read else "")
        for button in (self.add, self.load):
            button.setEnabled(self._store.connected)
        own = any(row.issue.own for row in self.rows.all)
        self.save.setEnabled(self._store.connected and own)
        self.save.setToolTip(EXPORT if own else "There is no entry of your own to hand on")
        self.stack.setCurrentIndex(0 if self.rows.rows else 1)
        if self.rows.rows:
            return
        if self.rows.all:
            words = f"No entry has “{self.search.text().strip()}” in it."
            self.empty.show_state("search", "No known issue matches", words, "Clear the search")
        elif not self._store.connected:
            self.empty.show_state("error", "Not connected", "This appears when Quarterdeck’s core answers again.")
        elif not self._read:
            self.empty.show_state("queued", "Reading the known issues…", "")
        else:
            words = "A known issue says which programs and models do not get on, and what to do about it."
            self.empty.show_state("info", "No known issues", words, "Add one…")

    @Slot()
    def _on_empty(self) -> None:
        if self.rows.all:
            self.search.clear()
        elif self._read:
            self._on_add()
        else:
            self.tab_shown()

    @Slot(str)
    def _on_copied(self, what: str) -> None:
        self._store.toast.emit(f"Copied {what}", "info")

    @Slot(bool)
    def _on_connection(self, connected: bool) -> None:
        self._show_state()
        if connected and self.isVisible():
            self.tab_shown()

    @Slot()
    def _icons(self) -> None:
        for button, icon in ((self.add, "add"), (self.load, "import"), (self.save, "save")):
            button.setIcon(theme.icon(icon))
