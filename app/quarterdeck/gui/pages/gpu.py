"""The GPU page: who holds the memory of every GPU, live graphs, and why there are none."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, QTimer, Slot
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from quarterdeck.gui import theme
from quarterdeck.gui.gpu_commands import GpuCommands
from quarterdeck.gui.presenters import gpu_memory
from quarterdeck.gui.presenters import hardware as words
from quarterdeck.gui.presenters.history import GAP_S, HOST, History
from quarterdeck.gui.presenters.text import UNKNOWN, elapsed
from quarterdeck.gui.widgets.note import NoteBox
from quarterdeck.gui.widgets.process_table import ProcessTable
from quarterdeck.gui.widgets.scrolling import ScrollingColumn
from quarterdeck.schemas.events import Topic

if TYPE_CHECKING:
    from quarterdeck.gui.store import Store
    from quarterdeck.gui.widgets.device_row import DeviceRow
    from quarterdeck.schemas.hardware import GpuProcess, HardwareSample

WINDOWS = ((60, "Last minute"), (300, "Last 5 minutes"), (600, "Last 10 minutes"))

# Above the rows stand two notes and the line that says that values are awaited.
FIRST_ROW = 3


class GpuPage(QWidget):
    """Draws only while it is shown and not paused; pyqtgraph is loaded when it is shown first."""

    def __init__(self, store: Store, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._store = store
        self._commands = GpuCommands(store, self)
        self._colours = gpu_memory.Colours(len(theme.tokens().series))
        self._history = History(gap_s=GAP_S)
        self._rows: dict[str, DeviceRow] = {}
        self._shown = False
        self._frozen = math.nan
        self._built = False
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self._build_frame()
        # The page itself appears before the graph library is loaded.
        self._build_soon = QTimer(self, singleShot=True, interval=0)
        self._build_soon.timeout.connect(self._build_rows)
        store.sample_arrived.connect(self._on_sample)
        store.samples_reset.connect(self._on_reset)
        store.connection_changed.connect(self._on_connection)
        store.settings_changed.connect(self._on_settings)
        theme.notifier.changed.connect(self._on_theme)

    def _build_frame(self) -> None:
        title = QLabel("GPU")
        title.setProperty("role", "title")
        self._driver = QLabel()
        self._driver.setProperty("role", "muted")
        self._behind = QLabel()
        self._behind.hide()
        self._pause = QPushButton("Pause")
        self._pause.setToolTip("Hold the graphs still (Space). Measuring goes on.")
        self._pause.clicked.connect(self.toggle_pause)
        self._window = QComboBox()
        self._window.setAccessibleName("Time shown")
        self._window.setToolTip("How much time the graphs show")
        for seconds, text in WINDOWS:
            self._window.addItem(text, seconds)
        self._window.currentIndexChanged.connect(self._draw)
        header = QHBoxLayout()
        header.setSpacing(10)
        header.addWidget(title)
        header.addWidget(self._driver, 1)
        for widget in (self._behind, self._pause, self._window):
            header.addWidget(widget)
        self._note, self._about = NoteBox(), NoteBox()
        self.processes = ProcessTable()
        self.processes.stop_wanted.connect(self._on_stop_wanted)
        self._waiting = QLabel("Waiting for the first values…")
        self._waiting.setProperty("role", "muted")
        scroll = ScrollingColumn(self._note, self._about, self._waiting, self.processes)
        self._column = scroll.column
        page = QVBoxLayout(self)
        page.setContentsMargins(24, 20, 18, 12)
        page.setSpacing(14)
        page.addLayout(header)
        page.addWidget(scroll, 1)

    @property
    def paused(self) -> bool:
        return not math.isnan(self._frozen)

    @property
    def rows(self) -> int:
        """How many devices are shown."""
        return len(self._rows)

    def page_shown(self) -> None:
        """Begin to measure and draw."""
        if self._shown:
            return
        self._shown = True
        self._on_reset()
        self._store.watch(Topic.GPU, True)
        self._build_soon.start()

    def page_hidden(self) -> None:
        """Stop drawing; nothing here costs anything until the page is shown again."""
        if not self._shown:
            return
        self._shown = False
        self._store.watch(Topic.GPU, False)

    @Slot()
    def toggle_pause(self) -> None:
        """Hold the graphs still, or let them run again; measuring goes on meanwhile."""
        self._frozen = math.nan if self.paused else self._history.newest
        self._pause.setText("Resume" if self.paused else "Pause")
        self._refresh()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Space and not event.isAutoRepeat():
            self.toggle_pause()
        else:
            super().keyPressEvent(event)

    @Slot()
    def _build_rows(self) -> None:
        self._built = True
        self._refresh()

    @Slot(object)
    def _on_sample(self, sample: HardwareSample) -> None:
        if self._shown and self._history.add(sample):
            self._refresh()

    @Slot()
    def _on_reset(self) -> None:
        if not self._shown:
            return
        self._history = History(gap_s=self._history.gap_s)
        for sample in self._store.samples:
            self._history.add(sample)
        self._refresh()

    @Slot(bool)
    def _on_connection(self, _connected: bool) -> None:
        self._show_note()

    @Slot()
    def _on_settings(self) -> None:
        setting = self._store.settings.get("sample_interval")
        if setting is not None:
            self._history.gap_s = max(GAP_S, 3 * float(setting.value))

    @Slot()
    def _on_theme(self) -> None:
        for row in self._rows.values():
            for graph in row.graphs.values():
                graph.recolour()

    @Slot(object)
    def _on_stop_wanted(self, process: GpuProcess) -> None:
        self._commands.stop(process)

    def _refresh(self) -> None:
        """Bring everything to the newest sample; held graphs only say how far they are behind."""
        if not self._shown:
            return
        self._behind.setVisible(self.paused)
        self._show_note()
        latest = self._history.latest
        driver = latest.nvml.driver_version if latest is not None else None
        self._driver.setText(f"NVIDIA driver {driver}" if driver else "")
        self._show_holders()
        if self.paused:
            self._behind.setText(f"Paused — {elapsed(max(0.0, self._history.newest - self._frozen))} behind")
            return
        self._arrange_rows()
        self._draw()

    def _show_note(self) -> None:
        latest = self._history.latest
        if not self._store.connected:
            when = f" These values are from {latest.at.astimezone():%H:%M:%S}." if latest is not None else ""
            text = f"Quarterdeck’s core does not answer.{when}"
            self._note.show_note(words.Note("Not connected", text, "It is tried again all the time.", "warn", "warn"))
        elif latest is None:
            self._note.show_note(None)
        else:
            self._note.show_note(words.nvml_note(latest.nvml, latest.gpus))

    def _show_holders(self) -> None:
        """Who holds memory is always shown as it is now, also while the graphs are held."""
        latest = self._history.latest
        if latest is None or not self._built:
            return
        self._about.show_note(gpu_memory.surroundings_note(latest))
        self._colours.follow(gpu_memory.models_of(latest))
        self.processes.show_sample(latest, self._colours)
        for gpu in latest.gpus:
            if gpu.uuid in self._rows:
                parts = gpu_memory.shares(gpu, latest.processes, self._colours)
                self._rows[gpu.uuid].memory.show_shares(parts, gpu.memory_total)

    def _arrange_rows(self) -> None:
        if not self._built or self._history.latest is None:
            return
        self._waiting.hide()
        for uuid in self._rows.keys() - self._history.gpus.keys() - {HOST}:
            row = self._rows.pop(uuid)
            self._column.removeWidget(row)
            row.deleteLater()
        gpus = sorted(self._history.gpus.values(), key=lambda gpu: gpu.index)
        wanted = [
            (gpu.uuid, words.gpu_title(gpu), words.GPU_TITLES, place) for place, gpu in enumerate(gpus, FIRST_ROW)
        ]
        # The list of programs stands between the GPUs and the computer.
        wanted.append((HOST, "This computer", words.HOST_TITLES, FIRST_ROW + len(gpus) + 1))
        new = [self._add_row(*row) for row in wanted if row[0] not in self._rows]
        if new:
            self._show_holders()
            self._order_focus([key for key, *_ in wanted])

    def _add_row(self, key: str, title: str, titles: dict[words.Metric, str], place: int) -> DeviceRow:
        from quarterdeck.gui.widgets.device_row import DeviceRow

        row = self._rows[key] = DeviceRow(title, titles)
        row.pointed.connect(self._on_pointed)
        self._column.insertWidget(place, row)
        return row

    def _order_focus(self, keys: list[str]) -> None:
        """Tab goes through graphs and programs as they are read, whenever their GPUs appeared."""
        before: QWidget = self._window
        for key in keys:
            if key == HOST:
                self.setTabOrder(before, self.processes.stop_button)
                self.setTabOrder(self.processes.stop_button, self.processes.table)
                before = self.processes.table
            for graph in self._rows[key].graphs.values():
                self.setTabOrder(before, graph)
                before = graph

    @Slot()
    def _draw(self) -> None:
        latest = self._history.latest
        if not self._shown or latest is None:
            return
        now = self._frozen if self.paused else self._history.newest
        span = float(self._window.currentData())
        for key, row in self._rows.items():
            if not self.paused:
                self._show_readings(key, row)
            for metric, graph in row.graphs.items():
                graph.set_span(span)
                graph.draw(*self._history.points((key, metric), now, span))

    def _show_readings(self, key: str, row: DeviceRow) -> None:
        latest = self._history.latest
        assert latest is not None
        for metric, graph in row.graphs.items():
            if key == HOST:
                graph.set_reading(words.host_reading(latest.host, metric))
                graph.set_scale(words.host_scale(latest.host, metric))
                continue
            gpu = self._history.gpus[key]
            here = self._history.present(key)
            graph.set_reading(words.gpu_reading(gpu, metric) if here else words.Reading(math.nan, UNKNOWN, words.GONE))
            graph.set_scale(words.gpu_scale(gpu, metric, self._history.highest((key, metric))))
            row.set_identity(words.gpu_identity(gpu) + ("" if here else " · no longer answers"), gpu.uuid)

    @Slot(float)
    def _on_pointed(self, seconds: float) -> None:
        for row in self._rows.values():
            for graph in row.graphs.values():
                graph.point_at(seconds)
