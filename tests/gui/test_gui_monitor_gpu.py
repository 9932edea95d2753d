"""The GPU page: alive without a GPU, one row per GPU, holds still when paused, costs nothing when hidden."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from fake_core import FakeCore, make_sample
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QComboBox, QPushButton, QWidget
from pytestqt.qtbot import QtBot

from quarterdeck.gui import theme
from quarterdeck.gui.pages.gpu import GpuPage
from quarterdeck.gui.store import Store
from quarterdeck.gui.widgets.device_row import DeviceRow
from quarterdeck.gui.widgets.graph import Graph
from quarterdeck.gui.widgets.note import NoteBox
from quarterdeck.schemas.hardware import HardwareSample, NvmlState


@pytest.fixture
def page(store: Store, core: FakeCore, qtbot: QtBot) -> Iterator[GpuPage]:
    made = GpuPage(store)
    qtbot.addWidget(made)
    made.resize(1100, 800)
    made.show()
    yield made
    made.page_hidden()


@pytest.fixture
def draws(monkeypatch: pytest.MonkeyPatch) -> list[Graph]:
    """Every drawing of a graph, in order."""
    done: list[Graph] = []
    draw = Graph.draw

    def counted(graph: Graph, x: list[float], y: list[float]) -> None:
        done.append(graph)
        draw(graph, x, y)

    monkeypatch.setattr(Graph, "draw", counted)
    return done


def appear(page: GpuPage, qtbot: QtBot) -> None:
    page.page_shown()
    qtbot.waitUntil(lambda: bool(graphs(page)) and all(graph.value_text() for graph in graphs(page)))


def graphs(page: QWidget) -> list[Graph]:
    """The graphs in reading order, without those of rows that are on their way out."""
    found = [graph for graph in page.findChildren(Graph) if graph.isVisible()]
    return sorted(found, key=lambda graph: graph.mapTo(page.window(), graph.rect().topLeft()).toTuple()[::-1])


def names(page: QWidget) -> list[str]:
    return [graph.accessibleName() for graph in graphs(page)]


def button(page: QWidget, text: str) -> QPushButton:
    return next(found for found in page.findChildren(QPushButton) if found.text() == text)


def later(seconds: float, **fields: object) -> HardwareSample:
    made = make_sample(**fields)  # type: ignore[arg-type]
    return made.model_copy(update={"at": datetime.now(UTC) + timedelta(seconds=seconds)})


def arrive(page: GpuPage, sample: HardwareSample) -> None:
    page._store.sample_arrived.emit(sample)


def test_without_a_gpu_the_page_says_why_and_shows_the_computer(page: GpuPage, core: FakeCore, qtbot: QtBot) -> None:
    core.samples = [make_sample(gpus=0)]
    appear(page, qtbot)
    note = page.findChild(NoteBox)
    assert note.isVisible()
    assert note.text() == "No NVIDIA driver on this computer No NVIDIA driver is installed. Install the driver."
    assert names(page) == ["This computer, CPU: 12 %", "This computer, Memory: 6.0 of 32.0 GiB"]


def test_two_gpus_have_a_row_each_above_the_computer(page: GpuPage, core: FakeCore, qtbot: QtBot) -> None:
    core.samples = [make_sample(gpus=2)]
    appear(page, qtbot)
    qtbot.waitUntil(lambda: len(graphs(page)) == 10)
    assert not page.findChild(NoteBox).isVisible()
    rows = sorted(page.findChildren(DeviceRow), key=lambda row: row.y())
    assert [len(row.graphs) for row in rows] == [4, 4, 2]
    assert "GPU 1 · NVIDIA Test 24, VRAM: 9.0 of 24.0 GiB" in names(rows[1])
    assert "This computer, CPU: 12 %" in names(rows[2])


def test_a_value_that_cannot_be_had_is_not_zero(page: GpuPage, core: FakeCore, qtbot: QtBot) -> None:
    made = make_sample(gpus=1)
    made.gpus[0].power = None
    made.gpus[0].unavailable["power"] = "This card does not report it."
    core.samples = [made]
    appear(page, qtbot)
    assert "GPU 0 · NVIDIA Test 24, Power: n/a, This card does not report it." in names(page)


def test_new_samples_arrive_while_shown(page: GpuPage, core: FakeCore, qtbot: QtBot) -> None:
    appear(page, qtbot)
    qtbot.waitUntil(lambda: any("gpu" in stream.topics for stream in core.streams))
    core.publish("gpu", "sample", later(1, utilization=77.0))
    qtbot.waitUntil(lambda: "GPU 0 · NVIDIA Test 24, Utilisation: 77 %, Busy: 70 % or more." in names(page))


def test_a_hidden_page_neither_draws_nor_asks_for_samples(
    page: GpuPage, core: FakeCore, qtbot: QtBot, draws: list[Graph]
) -> None:
    appear(page, qtbot)
    page.page_hidden()
    qtbot.waitUntil(lambda: bool(core.streams) and not any("gpu" in stream.topics for stream in core.streams))
    draws.clear()
    for second in range(1, 5):
        arrive(page, later(second))
    assert draws == []
    appear(page, qtbot)
    assert draws


def test_one_sample_draws_each_graph_once(page: GpuPage, qtbot: QtBot, draws: list[Graph]) -> None:
    appear(page, qtbot)
    draws.clear()
    arrive(page, later(1))
    assert sorted(map(id, draws)) == sorted(map(id, graphs(page)))


def test_space_holds_the_graphs_and_says_how_far_behind(page: GpuPage, qtbot: QtBot, draws: list[Graph]) -> None:
    appear(page, qtbot)
    arrive(page, later(1))
    draws.clear()
    page.setFocus()
    qtbot.keyClick(page, Qt.Key.Key_Space)
    arrive(page, later(13, utilization=99.0))
    assert page.paused
    assert draws == []
    assert page._behind.text() == "Paused — 12 s behind"
    assert page._behind.isVisible()
    qtbot.mouseClick(button(page, "Resume"), Qt.MouseButton.LeftButton)
    assert not page.paused
    assert not page._behind.isVisible()
    assert "GPU 0 · NVIDIA Test 24, Utilisation: 99 %, Fully used: 90 % or more." in names(page)


def test_a_gpu_that_vanishes_is_said_and_one_that_appears_gets_a_row(page: GpuPage, qtbot: QtBot) -> None:
    appear(page, qtbot)
    arrive(page, later(1, gpus=0))
    gone = "This GPU no longer answers. Its last minutes stay on screen."
    assert f"GPU 0 · NVIDIA Test 24, VRAM: n/a, {gone}" in names(page)
    arrive(page, later(2, gpus=2))
    qtbot.waitUntil(lambda: len(graphs(page)) == 10)
    rows = sorted(page.findChildren(DeviceRow), key=lambda row: row.y())
    assert [len(row.graphs) for row in rows] == [4, 4, 2]
    assert "GPU 1 · NVIDIA Test 24, VRAM: 9.0 of 24.0 GiB" in names(page)
    assert "GPU 0 · NVIDIA Test 24, VRAM: 9.0 of 24.0 GiB" in names(page)


def test_tab_goes_through_the_graphs_as_they_are_read(page: GpuPage, core: FakeCore, qtbot: QtBot) -> None:
    core.samples = [make_sample(gpus=1)]
    appear(page, qtbot)
    arrive(page, later(1, gpus=2))
    qtbot.waitUntil(lambda: len(graphs(page)) == 10)
    chain, at = [], page.findChild(QComboBox).nextInFocusChain()
    while not chain or at is not page.findChild(QComboBox):
        chain.append(at)
        at = at.nextInFocusChain()
    assert [widget for widget in chain if isinstance(widget, Graph)] == graphs(page)


def test_a_lost_gpu_keeps_the_note_of_the_driver(page: GpuPage, qtbot: QtBot) -> None:
    appear(page, qtbot)
    lost = later(1)
    lost.nvml.state, lost.nvml.reason = NvmlState.GPU_LOST, "The graphics card stopped answering."
    arrive(page, lost)
    assert "The graphics card stopped answering." in page.findChild(NoteBox).text()


def test_pointing_shows_the_same_moment_in_all_graphs(page: GpuPage, qtbot: QtBot) -> None:
    appear(page, qtbot)
    arrive(page, later(5, utilization=80.0))
    arrive(page, later(10, utilization=20.0))
    graphs(page)[0].pointed.emit(-5.2)
    assert graphs(page)[0].value_text() == "80 % · −5 s"
    assert all(graph.value_text().endswith("· −5 s") for graph in graphs(page))
    graphs(page)[0].pointed.emit(math.nan)
    assert graphs(page)[0].value_text() == "20 %"


def test_the_cursor_moves_by_keyboard_and_follows_the_pointer(page: GpuPage, qtbot: QtBot) -> None:
    appear(page, qtbot)
    graph = graphs(page)[0]
    with qtbot.waitSignal(graph.pointed) as moved:
        qtbot.keyClick(graph, Qt.Key.Key_Left)
    assert moved.args == [-1.0]
    with qtbot.waitSignal(graph.pointed) as pointed:
        qtbot.mouseMove(graph, graph.rect().center())
    assert -60 <= pointed.args[0] <= 0
    with qtbot.waitSignal(graph.pointed) as gone:
        qtbot.keyClick(graph, Qt.Key.Key_Escape)
    assert math.isnan(gone.args[0])


def test_the_time_shown_can_be_chosen(page: GpuPage, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    appear(page, qtbot)
    spans: list[float] = []
    monkeypatch.setattr(Graph, "set_span", lambda _graph, seconds: spans.append(seconds))
    choice = page.findChild(QComboBox)
    choice.setCurrentIndex(choice.findData(600))
    assert set(spans) == {600.0}


def test_graphs_follow_the_theme(page: GpuPage, qtbot: QtBot) -> None:
    appear(page, qtbot)
    before = graphs(page)[0].grab().toImage().pixelColor(200, 60).name()
    theme.choose("dark")
    qtbot.waitUntil(lambda: graphs(page)[0].grab().toImage().pixelColor(200, 60).name() != before)
    theme.choose("light")


def test_a_lost_connection_is_said_with_the_age_of_the_values(page: GpuPage, core: FakeCore, qtbot: QtBot) -> None:
    appear(page, qtbot)
    core.drop()
    qtbot.waitUntil(lambda: "Not connected" in page.findChild(NoteBox).text())
    assert "These values are from" in page.findChild(NoteBox).text()


def test_narrow_windows_put_fewer_graphs_side_by_side(page: GpuPage, qtbot: QtBot) -> None:
    appear(page, qtbot)
    row = next(row for row in page.findChildren(DeviceRow) if len(row.graphs) == 4)
    assert len({graph.y() for graph in row.graphs.values()}) == 1
    page.resize(620, 800)
    qtbot.waitUntil(lambda: len({graph.y() for graph in row.graphs.values()}) == 2)


def test_the_graph_library_is_not_loaded_with_the_page() -> None:
    code = "import sys, quarterdeck.gui.pages.gpu; sys.exit('pyqtgraph' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
