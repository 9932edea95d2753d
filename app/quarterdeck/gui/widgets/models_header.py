"""The head of the Models page: its title, and the ways in which models come into the list."""

from __future__ import annotations

from PySide6.QtCore import Signal, Slot
from PySide6.QtWidgets import QHBoxLayout, QLabel, QMenu, QPushButton, QWidget

from quarterdeck.gui import theme


class ModelsHeader(QWidget):
    """`add` asks for a model file, `imports` for the import of a list, `scan` for a look around, `absences` for the
    reasons why a model is not listed.
    """

    add = Signal()
    imports = Signal()
    scan = Signal()
    absences = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        title = QLabel("Models")
        title.setProperty("role", "title")
        self.absences_button = QPushButton("Not listed?")
        self.absences_button.setProperty("kind", "quiet")
        self.absences_button.setToolTip("Why a model is missing here or for clients")
        self.absences_button.clicked.connect(self.absences)
        self.scan_button = QPushButton("Scanning…")
        # As wide as its longer text, so that nothing moves when a scan begins.
        self.scan_button.setMinimumWidth(self.scan_button.sizeHint().width())
        self.scan_button.clicked.connect(self.scan)
        self.add_button = QPushButton("Add")
        self.add_button.setToolTip("Add models. Files can also be dropped on the window.")
        menu = QMenu(self.add_button)
        self.add_file = menu.addAction("A model file…")
        self.add_file.triggered.connect(self.add)
        self.import_list = menu.addAction("Import a list or configuration…")
        self.import_list.triggered.connect(self.imports)
        self.add_button.setMenu(menu)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 12, 0)
        row.setSpacing(8)
        row.addWidget(title, 1)
        for button in (self.absences_button, self.scan_button, self.add_button):
            row.addWidget(button)
        self.show_scanning(False)
        theme.notifier.changed.connect(self._icons)
        self._icons()

    @Slot(bool)
    def show_scanning(self, scanning: bool) -> None:
        self.scan_button.setText("Scanning…" if scanning else "Scan")
        about = "Looking for models and servers…" if scanning else (
            "Look for models on this computer and for running servers. Nothing is loaded."
        )  # fmt: skip
        self.scan_button.setToolTip(about)

    @Slot()
    def _icons(self) -> None:
        self.scan_button.setIcon(theme.icon("scan"))
        self.add_button.setIcon(theme.icon("add"))
