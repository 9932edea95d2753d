"""The settings that live in files of the desktop instead of Quarterdeck's: menu entry and start at login."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QCheckBox, QFrame, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from quarterdeck.errors import AppError
from quarterdeck.gui.desktop import entry


class DesktopGroup(QFrame):
    """Shows the real state of the files, which the desktop or the person may have changed."""

    done = Signal(str, str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("card", "true")
        heading = QLabel("Desktop")
        heading.setProperty("role", "heading")
        self._state = QLabel()
        self._state.setProperty("role", "muted")
        self._state.setWordWrap(True)
        self.add = QPushButton("Add to the application menu")
        self.add.clicked.connect(self._on_add)
        self.remove = QPushButton("Remove from the application menu")
        self.remove.clicked.connect(self._on_remove)
        self.autostart = QCheckBox("Start at login, in the tray")
        self.autostart.clicked.connect(self._on_autostart)
        buttons = QHBoxLayout()
        buttons.addWidget(self.add)
        buttons.addWidget(self.remove)
        buttons.addStretch()
        column = QVBoxLayout(self)
        column.setContentsMargins(20, 16, 20, 16)
        column.setSpacing(10)
        column.addWidget(heading)
        column.addWidget(self._state)
        column.addLayout(buttons)
        column.addWidget(self.autostart)
        self.refresh()

    def refresh(self) -> None:
        """Look at the files again."""
        present = entry.installed()
        self._state.setText(
            "Quarterdeck is in the application menu of this user."
            if present
            else "Quarterdeck is not in the application menu yet."
        )
        self.add.setVisible(not present)
        self.remove.setVisible(present)
        self.autostart.setChecked(entry.autostart_enabled())

    def _on_add(self) -> None:
        self._do(entry.install, "Quarterdeck is in the application menu now.")

    def _on_remove(self) -> None:
        keep = entry.autostart_enabled()

        def remove() -> None:
            entry.remove()
            if keep:
                entry.set_autostart(True)

        self._do(remove, "Removed Quarterdeck from the application menu.")

    def _on_autostart(self, wanted: bool) -> None:
        said = "Quarterdeck starts at your next login." if wanted else "Quarterdeck no longer starts at login."
        self._do(lambda: entry.set_autostart(wanted), said)

    def _do(self, work: Callable[[], object], said: str) -> None:
        try:
            work()
        except AppError as error:
            self.done.emit(f"{error.sentence} {error.hint}", "error")
        else:
            self.done.emit(said, "ok")
        self.refresh()
