"""Who holds GPU memory: the bar, the table, and stopping a program."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fake_core import FakeCore, make_sample
from hypothesis import given
from hypothesis import strategies as st
from PySide6.QtCore import QEvent, QPoint, Qt
from PySide6.QtGui import QHelpEvent
from PySide6.QtWidgets import QApplication, QLabel, QToolTip
from pytestqt.qtbot import QtBot

from quarterdeck.client.api import ApiClient
from quarterdeck.errors import AppError
from quarterdeck.gui import theme
from quarterdeck.gui.dialogs.ask import Question
from quarterdeck.gui.models.gpu_process_list import GpuProcessList
from quarterdeck.gui.pages.gpu import GpuPage
from quarterdeck.gui.presenters import gpu_memory as words
from quarterdeck.gui.presenters.gpu_memory import Colours, Kind
from quarterdeck.gui.presenters.hardware import Metric, gpu_reading, level
from quarterdeck.gui.store import Store
from quarterdeck.gui.widgets.memory_bar import MemoryBar
from quarterdeck.gui.widgets.note import NoteBox
from quarterdeck.schemas.hardware import GpuProcess, GpuSample, GpuVendor, HardwareSample, NvmlState

GIB = 1024**3
MIB = 1024**2
seconds = itertools.count(1)


def process(pid: int = 4242, **fields: Any) -> GpuProcess:
    base: dict[str, Any] = {
        "gpu": 0, "pid": pid, "name": "vllm", "command": "vllm serve qwen", "user": "user", "age_s": 742.0,
        "create_time": 1000.0, "memory_bytes": 5 * GIB,
    }  # fmt: skip
    return GpuProcess(**(base | fields))


def card(**fields: Any) -> GpuSample:
    base: dict[str, Any] = {"index": 0, "uuid": "a", "name": "Test", "memory_used": 9 * GIB, "memory_total": 24 * GIB}
    return GpuSample(**(base | fields))


def sample(*processes: GpuProcess, gpus: int = 1, **fields: Any) -> HardwareSample:
    made = make_sample(gpus=gpus)
    at = datetime.now(UTC) + timedelta(seconds=next(seconds))
    return made.model_copy(update={"at": at, "processes": list(processes), **fields})


def parts(gpu: GpuSample, *processes: GpuProcess) -> list[tuple[Kind, str, int]]:
    colours = Colours(6)
    return [(share.kind, share.label, share.size) for share in words.shares(gpu, processes, colours)]


class TestShares:
    def test_models_other_programs_driver_and_free(self) -> None:
        held = (
            process(1, model="qwen3-8b", memory_bytes=3 * GIB),
            process(2, model="qwen3-8b", memory_bytes=1 * GIB),
            process(3, model="gemma3", memory_bytes=2 * GIB),
            process(4, name="blender", memory_bytes=1 * GIB),
            process(5, gpu=1, model="elsewhere"),
        )
        assert parts(card(), *held) == [
            (Kind.MODEL, "qwen3-8b", 4 * GIB),
            (Kind.MODEL, "gemma3", 2 * GIB),
            (Kind.OTHERS, "Other programs", 1 * GIB),
            (Kind.DRIVER, "Driver and hidden programs", 2 * GIB),
            (Kind.FREE, "Free", 15 * GIB),
        ]

    def test_a_small_rest_goes_to_the_other_programs(self) -> None:
        held = process(4, name="blender", memory_bytes=9 * GIB - 10 * MIB)
        assert parts(card(), held)[0] == (Kind.OTHERS, "Other programs", 9 * GIB)

    def test_nothing_is_said_of_programs_where_they_are_not_known(self) -> None:
        gpu = card(unavailable={"processes": "WSL."})
        assert parts(gpu) == [(Kind.OTHERS, "In use", 9 * GIB), (Kind.FREE, "Free", 15 * GIB)]

    def test_unknown_memory_has_no_bar(self) -> None:
        assert parts(card(memory_used=None), process()) == []
        assert parts(card(memory_total=None), process()) == []

    def test_the_tip_names_the_programs(self) -> None:
        held = (process(1, name="blender", memory_bytes=2 * GIB), process(2, name="Xorg", memory_bytes=7 * GIB))
        share = words.shares(card(), held, Colours(6))[0]
        assert share.tip == "Other programs: 9.0 GiB, 38 % of 24.0 GiB\nXorg 7.0 GiB, blender 2.0 GiB"

    @given(
        st.integers(0, 24 * GIB),
        st.lists(st.tuples(st.integers(1, 24 * GIB), st.sampled_from([None, "a", "b"]), st.booleans())),
    )
    def test_the_parts_fill_the_bar(self, used: int, held: list[tuple[int, str | None, bool]]) -> None:
        processes = [
            process(pid, model=model, memory_bytes=size if known else None)
            for pid, (size, model, known) in enumerate(held)
        ]
        shares = words.shares(card(memory_used=used), processes, Colours(6))
        claimed = sum(each.memory_bytes or 0 for each in processes)
        assert all(share.size > 0 for share in shares)
        assert sum(share.size for share in shares) == max(24 * GIB, claimed)
        assert len({share.label for share in shares}) == len(shares)


class TestColours:
    def test_a_model_keeps_its_colour_and_another_gets_the_free_one(self) -> None:
        colours = Colours(3)
        colours.follow(["a", "b"])
        colours.follow(["b", "c"])
        assert (colours.of("b"), colours.of("c")) == (1, 0)

    @given(st.lists(st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=6)))
    def test_as_long_as_there_are_enough_no_two_models_share_one(self, moments: list[list[str]]) -> None:
        colours = Colours(6)
        for models in moments:
            colours.follow(models)
            assert len({colours.of(model) for model in models}) == len(models)


class TestRows:
    def test_a_row(self) -> None:
        (row,) = words.rows(sample(process(model="qwen3-8b")), Colours(6))
        assert row.cells == ("vllm", "4242", "0", "qwen3-8b", "user", "12 min", "5.0 GiB")
        assert row.tip == "vllm serve qwen"

    def test_what_is_not_known_is_said(self) -> None:
        unknown = GpuProcess(gpu=0, pid=7, name="")
        (row,) = words.rows(sample(unknown), Colours(6))
        assert row.cells == ("Unknown program", "7", "0", "–", "n/a", "n/a", "n/a")
        assert "outside" in row.tip

    def test_an_orphan_is_marked_in_words(self) -> None:
        (row,) = words.rows(sample(process(orphan=True)), Colours(6))
        assert row.cells[3] == "Left behind"
        assert "is gone" in row.tip

    def test_why_processes_are_missing_is_said_once(self) -> None:
        gpus = [card(index=index, uuid=str(index), unavailable={"processes": "WSL."}) for index in range(2)]
        assert words.missing(sample(gpus=0).model_copy(update={"gpus": gpus})) == "WSL."

    @pytest.mark.parametrize(
        ("fields", "reason"),
        [
            ({}, ""),
            ({"model": "qwen3-8b"}, "Unload that model instead"),
            ({"own_user": False, "user": "root"}, "belongs to root"),
            ({"create_time": None}, "outside"),
        ],
    )
    def test_what_cannot_be_stopped(self, fields: dict[str, Any], reason: str) -> None:
        refusal = words.refusal(process(**fields))
        assert reason in refusal if reason else refusal == ""

    def test_rows_keep_their_places(self, qtbot: QtBot) -> None:
        shown = GpuProcessList()
        colours = Colours(6)

        def show(*processes: GpuProcess) -> list[tuple[str, str]]:
            shown.show(words.rows(sample(*processes), colours))
            return [(shown.row_at(row).cells[1], shown.row_at(row).cells[6]) for row in range(shown.rowCount())]

        show(process(1, memory_bytes=3 * GIB), process(2, memory_bytes=2 * GIB), process(3, memory_bytes=GIB))
        again = show(process(4), process(3, memory_bytes=4 * GIB), process(1, memory_bytes=3 * GIB))
        assert again == [("1", "3.0 GiB"), ("3", "4.0 GiB"), ("4", "5.0 GiB")]

    def test_a_later_process_with_the_same_pid_is_another_row(self, qtbot: QtBot) -> None:
        shown = GpuProcessList()
        shown.show(words.rows(sample(process(1)), Colours(6)))
        with qtbot.waitSignal(shown.rowsRemoved):
            shown.show(words.rows(sample(process(1, create_time=2000.0)), Colours(6)))
        assert shown.rowCount() == 1


class TestLevels:
    @pytest.mark.parametrize(
        ("metric", "value", "tone"),
        [
            (Metric.UTILIZATION, 69.9, "ok"), (Metric.UTILIZATION, 70, "warn"), (Metric.UTILIZATION, 90, "error"),
            (Metric.TEMPERATURE, 69, "ok"), (Metric.TEMPERATURE, 84, "warn"), (Metric.TEMPERATURE, 85, "error"),
            (Metric.POWER, 1000, ""), (Metric.MEMORY, 1000, ""),
        ],
    )  # fmt: skip
    def test_limits(self, metric: Metric, value: float, tone: str) -> None:
        assert level(metric, value) == tone

    def test_a_hot_card_is_said_in_words_too(self) -> None:
        reading = gpu_reading(card(temperature=88), Metric.TEMPERATURE)
        assert (reading.tone, reading.tip) == ("error", "Hot: 85 °C or more. Check the fans and the airflow.")


@pytest.fixture
def page(store: Store, core: FakeCore, qtbot: QtBot) -> Iterator[GpuPage]:
    made = GpuPage(store)
    qtbot.addWidget(made)
    made.resize(1100, 900)
    made.show()
    made.page_shown()
    qtbot.waitUntil(lambda: made.rows > 0)
    yield made
    made.page_hidden()


def arrive(page: GpuPage, new: HardwareSample) -> None:
    page._store.sample_arrived.emit(new)


def select(page: GpuPage, row: int) -> None:
    page.processes.table.selectRow(row)


def labels(page: GpuPage) -> list[str]:
    return [label.text() for label in page.processes.findChildren(QLabel) if label.isVisible()]


def test_the_bar_tells_who_holds_the_memory(page: GpuPage) -> None:
    arrive(page, sample(process(model="qwen3-8b"), process(7, name="blender", memory_bytes=4 * GIB)))
    bar = page.findChild(MemoryBar)
    assert bar.isVisible()
    assert bar.accessibleName() == (
        "GPU 0 · NVIDIA Test 24, memory: qwen3-8b 5.0 GiB, Other programs 4.0 GiB, Free 15.0 GiB of 24.0 GiB"
    )
    assert "qwen3-8b\u00a05.0\u00a0GiB" in bar.legend.text()
    assert theme.tokens().series[0] in bar.legend.text()


def test_the_part_under_the_pointer_has_a_tip(page: GpuPage) -> None:
    arrive(page, sample(process(model="qwen3-8b"), process(7, memory_bytes=4 * GIB)))
    bar = page.findChild(MemoryBar).bar
    for share, tip in ((0.1, "qwen3-8b: 5.0 GiB"), (0.3, "Other programs: 4.0 GiB"), (0.9, "Free: 15.0 GiB")):
        at = QPoint(round(bar.width() * share), 5)
        QApplication.sendEvent(bar, QHelpEvent(QEvent.Type.ToolTip, at, bar.mapToGlobal(at)))
        assert QToolTip.text().startswith(tip)


def test_the_bar_has_the_colour_of_the_model_and_follows_the_theme(page: GpuPage, qtbot: QtBot) -> None:
    arrive(page, sample(process(model="qwen3-8b", memory_bytes=9 * GIB)))
    bar = page.findChild(MemoryBar).bar
    colour = bar.grab().toImage().pixelColor(bar.width() // 8, bar.height() // 2).name()
    assert colour == theme.LIGHT.series[0]
    theme.choose("dark")
    dark = bar.grab().toImage().pixelColor(bar.width() // 8, bar.height() // 2).name()
    theme.choose("light")
    assert dark == theme.DARK.series[0]


def test_a_model_on_two_gpus_has_one_colour(page: GpuPage, qtbot: QtBot) -> None:
    arrive(page, sample(process(model="qwen3-8b"), process(9, gpu=1, model="gemma3"), gpus=2))
    arrive(page, sample(process(9, gpu=1, model="gemma3"), process(9, gpu=0, model="gemma3"), gpus=2))
    qtbot.waitUntil(lambda: len([bar for bar in page.findChildren(MemoryBar) if bar.isVisible()]) == 2)
    bars = [bar for bar in page.findChildren(MemoryBar) if bar.isVisible()]
    assert all(theme.tokens().series[1] in bar.legend.text() for bar in bars)


def test_the_table_lists_the_programs(page: GpuPage) -> None:
    arrive(page, sample(process(), process(7, name="blender", memory_bytes=GIB)))
    rows = page.processes.rows
    assert [rows.row_at(row).cells[0] for row in range(rows.rowCount())] == ["vllm", "blender"]
    assert page.processes.table.isVisible()
    assert page.processes.table.isColumnHidden(2)
    arrive(page, sample(process(), gpus=2))
    assert not page.processes.table.isColumnHidden(2)


def test_no_program_holds_memory(page: GpuPage) -> None:
    arrive(page, sample())
    assert labels(page) == ["Programs on the GPU", "No program holds GPU memory."]
    assert not page.processes.table.isVisible()
    assert not page.processes.stop_button.isVisible()


def test_why_programs_are_not_listed_is_said(page: GpuPage) -> None:
    made = sample(surroundings=["This is WSL."])
    made.gpus[0].unavailable["processes"] = "In WSL the driver does not say."
    arrive(page, made)
    assert labels(page)[1] == "In WSL the driver does not say."
    shown = [note.text() for note in page.findChildren(NoteBox) if note.isVisible()]
    assert shown == ["About this computer This is WSL."]


def test_without_a_gpu_there_is_no_table(page: GpuPage) -> None:
    arrive(page, sample(gpus=0))
    assert not page.processes.isVisible()


def test_an_amd_card_needs_no_note_about_nvidia(page: GpuPage) -> None:
    made = sample(gpus=1)
    made.nvml.state = NvmlState.LIBRARY_NOT_FOUND
    made.gpus[0].vendor = GpuVendor.AMD
    arrive(page, made)
    assert not [note for note in page.findChildren(NoteBox) if note.isVisible()]


def test_holders_are_shown_as_they_are_while_the_graphs_are_held(page: GpuPage, qtbot: QtBot) -> None:
    page.toggle_pause()
    arrive(page, sample(process(name="late")))
    assert page.processes.rows.row_at(0).cells[0] == "late"


def test_a_hidden_page_leaves_the_table_alone(page: GpuPage) -> None:
    page.page_hidden()
    arrive(page, sample(process()))
    assert page.processes.rows.rowCount() == 0


def test_the_button_says_why_it_cannot_be_used(page: GpuPage) -> None:
    button = page.processes.stop_button
    arrive(page, sample(process(model="qwen3-8b"), process(7, own_user=False, user="root"), process(8)))
    assert not button.isEnabled() and "Choose a program" in button.toolTip()
    for row, reason in ((0, "Unload"), (1, "root")):
        select(page, row)
        assert not button.isEnabled() and reason in button.toolTip()
    select(page, 2)
    assert button.isEnabled()


def test_the_selection_stays_with_its_program(page: GpuPage) -> None:
    arrive(page, sample(process(1), process(2), process(3)))
    select(page, 1)
    arrive(page, sample(process(2), process(3, memory_bytes=9 * GIB), process(9)))
    chosen = page.processes.chosen()
    assert chosen is not None and chosen.pid == 2


def test_when_the_chosen_program_ends_no_other_is_chosen_for_it(page: GpuPage) -> None:
    arrive(page, sample(process(1), process(2), process(3)))
    select(page, 1)
    arrive(page, sample(process(1), process(3)))
    assert page.processes.chosen() is None
    assert not page.processes.stop_button.isEnabled()


class TestStopping:
    @pytest.fixture
    def stopped(self, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, float]]:
        calls: list[tuple[int, float]] = []

        async def stop(_client: ApiClient, pid: int, create_time: float) -> None:
            calls.append((pid, create_time))

        monkeypatch.setattr(ApiClient, "stop_gpu_process", stop)
        return calls

    def ask(self, page: GpuPage, qtbot: QtBot) -> Question:
        arrive(page, sample(process(orphan=True)))
        select(page, 0)
        page.processes.table.setFocus()
        qtbot.keyClick(page.processes.table, Qt.Key.Key_Delete)
        qtbot.waitUntil(lambda: page.window().findChild(Question) is not None)
        found: Question = page.window().findChild(Question)
        return found

    def test_it_is_asked_what_will_happen(self, page: GpuPage, qtbot: QtBot, stopped: list[tuple[int, float]]) -> None:
        question = self.ask(page, qtbot)
        assert question.windowTitle() == "Stop vllm (PID 4242)?"
        told = question.accessibleDescription()
        assert "asked to end" in told and "by force" in told and "5.0 GiB" in told and "is gone" in told
        question.cancel_button.click()
        qtbot.waitUntil(lambda: page.window().findChild(Question) is None)
        assert stopped == []

    def test_it_is_stopped_by_pid_and_create_time(
        self, page: GpuPage, qtbot: QtBot, stopped: list[tuple[int, float]]
    ) -> None:
        question = self.ask(page, qtbot)
        with qtbot.waitSignal(page._store.toast) as told:
            question.verb_button.click()
        assert stopped == [(4242, 1000.0)]
        assert told.args == ["Stopped vllm (PID 4242)", "ok"]

    def test_a_refusal_is_told(self, page: GpuPage, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
        async def refuse(_client: ApiClient, pid: int, create_time: float) -> None:
            raise AppError("process_protected", "It is a part of the desktop.", "Log out.")

        monkeypatch.setattr(ApiClient, "stop_gpu_process", refuse)
        question = self.ask(page, qtbot)
        with qtbot.waitSignal(page._store.toast) as told:
            question.verb_button.click()
        assert told.args == ["vllm could not be stopped. It is a part of the desktop. Log out.", "error"]
