"""The editor of routing rules: a table for each kind, what is wrong with them, Save and Revert."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtWidgets import (
    QAbstractItemView,
    QFrame,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QStackedWidget,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from quarterdeck.gui import theme
from quarterdeck.gui.details.save_bar import SaveBar
from quarterdeck.gui.models.rule_list import RuleList
from quarterdeck.gui.presenters.routing import FORMS, Kind, Lines, Problem, lines_of, rules_of
from quarterdeck.gui.widgets.empty_state import EmptyState
from quarterdeck.gui.widgets.name_completer import NameDelegate, Names
from quarterdeck.gui.widgets.tables import line_table
from quarterdeck.schemas.requests import RoutingRules

FIRST_COLUMN_IN_LETTERS = 24
COLUMN_IN_LETTERS = 20
MOST_PROBLEMS = 3


class RulePage(QStackedWidget):
    """The rules of one kind; where there are none, what such a rule is good for."""

    def __init__(self, kind: Kind, names: Names, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        form = FORMS[kind]
        self.rows = RuleList(kind, self)
        about = QLabel(form.about)
        about.setProperty("role", "muted")
        about.setWordWrap(True)
        widths = (FIRST_COLUMN_IN_LETTERS, *(COLUMN_IN_LETTERS for _ in form.columns[2:]))
        self.table = line_table(self.rows, f"{form.title}: rules", widths=widths)
        trigger = QAbstractItemView.EditTrigger
        self.table.setEditTriggers(
            trigger.DoubleClicked | trigger.SelectedClicked | trigger.EditKeyPressed | trigger.AnyKeyPressed
        )
        self.table.setItemDelegate(NameDelegate(names, form.models, self.table))
        self.table.setMinimumHeight(self.fontMetrics().lineSpacing() * 5)
        self.add = QPushButton("Add rule")
        self.remove = QPushButton("Remove")
        self.up, self.down = QPushButton("Up"), QPushButton("Down")
        row = QHBoxLayout()
        row.setSpacing(8)
        for button, slot in ((self.add, self._add), (self.remove, self._remove), (self.up, self._up),
                             (self.down, self._down)):  # fmt: skip
            button.clicked.connect(slot)
            row.addWidget(button)
        for button in (self.up, self.down):
            button.setVisible(form.ordered)
        row.addStretch(1)
        rules = QWidget()
        column = QVBoxLayout(rules)
        column.setContentsMargins(0, 10, 0, 0)
        column.setSpacing(8)
        column.addWidget(about)
        column.addWidget(self.table, 1)
        column.addLayout(row)
        self.empty = EmptyState("routing")
        self.empty.show_state("routing", form.none, f"{form.about}\n{form.begin}", "Add rule")
        self.empty.chosen.connect(self._add)
        self.addWidget(rules)
        self.addWidget(self.empty)
        self.table.selectionModel().selectionChanged.connect(self._show_buttons)
        for change in (self.rows.modelReset, self.rows.rowsInserted, self.rows.rowsRemoved):
            change.connect(self._show_lines)
        self._show_lines()

    @property
    def _row(self) -> int:
        chosen = self.table.selectionModel().selectedRows()
        return chosen[0].row() if chosen else -1

    @Slot()
    def _add(self) -> None:
        place = self.rows.index(self.rows.add(), 0)
        self.table.setCurrentIndex(place)
        self.table.edit(place)

    @Slot()
    def _remove(self) -> None:
        if self._row >= 0:
            self.rows.remove(self._row)
        self._show_buttons()

    @Slot()
    def _up(self) -> None:
        self._move(-1)

    @Slot()
    def _down(self) -> None:
        self._move(1)

    def _move(self, by: int) -> None:
        if self._row >= 0:
            self.table.selectRow(self.rows.move(self._row, by))

    @Slot()
    def _show_lines(self) -> None:
        self.setCurrentIndex(0 if self.rows.lines else 1)
        self._show_buttons()

    @Slot()
    def _show_buttons(self) -> None:
        chosen = self._row >= 0
        for button in (self.remove, self.up, self.down):
            button.setEnabled(chosen)
            button.setToolTip("" if chosen else "Choose a rule first.")


class RulesEditor(QFrame):
    """`saved(RoutingRules)` asks for the rules to be kept; the answer comes by `show_rules` or `show_refused`."""

    saved = Signal(object)

    def __init__(self, names: Names, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("card", True)
        self._base = lines_of(RoutingRules())
        self._problems: list[Problem] = []
        self._failure = ""
        self._saving = False
        self.pages = {kind: RulePage(kind, names) for kind in Kind}
        self.tabs = QTabWidget()
        self.tabs.setDocumentMode(True)
        self.tabs.setAccessibleName("Kinds of rules")
        self.tabs.tabBar().setAccessibleName("Kinds of rules")
        self.tabs.tabBar().setDrawBase(False)
        for kind, page in self.pages.items():
            self.tabs.addTab(page, FORMS[kind].title)
            page.rows.edited.connect(self._edited)
        heading = QLabel("Rules")
        heading.setProperty("role", "heading")
        self.problems = QLabel()
        self.problems.setWordWrap(True)
        self.problems.setTextFormat(Qt.TextFormat.PlainText)
        self.bar = SaveBar()
        self.bar.saved.connect(self.save)
        self.bar.reverted.connect(self.revert)
        column = QVBoxLayout(self)
        column.setContentsMargins(16, 12, 16, 14)
        column.setSpacing(8)
        column.addWidget(heading)
        column.addWidget(self.tabs, 1)
        column.addWidget(self.problems)
        column.addWidget(self.bar)
        theme.notifier.changed.connect(self._show_problems)
        self._show_state()

    @property
    def lines(self) -> Lines:
        return {kind: page.rows.lines for kind, page in self.pages.items()}

    @property
    def dirty(self) -> bool:
        return any(_filled(self.lines[kind]) != _filled(self._base[kind]) for kind in Kind)

    def show_rules(self, rules: RoutingRules, problems: Sequence[Problem] = ()) -> None:
        """The rules as they are kept, and what is doubtful about them; edits that were not saved are lost."""
        self._saving, self._failure = False, ""
        self._base = lines_of(rules)
        for kind, page in self.pages.items():
            if page.rows.lines != self._base[kind]:
                page.rows.show(self._base[kind])
        self._problems = list(problems)
        self._show_state()

    def show_refused(self, words: str, problems: Sequence[Problem]) -> None:
        """The core did not take the rules."""
        self._saving = False
        self._failure = "" if problems else words
        self._problems = list(problems)
        self._show_state()

    @Slot()
    def save(self) -> None:
        """Ask for the rules to be kept, unless some cannot be read."""
        rules, problems = rules_of(self.lines)
        self._failure, self._problems = "", problems
        if rules is not None and not self._saving:
            self._saving = True
            self.saved.emit(rules)
        self._show_state()

    @Slot()
    def revert(self) -> None:
        for kind, page in self.pages.items():
            page.rows.show(self._base[kind])
        self._edited()

    @Slot()
    def _edited(self) -> None:
        # What was said of the earlier lines no longer holds.
        self._failure, self._problems = "", []
        self._show_state()

    def _show_state(self) -> None:
        self._show_problems()
        self.bar.show_state(dirty=self.dirty, error=self._failure, saving=self._saving)
        for place, kind in enumerate(Kind):
            changed = _filled(self.lines[kind]) != _filled(self._base[kind])
            self.tabs.setTabText(place, FORMS[kind].title + (" •" if changed else ""))
            self.tabs.setTabToolTip(place, "There are changes that are not saved." if changed else "")

    @Slot()
    def _show_problems(self) -> None:
        for kind, page in self.pages.items():
            page.rows.show_problems([problem for problem in self._problems if problem.kind is kind])
        told = [
            f"{FORMS[problem.kind].title}{f', line {problem.row + 1}' if problem.row >= 0 else ''}: {problem.words}"
            for problem in sorted(self._problems, key=lambda problem: not problem.error)
        ]
        more = len(told) - MOST_PROBLEMS
        self.problems.setText("\n".join(told[:MOST_PROBLEMS] + ([f"and {more} more"] if more > 0 else [])))
        self.problems.setVisible(bool(told))
        shade = theme.tokens().error if any(problem.error for problem in self._problems) else theme.tokens().warn
        self.problems.setStyleSheet(f"color: {shade.fg};")


def _filled(lines: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """The lines that say something, without blanks at their ends."""
    stripped = [tuple(cell.strip() for cell in cells) for cells in lines]
    return [cells for cells in stripped if any(cells)]
