"""A small editor for JSON objects: line numbers, colours, indentation, the first mistake marked where it is."""

from __future__ import annotations

import re

from PySide6.QtCore import QEvent, QRect, QSize, Qt, QTimer, Signal, Slot
from PySide6.QtGui import (
    QColor,
    QFontDatabase,
    QKeyEvent,
    QPainter,
    QPaintEvent,
    QResizeEvent,
    QTextCharFormat,
    QTextCursor,
    QTextFormat,
)
from PySide6.QtWidgets import QPlainTextEdit, QTextEdit, QWidget

from quarterdeck.errors import ConfigError
from quarterdeck.gui import theme
from quarterdeck.gui.presenters.json_text import Problem, find_problem, neat
from quarterdeck.gui.widgets.json_highlighter import JsonHighlighter

DEBOUNCE_MS = 250
INDENT = "  "
GUTTER_PADDING = 8
_WORD = re.compile(r"\"[^\"]*\"?|[^\s,:\[\]{}]*")
_PAIRS = {"{": "}", "[": "]", '"': '"'}


class JsonEditor(QPlainTextEdit):
    """Edits JSON text. `problem_changed` carries a Problem or None, a moment after the last key.

    Shift+Tab at the start of a line leaves the editor, because Tab indents.
    """

    problem_changed = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.problem: Problem | None = None
        self.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self.setAccessibleName("Configuration as JSON")
        self._gutter = _Gutter(self)
        self._highlighter = JsonHighlighter(self.document())
        self._debounce = QTimer(self, interval=DEBOUNCE_MS, singleShot=True)
        self._debounce.timeout.connect(self.validate)
        self.textChanged.connect(self._debounce.start)
        self.blockCountChanged.connect(self._resize_gutter)
        self.updateRequest.connect(self._scroll_gutter)
        self.cursorPositionChanged.connect(self._mark)
        theme.notifier.changed.connect(self._mark)
        self._resize_gutter()
        self._mark()

    def show_text(self, text: str) -> None:
        """Replace the text and its undo history, for another model."""
        self.setPlainText(text)
        self.validate()

    @Slot()
    def validate(self) -> None:
        """Look for a mistake at once instead of after the usual moment."""
        self._debounce.stop()
        self.show_problem(find_problem(self.toPlainText()))

    def show_problem(self, problem: Problem | None) -> None:
        """Mark `problem` in text and gutter, until the text changes."""
        self.problem = problem
        self.setAccessibleDescription(problem.words if problem else "No mistakes found")
        self._mark()
        self._gutter.update()
        self.problem_changed.emit(problem)

    def go_to_problem(self) -> None:
        """Put the cursor where the mistake is."""
        if self.problem is not None and self.problem.line:
            self.setTextCursor(self._cursor_at(self.problem))
            self.setFocus(Qt.FocusReason.OtherFocusReason)

    @Slot()
    def format_text(self) -> None:
        """Indent the text neatly, as one step that undo takes back; a text with a mistake stays as it is."""
        try:
            text = neat(self.toPlainText())
        except ConfigError:
            self.validate()
            return
        self.replace_text(text)

    def replace_text(self, text: str) -> None:
        """Replace the whole text as one step that undo takes back."""
        if text == self.toPlainText():
            return
        cursor = self.textCursor()
        cursor.beginEditBlock()
        cursor.select(QTextCursor.SelectionType.Document)
        cursor.insertText(text)
        cursor.endEditBlock()
        self.validate()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        key, typed, cursor = event.key(), event.text(), self.textCursor()
        following = self.document().characterAt(cursor.position())
        if key in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and not event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            self._new_line(cursor, following)
        elif key == Qt.Key.Key_Tab:
            cursor.insertText(INDENT)
        elif key == Qt.Key.Key_Backtab:
            self._dedent(cursor)
        elif typed and typed in _PAIRS.values() and following == typed and not cursor.hasSelection():
            cursor.movePosition(QTextCursor.MoveOperation.Right)
            self.setTextCursor(cursor)
        elif typed in _PAIRS and not following.strip(" \n\u2029,]}\0"):
            self._insert_pair(cursor, typed)
        else:
            super().keyPressEvent(event)

    def _insert_pair(self, cursor: QTextCursor, opening: str) -> None:
        cursor.insertText(opening + _PAIRS[opening])
        cursor.movePosition(QTextCursor.MoveOperation.Left)
        self.setTextCursor(cursor)

    def _new_line(self, cursor: QTextCursor, following: str) -> None:
        before = cursor.block().text()[: cursor.positionInBlock()]
        indent = before[: len(before) - len(before.lstrip(" "))]
        opens = before.rstrip().endswith(("{", "["))
        cursor.beginEditBlock()
        cursor.insertText("\n" + indent + (INDENT if opens else ""))
        if opens and following in ("}", "]"):
            place = cursor.position()
            cursor.insertText("\n" + indent)
            cursor.setPosition(place)
        cursor.endEditBlock()
        self.setTextCursor(cursor)
        self.ensureCursorVisible()

    def _dedent(self, cursor: QTextCursor) -> None:
        text = cursor.block().text()
        blanks = min(len(INDENT), len(text) - len(text.lstrip(" ")))
        if not blanks:
            self.focusPreviousChild()
            return
        cursor.movePosition(QTextCursor.MoveOperation.StartOfBlock)
        cursor.movePosition(QTextCursor.MoveOperation.Right, QTextCursor.MoveMode.KeepAnchor, blanks)
        cursor.removeSelectedText()

    def _cursor_at(self, problem: Problem) -> QTextCursor:
        block = self.document().findBlockByNumber(max(0, min(problem.line, self.blockCount()) - 1))
        cursor = QTextCursor(block)
        cursor.setPosition(block.position() + min(max(0, problem.column - 1), max(0, block.length() - 1)))
        return cursor

    @Slot()
    def _mark(self) -> None:
        colours = theme.tokens()
        line = QTextEdit.ExtraSelection()
        line.format.setBackground(QColor(colours.hover))
        line.format.setProperty(QTextFormat.Property.FullWidthSelection, True)
        line.cursor = self.textCursor()
        line.cursor.clearSelection()
        marks = [line]
        if self.problem is not None and self.problem.line:
            marks.append(self._squiggle(self.problem, colours.error))
        self.setExtraSelections(marks)

    def _squiggle(self, problem: Problem, colour: theme.Shade) -> QTextEdit.ExtraSelection:
        mark = QTextEdit.ExtraSelection()
        mark.cursor = self._cursor_at(problem)
        place = mark.cursor.positionInBlock()
        rest = mark.cursor.block().text()[place:]
        length = max(1, len(_WORD.match(rest).group()))  # type: ignore[union-attr]
        if not rest:
            mark.cursor.movePosition(QTextCursor.MoveOperation.PreviousCharacter)
        for _ in range(length):
            mark.cursor.movePosition(QTextCursor.MoveOperation.NextCharacter, QTextCursor.MoveMode.KeepAnchor)
        form = QTextCharFormat()
        form.setUnderlineStyle(QTextCharFormat.UnderlineStyle.WaveUnderline)
        form.setUnderlineColor(QColor(colour.fg))
        form.setBackground(QColor(colour.bg))
        mark.format = form
        return mark

    @Slot()
    def _resize_gutter(self) -> None:
        self.setViewportMargins(self._gutter.width_needed(), 0, 0, 0)
        self._place_gutter()

    def _place_gutter(self) -> None:
        area = self.contentsRect()
        self._gutter.setGeometry(QRect(area.left(), area.top(), self._gutter.width_needed(), area.height()))

    @Slot(QRect, int)
    def _scroll_gutter(self, _area: QRect, _dy: int) -> None:
        self._gutter.update()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._place_gutter()

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.FontChange and hasattr(self, "_gutter"):
            self._resize_gutter()

    def paint_gutter(self, painter: QPainter, width: int) -> None:
        """Paint line numbers and the mark of a mistake; called by the gutter."""
        colours = theme.tokens()
        painter.fillRect(0, 0, width, self.height(), QColor(colours.window))
        wrong = self.problem.line if self.problem is not None else 0
        current = self.textCursor().blockNumber() + 1
        block = self.firstVisibleBlock()
        while block.isValid():
            area = self.blockBoundingGeometry(block).translated(self.contentOffset())
            if area.top() > self.height():
                break
            number = block.blockNumber() + 1
            top, height = round(area.top()), self.fontMetrics().height()
            if number == wrong:
                painter.fillRect(0, top, width, height, QColor(colours.error.bg))
                painter.fillRect(0, top, 3, height, QColor(colours.error.fg))
            shade = colours.error.fg if number == wrong else (colours.text if number == current else colours.muted)
            painter.setPen(QColor(shade))
            painter.drawText(0, top, width - GUTTER_PADDING, height, Qt.AlignmentFlag.AlignRight, str(number))
            block = block.next()


class _Gutter(QWidget):
    def __init__(self, editor: JsonEditor) -> None:
        super().__init__(editor)
        self._editor = editor
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)

    def width_needed(self) -> int:
        digits = max(2, len(str(max(1, self._editor.blockCount()))))
        return self._editor.fontMetrics().horizontalAdvance("9") * digits + 2 * GUTTER_PADDING

    def sizeHint(self) -> QSize:
        return QSize(self.width_needed(), 0)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setFont(self._editor.font())
        self._editor.paint_gutter(painter, self.width())
