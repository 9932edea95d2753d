"""Who loads, who waits and why: a few lines above the models, gone while nobody has to wait."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, QTimer, Slot
from PySide6.QtGui import QHideEvent, QShowEvent
from PySide6.QtWidgets import QFrame, QGridLayout, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from quarterdeck.gui import theme
from quarterdeck.gui.presenters.queue import MOST, QueueLine, heading, queue_lines
from quarterdeck.gui.widgets.elided import ElidedLabel

if TYPE_CHECKING:
    from quarterdeck.gui.commands import Commands
    from quarterdeck.gui.store import Store

NAME_IN_LETTERS = 26


class _Row:
    """The widgets of one line."""

    def __init__(self, grid: QGridLayout, row: int, cancel: QPushButton) -> None:
        self.place, self.name, self.words = QLabel(), ElidedLabel(Qt.TextElideMode.ElideMiddle), ElidedLabel()
        self.place.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.name.setMinimumWidth(self.name.fontMetrics().averageCharWidth() * NAME_IN_LETTERS)
        font = self.name.font()
        font.setBold(True)
        self.name.setFont(font)
        self.words.setProperty("role", "muted")
        self.cancel = cancel
        for column, widget in enumerate(self.parts):
            grid.addWidget(widget, row, column)

    @property
    def parts(self) -> tuple[QWidget, ...]:
        return self.place, self.name, self.words, self.cancel


class QueuePanel(QFrame):
    """Follows the queue of the store; each line can be cancelled."""

    def __init__(self, store: Store, commands: Commands, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("card", True)
        self.setAccessibleName("Loads under way and waiting")
        self._store, self._commands = store, commands
        self._received = monotonic()
        self._rows: list[_Row] = []
        self._models: list[str] = []
        self._all = False
        self._title = QLabel()
        self.more = QPushButton()
        self.more.setProperty("kind", "quiet")
        self.more.clicked.connect(self._toggle)
        top = QHBoxLayout()
        top.addWidget(self._title, 1)
        top.addWidget(self.more)
        self._grid = QGridLayout()
        self._grid.setHorizontalSpacing(10)
        self._grid.setVerticalSpacing(4)
        self._grid.setColumnStretch(1, 2)
        self._grid.setColumnStretch(2, 5)
        column = QVBoxLayout(self)
        column.setContentsMargins(16, 8, 12, 10)
        column.setSpacing(4)
        column.addLayout(top)
        column.addLayout(self._grid)
        self._clock = QTimer(self, interval=1000)
        self._clock.timeout.connect(self._show)
        store.queue_changed.connect(self.refresh)
        store.connection_changed.connect(self.refresh)
        commands.busy_changed.connect(self._show)
        theme.notifier.changed.connect(self._show)
        self.refresh()

    def texts(self) -> list[str]:
        """The lines as they stand there."""
        return [f"{row.place.text()} {row.name.text()}: {row.words.text()}".strip() for row in self._rows]

    def cancel_button(self, model: str) -> QPushButton:
        return self._rows[self._models.index(model)].cancel

    @Slot()
    def refresh(self) -> None:
        self._received = monotonic()
        # A load on its own is told by its card, which must not move away under the pointer that started it.
        self.setVisible(len(self._store.queue) > 1 and self._store.connected)
        self._show()

    @Slot()
    def _show(self) -> None:
        entries = self._store.queue if self._store.connected else []
        lines = queue_lines(entries, monotonic() - self._received)
        self._title.setText(heading(entries))
        hidden = len(lines) - MOST
        self.more.setVisible(hidden > 0)
        self.more.setText("Show fewer" if self._all else f"Show {hidden} more")
        shown = lines if self._all else lines[:MOST]
        self._models = [line.model for line in shown]
        self._resize(len(shown))
        for row, line in zip(self._rows, shown, strict=True):
            self._fill(row, line)
        if not entries:
            self._all = False
            self._clock.stop()
        elif self.isVisible():
            self._clock.start()

    def _resize(self, count: int) -> None:
        while len(self._rows) > count:
            for widget in self._rows.pop().parts:
                self._grid.removeWidget(widget)
                widget.hide()
                widget.deleteLater()
        while len(self._rows) < count:
            cancel = QPushButton("Cancel")
            cancel.setProperty("row", len(self._rows))
            cancel.clicked.connect(self._cancel)
            self._rows.append(_Row(self._grid, len(self._rows), cancel))

    def _fill(self, row: _Row, line: QueueLine) -> None:
        if line.loading:
            side, colour = self.fontMetrics().height(), theme.tokens().info.fg
            row.place.setPixmap(theme.pixmap("loading", colour, side, self.devicePixelRatioF()))
        else:
            row.place.setText(line.place)
        row.name.setText(line.model)
        row.name.setToolTip(line.model)
        row.words.setText(line.words)
        row.words.setToolTip(line.words)
        busy = self._commands.busy(line.model)
        cancelling = busy is not None and busy.value == "cancel"
        row.cancel.setText("Cancelling…" if cancelling else "Cancel")
        row.cancel.setEnabled(not cancelling)
        row.cancel.setAccessibleName(f"Cancel loading {line.model}")

    @Slot()
    def _toggle(self) -> None:
        self._all = not self._all
        self._show()

    @Slot()
    def _cancel(self) -> None:
        self._commands.cancel(self._models[int(self.sender().property("row"))])

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._show()

    def hideEvent(self, event: QHideEvent) -> None:
        self._clock.stop()
        super().hideEvent(event)
