"""Asks for a known issue of one's own, written as an entry of the page."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from PySide6.QtGui import QFontDatabase
from PySide6.QtWidgets import QPlainTextEdit, QWidget

from quarterdeck.gui.dialogs.form import FormDialog
from quarterdeck.gui.presenters.known_issues import EXAMPLE

if TYPE_CHECKING:
    from quarterdeck.gui.diagnosis.known_issues_tab import KnownIssuesTab

LINES = 16
ABOUT = (
    "Write down what does not get on: a heading, the cause, then a smaller heading for each combination with what one "
    "sees. Several entries may follow each other."
)


class AddKnownIssueDialog(FormDialog):
    """Starts from an example that shows the form."""

    def __init__(self, tab: KnownIssuesTab, parent: QWidget | None = None) -> None:
        super().__init__(parent, title="Add a known issue", about=ABOUT, verb="Add", doing="Adding…")
        self._tab = tab
        self.page = QPlainTextEdit(EXAMPLE)
        self.page.setProperty("detail", True)
        self.page.setAccessibleName("The entry")
        self.page.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self.page.setTabChangesFocus(True)
        self.page.setMinimumHeight(self.page.fontMetrics().lineSpacing() * LINES)
        self.page.textChanged.connect(self.check)
        self.form.addRow(self.page)
        self.check()
        self.page.setFocus()

    def missing(self) -> str:
        text = self.page.toPlainText().strip()
        return "Write the entry first" if text in ("", EXAMPLE.strip()) else ""

    def work(self) -> Coroutine[Any, Any, object]:
        return self._tab.add_page(self.page.toPlainText())
