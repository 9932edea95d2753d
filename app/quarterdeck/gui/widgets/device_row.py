"""One device of the GPU page: a card with its name and a graph for each thing that is measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PySide6.QtCore import Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QFrame, QGridLayout, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from quarterdeck.gui.presenters.hardware import Metric
from quarterdeck.gui.widgets.graph import Graph
from quarterdeck.gui.widgets.memory_bar import MemoryBar

LETTERS_PER_GRAPH = 26


class DeviceRow(QFrame):
    """The memory of one device and its graphs, side by side where there is room."""

    pointed = Signal(float)

    def __init__(self, title: str, titles: Mapping[Metric, str], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("card", True)
        self.graphs = {metric: Graph(title, metric, name, self) for metric, name in titles.items()}
        for graph in self.graphs.values():
            graph.pointed.connect(self.pointed)
        self._title = QLabel(title)
        self._title.setProperty("role", "heading")
        self._identity = QLabel()
        self._identity.setProperty("role", "muted")
        self.memory = MemoryBar(title)
        header = QHBoxLayout()
        header.setContentsMargins(4, 0, 4, 0)
        header.setSpacing(12)
        header.addWidget(self._title)
        header.addWidget(self._identity, 1)
        self._grid = QGridLayout()
        self._grid.setHorizontalSpacing(12)
        self._columns = 0
        column = QVBoxLayout(self)
        column.setContentsMargins(12, 10, 12, 10)
        column.addLayout(header)
        column.addWidget(self.memory)
        column.addLayout(self._grid)
        # Without this the graphs side by side would keep the row from ever becoming narrow.
        self.setMinimumWidth(self._graph_width())
        self._arrange(len(self.graphs))

    def _graph_width(self) -> int:
        return self.fontMetrics().averageCharWidth() * LETTERS_PER_GRAPH

    def set_identity(self, text: str, tip: str = "") -> None:
        self._identity.setText(text)
        self._identity.setToolTip(tip)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        room = event.size().width() // self._graph_width()
        self._arrange(len(self.graphs) if room >= len(self.graphs) else 2 if room >= 2 else 1)

    def _arrange(self, columns: int) -> None:
        if columns == self._columns:
            return
        self._columns = columns
        graphs: Sequence[Graph] = list(self.graphs.values())
        for graph in graphs:
            self._grid.removeWidget(graph)
        for index, graph in enumerate(graphs):
            self._grid.addWidget(graph, index // columns, index % columns)
        for column in range(len(graphs)):
            self._grid.setColumnStretch(column, 1 if column < columns else 0)
