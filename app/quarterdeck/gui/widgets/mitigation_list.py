"""What is done to requests for a model at present: a line for each change that is on."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt, Slot
from PySide6.QtWidgets import QGridLayout, QLabel, QWidget

from quarterdeck.gui import theme
from quarterdeck.gui.widgets.elided import ElidedLabel
from quarterdeck.schemas.requests import MitigationView


class MitigationList(QWidget):
    """Empty until `show_all`; `show_failure` says why nothing is known."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName("What is done to requests now")
        self._heading = QLabel()
        self._heading.setTextFormat(Qt.TextFormat.PlainText)
        self._heading.setWordWrap(True)
        font = self._heading.font()
        font.setBold(True)
        self._heading.setFont(font)
        self._icons: list[QLabel] = []
        self._lines: list[ElidedLabel] = []
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(8)
        self._grid.setVerticalSpacing(4)
        self._grid.setColumnStretch(1, 1)
        self._grid.addWidget(self._heading, 0, 0, 1, 2)
        theme.notifier.changed.connect(self._paint)
        self.hide()

    @property
    def lines(self) -> list[str]:
        """Heading and lines as they are shown."""
        return [self._heading.text(), *(label.text() for label in self._lines)] if not self.isHidden() else []

    def show_all(self, views: Sequence[MitigationView]) -> None:
        """Show those that are on."""
        active = [f"{view.title}: {_lower(view.sentence)}" for view in views if view.on]
        self._show("Done to requests now" if active else "Requests go on as they come.", active)

    def show_failure(self, words: str) -> None:
        self._show(words, [])

    def _show(self, heading: str, lines: Sequence[str]) -> None:
        for label in (*self._icons, *self._lines):
            label.hide()
            label.deleteLater()
        self._icons, self._lines = [QLabel() for _ in lines], [_line(text) for text in lines]
        for row, (icon, label) in enumerate(zip(self._icons, self._lines, strict=True), start=1):
            self._grid.addWidget(icon, row, 0)
            self._grid.addWidget(label, row, 1)
        self._heading.setText(heading)
        self._paint()
        self.show()

    @Slot()
    def _paint(self) -> None:
        size = self.fontMetrics().height()
        picture = theme.pixmap("check", theme.tokens().ok.fg, size, self.devicePixelRatioF())
        for icon in self._icons:
            icon.setPixmap(picture)


def _line(text: str) -> ElidedLabel:
    """One line, so that the list stays short in a narrow panel; the rest is in the tip."""
    label = ElidedLabel()
    label.setProperty("role", "muted")
    label.setText(text)
    label.setToolTip(text)
    return label


def _lower(sentence: str) -> str:
    """A sentence behind a colon; names such as max_tokens or JSON stay as they are."""
    return sentence[:1].lower() + sentence[1:] if sentence[1:2].islower() else sentence
