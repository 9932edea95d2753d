"""The card that lists which programs hold GPU memory, and stops one."""

from __future__ import annotations

from PySide6.QtCore import QItemSelectionModel, QModelIndex, QPoint, QSize, Qt, Signal, Slot
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import (
    QAbstractItemView,
    QFrame,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QMenu,
    QPushButton,
    QTableView,
    QVBoxLayout,
    QWidget,
)

from quarterdeck.gui.models.gpu_process_list import GpuProcessList
from quarterdeck.gui.presenters import gpu_memory as words
from quarterdeck.schemas.hardware import GpuProcess, HardwareSample

ROW_PADDING = 10
MOST_ROWS = 12
GPU = words.COLUMNS.index("GPU")
WIDEST = {
    "PID": "0000000", "GPU": "GPU 0", "Model": "qwen3-coder-30b-a3b", "User": "a-username", "Running": "under a minute",
    "Memory": "000.0 GiB",
}  # fmt: skip


class ProcessTable(QFrame):
    """`stop_wanted(GpuProcess)` when a person asks for the end of a program; nothing has been asked back yet."""

    stop_wanted = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("card", True)
        title = QLabel("Programs on the GPU")
        title.setProperty("role", "heading")
        self._about = QLabel()
        self._about.setProperty("role", "muted")
        self._about.setWordWrap(True)
        self._about.setContentsMargins(4, 0, 4, 0)
        self.stop_button = QPushButton("Stop…")
        self.stop_button.clicked.connect(self._ask)
        self.rows = GpuProcessList(self)
        self.table = _Table(self.rows)
        self.table.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.table.customContextMenuRequested.connect(self._open_menu)
        self.table.delete_pressed.connect(self._ask)
        header = QHBoxLayout()
        header.setContentsMargins(4, 0, 4, 0)
        header.setSpacing(12)
        header.addWidget(title)
        header.addStretch(1)
        header.addWidget(self.stop_button)
        column = QVBoxLayout(self)
        column.setContentsMargins(12, 10, 12, 12)
        column.addLayout(header)
        column.addWidget(self.table)
        column.addWidget(self._about)
        self.table.selectionModel().selectionChanged.connect(self._on_selection)
        self.hide()

    def show_sample(self, sample: HardwareSample, colours: words.Colours) -> None:
        """Bring the table to this sample; without a GPU there is nothing to list."""
        before = self.chosen()
        self.rows.show(words.rows(sample, colours))
        after = self.chosen()
        if before is not None and (after is None or after.pid != before.pid):
            # Qt goes on to the next row, but nobody has chosen that program.
            self.table.forget_choice()
        count = self.rows.rowCount()
        self.table.setColumnHidden(GPU, len(sample.gpus) < 2)
        self.table.fit(count)
        about = words.missing(sample) or ("" if count else words.NONE_HELD)
        self._about.setText(about)
        self._about.setVisible(bool(about))
        self.stop_button.setVisible(count > 0)
        self._on_selection()
        self.setVisible(bool(sample.gpus))

    def chosen(self) -> GpuProcess | None:
        """The process of the selected row."""
        chosen = self.table.selectionModel().selectedRows()
        return self.rows.row_at(chosen[0].row()).process if chosen else None

    @Slot()
    def _on_selection(self) -> None:
        refusal = words.refusal(self.chosen())
        self.stop_button.setEnabled(not refusal)
        self.stop_button.setToolTip(refusal or "Stop the chosen program (Del)")
        self.stop_button.setAccessibleDescription(self.stop_button.toolTip())

    @Slot()
    def _ask(self) -> None:
        process = self.chosen()
        if process is not None and not words.refusal(process):
            self.stop_wanted.emit(process)

    @Slot(QPoint)
    def _open_menu(self, at: QPoint) -> None:
        if self.chosen() is None:
            return
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.setToolTipsVisible(True)
        stop = menu.addAction("Stop…")
        stop.setEnabled(self.stop_button.isEnabled())
        stop.setToolTip(self.stop_button.toolTip())
        stop.triggered.connect(self._ask)
        menu.popup(self.table.viewport().mapToGlobal(at))


class _Table(QTableView):
    """As high as its rows, so that the page scrolls and not the table."""

    delete_pressed = Signal()

    def __init__(self, rows: GpuProcessList) -> None:
        super().__init__()
        self.setModel(rows)
        self.setAccessibleName("Programs on the GPU")
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.setTabKeyNavigation(False)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        metrics = self.fontMetrics()
        self.setIconSize(QSize(metrics.ascent(), metrics.ascent()))
        self.setStyleSheet("QTableView::item { padding: 0 6px; }")
        lines = self.verticalHeader()
        lines.setVisible(False)
        lines.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        lines.setDefaultSectionSize(metrics.height() + ROW_PADDING)
        header = self.horizontalHeader()
        header.setHighlightSections(False)
        header.setSectionsClickable(False)
        for column, name in enumerate(words.COLUMNS):
            header.resizeSection(column, metrics.horizontalAdvance(WIDEST.get(name, name)) + 3 * ROW_PADDING)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)

    def fit(self, rows: int) -> None:
        self.setVisible(rows > 0)
        lines = min(rows, MOST_ROWS) * self.verticalHeader().defaultSectionSize()
        height = self.horizontalHeader().sizeHint().height() + lines + 2 * self.frameWidth() + 2
        if height != self.height():
            self.setFixedHeight(height)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Delete:
            self.delete_pressed.emit()
        elif event.key() == Qt.Key.Key_Escape and self.selectionModel().hasSelection():
            self.forget_choice()
        else:
            super().keyPressEvent(event)

    def forget_choice(self) -> None:
        self.selectionModel().setCurrentIndex(QModelIndex(), QItemSelectionModel.SelectionFlag.Clear)
