"""What this program is made of, where it keeps its data, and under which licences it stands."""

from __future__ import annotations

import os
import platform
from typing import TYPE_CHECKING

from PySide6 import __version__ as pyside_version
from PySide6.QtCore import QUrl, Signal, qVersion
from PySide6.QtGui import QDesktopServices, QGuiApplication
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from quarterdeck import __version__

if TYPE_CHECKING:
    from quarterdeck.schemas.system import SystemStatus

LICENCES = (
    "Quarterdeck is free software under the MIT licence. Its window uses Qt and PySide6 under the LGPL version 3: you "
    "may replace these libraries with your own builds. The built-in engine is llama.cpp, under the MIT licence."
)


class About(QFrame):
    """Facts for a bug report, with one button that copies all of them."""

    copied = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("card", "true")
        self._folder = ""
        heading = QLabel("About")
        heading.setProperty("role", "heading")
        self._facts = QLabel()
        licences = QLabel(LICENCES)
        licences.setProperty("role", "muted")
        for label in (self._facts, licences):
            label.setWordWrap(True)
        self.copy = QPushButton("Copy versions")
        self.copy.clicked.connect(self._on_copy)
        self.open = QPushButton("Open the data folder")
        self.open.clicked.connect(lambda: QDesktopServices.openUrl(QUrl.fromLocalFile(self._folder)))
        buttons = QHBoxLayout()
        buttons.addWidget(self.copy)
        buttons.addWidget(self.open)
        buttons.addStretch()
        column = QVBoxLayout(self)
        column.setContentsMargins(20, 16, 20, 16)
        column.setSpacing(10)
        for widget in (heading, self._facts, licences):
            column.addWidget(widget)
        column.addLayout(buttons)
        self.show_status(None)

    def show_status(self, status: SystemStatus | None) -> None:
        self._folder = status.data_dir if status else ""
        self.open.setEnabled(bool(self._folder))
        self._facts.setText(self._text(status))

    def _text(self, status: SystemStatus | None) -> str:
        versions = {"Quarterdeck": __version__, "Qt": qVersion() or "", "PySide6": pyside_version}
        versions["Python"] = platform.python_version()
        known = {name.lower() for name in versions}
        for name, version in (status.versions if status else {}).items():
            if name.lower() not in known:
                versions[name] = version
        desktop = " ".join(filter(None, (os.environ.get("XDG_CURRENT_DESKTOP"), os.environ.get("XDG_SESSION_TYPE"))))
        lines = [" · ".join(f"{name} {version}" for name, version in versions.items())]
        lines.append(f"{platform.system()} {platform.release()}" + (f" · {desktop}" if desktop else ""))
        if self._folder:
            lines.append(f"Data folder: {self._folder}")
        return "\n".join(lines)

    def _on_copy(self) -> None:
        QGuiApplication.clipboard().setText(self._facts.text())
        self.copied.emit("Copied the versions.")
