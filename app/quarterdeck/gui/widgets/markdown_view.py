"""A page in Markdown, rendered to read. Markup of the web inside it is shown as text, links open nothing."""

from __future__ import annotations

from PySide6.QtCore import Slot
from PySide6.QtGui import QColor, QTextCursor, QTextDocument, QTextFrameFormat, QTextTable
from PySide6.QtWidgets import QTextBrowser, QWidget

from quarterdeck.gui import theme

DIALECT = QTextDocument.MarkdownFeature.MarkdownDialectGitHub | QTextDocument.MarkdownFeature.MarkdownNoHTML
CELL_PADDING = 5
MARGIN = 6


class MarkdownView(QTextBrowser):
    """Tables get lines and room, which Qt leaves out."""

    def __init__(self, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName(name)
        self.setOpenLinks(False)
        self.document().setDocumentMargin(12)
        self._page = ""
        theme.notifier.changed.connect(self._render)

    def show_page(self, page: str) -> None:
        """Show another page; where it was read stays in sight."""
        if page != self._page:
            self._page = page
            self._render()

    @property
    def page(self) -> str:
        """The page as it is copied and saved."""
        return self._page

    @Slot()
    def _render(self) -> None:
        at = self.verticalScrollBar().value()
        self.document().setMarkdown(self._page, DIALECT)
        self._draw_tables()
        self.moveCursor(QTextCursor.MoveOperation.Start)
        self.verticalScrollBar().setValue(at)

    def _draw_tables(self) -> None:
        block = self.document().begin()
        seen: set[int] = set()
        while block.isValid():
            table = QTextCursor(block).currentTable()
            if isinstance(table, QTextTable) and table.objectIndex() not in seen:
                seen.add(table.objectIndex())
                look = table.format()
                look.setBorder(1)
                look.setBorderCollapse(True)
                look.setBorderStyle(QTextFrameFormat.BorderStyle.BorderStyle_Solid)
                look.setBorderBrush(QColor(theme.tokens().border))
                look.setCellPadding(CELL_PADDING)
                look.setTopMargin(MARGIN)
                look.setBottomMargin(MARGIN)
                table.setFormat(look)
            block = block.next()
