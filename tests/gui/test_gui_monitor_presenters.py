"""Texts, units and ring arithmetic of the GPU and Logs pages."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.gui.presenters import hardware as words
from quarterdeck.gui.presenters.hardware import Metric
from quarterdeck.gui.presenters.history import HOST, History, decimate, value_at
from quarterdeck.gui.presenters.logs import Intake, Level, LineFilter, clean, count_text, merged, shorten, to_row
from quarterdeck.schemas.backends import LogLine
from quarterdeck.schemas.hardware import GpuSample, HardwareSample, HostSample, NvmlState, NvmlStatus

GIB = 1024**3
START = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


def gpu(**fields: object) -> GpuSample:
    return GpuSample.model_validate({"index": 0, "uuid": "GPU-0123456789ab", "name": "Test 24"} | fields)


def sample(second: float, *gpus: GpuSample, cpu: float = 10.0) -> HardwareSample:
    return HardwareSample(
        at=START + timedelta(seconds=second),
        nvml=NvmlStatus(state=NvmlState.OK),
        host=HostSample(cpu_percent=cpu, cpu_count=8, memory_used=4 * GIB, memory_total=16 * GIB),
        gpus=list(gpus),
    )


def line(number: int, text: str = "text", *, source: str = "embedded", level: str = "info", second: int = 0) -> LogLine:
    at = START + timedelta(seconds=second or number)
    return LogLine(number=number, at=at, source=source, level=level, text=text)


class TestReadings:
    def test_known_values_carry_their_unit(self) -> None:
        card = gpu(utilization=57.4, memory_used=int(14.1 * GIB), memory_total=24 * GIB, temperature=64, power=212.3,
                   power_limit=450)  # fmt: skip
        texts = [words.gpu_reading(card, metric).text for metric in words.GPU_METRICS]
        assert texts == ["57 %", "14.1 of 24.0 GiB", "64 °C", "212 of 450 W"]

    def test_an_unknown_value_is_never_zero_and_says_why(self) -> None:
        reading = words.gpu_reading(gpu(unavailable={"power": "This card does not say."}), Metric.POWER)
        assert reading.text == "n/a"
        assert reading.tip == "This card does not say."
        assert math.isnan(reading.value)

    def test_an_unknown_value_without_a_reason_still_has_one(self) -> None:
        assert words.gpu_reading(gpu(), Metric.TEMPERATURE).tip == words.NO_REASON

    def test_shared_memory_reported_as_zero_of_zero_is_unknown(self) -> None:
        assert words.gpu_reading(gpu(memory_used=0, memory_total=0), Metric.MEMORY).text == "n/a"

    def test_zero_that_was_measured_is_zero(self) -> None:
        assert words.gpu_reading(gpu(utilization=0.0), Metric.UTILIZATION).text == "0 %"

    def test_host_readings(self) -> None:
        host = sample(0, cpu=12.6).host
        assert words.host_reading(host, Metric.UTILIZATION).text == "13 %"
        assert words.host_reading(host, Metric.MEMORY).text == "4.0 of 16.0 GiB"

    @pytest.mark.parametrize(
        ("bus", "shown"),
        [("00000000:01:00.0", "Bus 01:00.0"), ("00000001:01:00.0", "Bus 00000001:01:00.0"), (None, "UUID …456789ab")],
    )
    def test_cards_are_told_apart(self, bus: str | None, shown: str) -> None:
        assert words.gpu_identity(gpu(bus_id=bus)) == shown

    @pytest.mark.parametrize(
        ("seconds", "shown"), [(0, "now"), (-0.4, "now"), (-36, "−36 s"), (-599, "−9:59"), (math.nan, "now")]
    )
    def test_moments_are_short(self, seconds: float, shown: str) -> None:
        assert words.moment_text(seconds) == shown

    def test_lengths_of_time(self) -> None:
        assert [words.span_text(seconds) for seconds in (30, 60, 150, 600)] == ["30 s", "60 s", "2.5 min", "10 min"]


class TestScales:
    def test_percentages_and_memory_have_fixed_axes(self) -> None:
        card = gpu(memory_total=24 * GIB, memory_used=GIB)
        assert words.gpu_scale(card, Metric.UTILIZATION, 3.0).top == 100
        assert words.gpu_scale(card, Metric.MEMORY, 1.0).top == 24

    def test_the_power_limit_is_inside_the_axis(self) -> None:
        scale = words.gpu_scale(gpu(power_limit=450.0), Metric.POWER, 200.0)
        assert scale.limit == 450
        assert scale.top > 450

    @given(st.floats(min_value=0, max_value=1e6, allow_nan=False))
    def test_without_a_limit_the_axis_holds_the_highest_value(self, highest: float) -> None:
        top = words.gpu_scale(gpu(), Metric.POWER, highest).top
        assert highest <= top <= max(1.0, 2 * highest)


class TestNote:
    def test_no_note_when_gpus_answer(self) -> None:
        assert words.nvml_note(NvmlStatus(state=NvmlState.OK), [gpu()]) is None

    @pytest.mark.parametrize("state", [state for state in NvmlState if state is not NvmlState.OK])
    def test_every_kind_of_off_has_a_title_and_the_reason(self, state: NvmlState) -> None:
        note = words.nvml_note(NvmlStatus(state=state, reason="Because.", hint="Do this."), [])
        assert note is not None
        assert (note.text, note.hint) == ("Because.", "Do this.")
        assert "NVML" not in note.title

    def test_a_driver_without_cards_is_no_gpu(self) -> None:
        note = words.nvml_note(NvmlStatus(state=NvmlState.OK), [])
        assert note is not None
        assert note.title == "No NVIDIA GPU found"


class TestHistory:
    def test_a_sample_is_taken_once(self) -> None:
        history = History()
        assert history.add(sample(0))
        assert not history.add(sample(0))
        assert len(history) == 1

    def test_a_pause_in_the_samples_stays_a_gap(self) -> None:
        history = History(gap_s=5)
        for second in (0, 1, 30, 31):
            history.add(sample(second, cpu=float(second)))
        times, values = history.points((HOST, Metric.UTILIZATION), history.newest, 60)
        assert [value for value in values if not math.isnan(value)] == [0, 1, 30, 31]
        assert math.isnan(values[2])
        assert -30 < times[2] < -1

    def test_a_clock_set_back_starts_anew(self) -> None:
        history = History()
        history.add(sample(1000))
        assert history.add(sample(0))
        assert len(history) == 1

    def test_a_gpu_that_appears_has_no_past_and_one_that_vanishes_no_present(self) -> None:
        history = History()
        history.add(sample(0))
        history.add(sample(1, gpu(utilization=50.0)))
        history.add(sample(2))
        _, values = history.points(("GPU-0123456789ab", Metric.UTILIZATION), history.newest, 60)
        assert [math.isnan(value) for value in values] == [True, False, True]
        assert not history.present("GPU-0123456789ab")
        assert "GPU-0123456789ab" in history.gpus

    def test_a_gpu_long_gone_is_forgotten(self) -> None:
        history = History(keep_s=10, gap_s=100)
        history.add(sample(0, gpu(utilization=50.0)))
        for second in range(1, 20):
            history.add(sample(second))
        assert history.gpus == {}
        assert history.points(("GPU-0123456789ab", Metric.UTILIZATION), history.newest, 60) == ([], [])

    @given(st.lists(st.floats(min_value=0.1, max_value=40), min_size=1, max_size=60), st.floats(1, 50))
    def test_memory_is_bounded_and_every_point_is_inside_the_window(self, steps: list[float], span: float) -> None:
        history = History(keep_s=50, gap_s=5)
        at = 0.0
        for step in steps:
            at += step
            history.add(sample(at))
        times, values = history.points((HOST, Metric.UTILIZATION), history.newest, span)
        assert len(times) == len(values)
        assert times == sorted(times)
        assert times[-1] == 0
        assert all(moment >= -span - 1e-5 for moment in times[1:])
        assert len(history) <= 2 * (50 / 0.1 + 2)


finite_or_gap = st.one_of(st.floats(0, 100), st.just(math.nan))


class TestDecimation:
    @given(st.lists(finite_or_gap, min_size=1, max_size=900), st.integers(30, 300))
    def test_peaks_troughs_and_gaps_survive(self, values: list[float], limit: int) -> None:
        times = [1_700_000_000.0 + 0.25 * index for index in range(len(values))]
        span = max(1.0, times[-1] - times[0])
        kept_times, kept = decimate(times, values, limit, span)
        numbers = [value for value in values if not math.isnan(value)]
        kept_numbers = [value for value in kept if not math.isnan(value)]
        assert kept_times == sorted(kept_times)
        assert len(kept) <= limit + 6
        assert any(map(math.isnan, kept)) == any(map(math.isnan, values))
        if numbers:
            assert (min(kept_numbers), max(kept_numbers)) == (min(numbers), max(numbers))

    def test_few_points_stay_as_they_are(self) -> None:
        assert decimate([1, 2, 3], [4, 5, 6], 10, 3) == ([1, 2, 3], [4, 5, 6])

    def test_the_nearest_point_is_found(self) -> None:
        assert value_at([-3, -2, -1], [7, 8, 9], -1.9) == (-2, 8)
        assert math.isnan(value_at([], [], 0)[1])


class TestLogLines:
    @pytest.mark.parametrize(
        ("raw", "shown"),
        [
            ("\x1b[32mok\x1b[0m", "ok"),
            ("\x1b]0;title\x07after", "after"),
            ("10%\r20%", "10%20%"),
            ("tab\tstays", "tab\tstays"),
            ("\x1b", ""),
            ("Größe 5 µs", "Größe 5 µs"),
        ],
    )
    def test_terminal_escapes_are_removed(self, raw: str, shown: str) -> None:
        assert clean(raw) == shown

    @given(st.text())
    def test_nothing_that_a_terminal_would_obey_is_left(self, raw: str) -> None:
        assert "\x1b" not in clean(raw)

    def test_unknown_levels_count_as_info(self) -> None:
        assert to_row(line(1, level="verbose")).level is Level.INFO
        assert to_row(line(1, level="CRITICAL")).level is Level.ERROR

    def test_long_lines_are_shortened_for_the_table_only(self) -> None:
        row = to_row(line(1, "x" * 9000))
        assert len(row.text) == 9000
        assert len(shorten(row.text)) == 501

    def test_a_filter_needs_every_word_level_and_source(self) -> None:
        row = to_row(line(1, "CUDA out of memory", level="error"))
        assert LineFilter.of("memory cuda", Level.WARNING, "embedded").accepts(row)
        assert not LineFilter.of("memory rocm", Level.WARNING, "").accepts(row)
        assert not LineFilter.of("", Level.DEBUG, "ollama").accepts(row)
        assert not LineFilter.of("", Level.WARNING, "").accepts(to_row(line(2)))

    def test_lines_are_let_through_once(self) -> None:
        intake = Intake()
        assert len(intake.fresh([line(1), line(2)])) == 2
        assert [one.number for one in intake.fresh([line(2), line(3)])] == [3]

    def test_numbers_that_start_again_with_the_core_are_new_lines(self) -> None:
        intake = Intake()
        intake.fresh([line(500, second=10)])
        assert len(intake.fresh([line(1, second=20), line(2, second=20)])) == 2

    def test_histories_are_merged_by_time(self) -> None:
        both = merged([[line(1, second=5), line(2, second=7)], [line(1, source="quarterdeck", second=6)]])
        assert [one.source for one in both] == ["embedded", "quarterdeck", "embedded"]

    def test_counts(self) -> None:
        assert count_text(1, 1, filtered=False) == "1 line"
        assert count_text(12, 3400, filtered=True) == "12 of 3,400 lines match"
