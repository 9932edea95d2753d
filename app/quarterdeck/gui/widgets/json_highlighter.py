"""Colours for JSON text, taken from the theme and changed with it."""

from __future__ import annotations

import re

from PySide6.QtCore import Slot
from PySide6.QtGui import QColor, QSyntaxHighlighter, QTextCharFormat, QTextDocument

from quarterdeck.gui import theme

_TOKEN = re.compile(
    r'(?P<key>"(?:[^"\\]|\\.)*")(?=\s*:)'
    r'|(?P<string>"(?:[^"\\]|\\.)*"?)'
    r"|(?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)"
    r"|(?P<word>\b(?:true|false|null)\b)"
    r"|(?P<mark>[{}\[\],:])"
)


class JsonHighlighter(QSyntaxHighlighter):
    """Colours names, texts, numbers, constants and punctuation."""

    def __init__(self, document: QTextDocument) -> None:
        super().__init__(document)
        self._formats = _formats()
        theme.notifier.changed.connect(self._recolour)

    def highlightBlock(self, text: str) -> None:
        for match in _TOKEN.finditer(text):
            kind = match.lastgroup or "mark"
            self.setFormat(match.start(), match.end() - match.start(), self._formats[kind])

    @Slot()
    def _recolour(self) -> None:
        self._formats = _formats()
        self.rehighlight()


def _formats() -> dict[str, QTextCharFormat]:
    colours = theme.tokens()
    shades = {
        "key": colours.info.fg,
        "string": colours.ok.fg,
        "number": colours.warn.fg,
        "word": colours.error.fg,
        "mark": colours.muted,
    }
    formats = {}
    for kind, shade in shades.items():
        formats[kind] = QTextCharFormat()
        formats[kind].setForeground(QColor(shade))
    return formats
