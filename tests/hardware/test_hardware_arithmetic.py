"""Units, back-off, host figures, addresses and the fingerprint."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.hardware import reasons
from quarterdeck.hardware.backoff import LONGEST_WAIT, Backoff, wait_after
from quarterdeck.hardware.fingerprint import fingerprint, named_processor
from quarterdeck.hardware.host import HostMeter, busy_percent, cpu_seconds
from quarterdeck.hardware.surroundings import Surroundings, sysfs_address
from quarterdeck.hardware.units import MOVING_VALUES, celsius, memory, percent, watts, without_values
from quarterdeck.schemas.hardware import GpuSample, HardwareSample, HostSample, NvmlState, NvmlStatus

GIB = 1024**3
UINT32 = st.integers(0, 2**32 - 1)
UINT64 = st.integers(0, 2**64 - 1)


@given(UINT32)
def test_percent_is_a_percentage_or_nothing(value: int) -> None:
    assert percent(value) == (value if value <= 100 else None)


@given(UINT32)
def test_watts_are_milliwatts_over_a_thousand_or_nothing(value: int) -> None:
    result = watts(value)
    assert result is None if value > 20_000_000 else result == pytest.approx(value / 1000, abs=0.051)


@given(st.integers(-(2**31), 2**31 - 1))
def test_celsius_is_a_temperature_or_nothing(value: int) -> None:
    assert celsius(value) == (value if -60 <= value <= 200 else None)


@given(UINT64, UINT64)
def test_memory_never_uses_more_than_there_is(used: int, total: int) -> None:
    shown_used, shown_total = memory(used, total)
    assert shown_total == (total or None)
    assert shown_used is None or (shown_total is not None and 0 <= shown_used <= shown_total)


@given(st.integers(0, 10**9))
def test_the_wait_grows_to_a_minute_and_stays_there(failures: int) -> None:
    assert 2 <= wait_after(failures) <= wait_after(failures + 1) <= LONGEST_WAIT


def test_backoff_is_due_at_once_and_then_after_its_wait() -> None:
    now = [100.0]
    backoff = Backoff(lambda: now[0])
    assert backoff.due()
    for wait in (2, 4, 8, 16, 32, 60, 60):
        backoff.failed()
        now[0] += wait - 0.1
        assert not backoff.due()
        now[0] += 0.1
        assert backoff.due()
    backoff.reset()
    backoff.failed()
    now[0] += 2
    assert backoff.due()


SECONDS = st.floats(0, 1e9)
READINGS = st.tuples(SECONDS, SECONDS)


@given(READINGS, READINGS)
def test_busy_percent_stays_a_percentage(before: tuple[float, float], after: tuple[float, float]) -> None:
    assert 0.0 <= busy_percent(before, after) <= 100.0


@given(st.floats(0, 1000), st.floats(0.1, 1000))
def test_busy_percent_is_the_busy_share(busy: float, idle: float) -> None:
    assert busy_percent((5.0, 50.0), (5.0 + busy, 50.0 + busy + idle)) == pytest.approx(
        100 * busy / (busy + idle), abs=0.1
    )


class LinuxTimes(NamedTuple):
    user: float
    system: float
    idle: float
    iowait: float
    guest: float


def test_guest_time_counts_once_and_waiting_is_not_busy() -> None:
    assert cpu_seconds(LinuxTimes(user=30, system=10, idle=50, iowait=10, guest=20)) == (40, 100)


def test_the_host_is_measured() -> None:
    sample = HostMeter().sample()
    assert 0 <= sample.cpu_percent <= 100
    assert sample.cpu_count == psutil.cpu_count()
    assert 0 < sample.memory_used < sample.memory_total == psutil.virtual_memory().total


@given(st.integers(0, 0xFFFFFFFF), st.integers(0, 0xFF), st.integers(0, 0x1F))
def test_a_bus_id_keeps_its_numbers(domain: int, bus: int, device: int) -> None:
    address = sysfs_address(f"{domain:08X}:{bus:02X}:{device:02X}.0")
    assert [int(part, 16) for part in address.removesuffix(".0").split(":")] == [domain, bus, device]
    assert address == address.lower()
    assert len(address) == (12 if domain <= 0xFFFF else 16)


@pytest.mark.parametrize(
    ("nvml", "sysfs"),
    [
        ("00000000:0A:00.0", "0000:0a:00.0"),
        ("00010000:01:00.0", "00010000:01:00.0"),
        ("0000:01:00.0", "0000:01:00.0"),
        ("", ""),
    ],
)
def test_bus_ids_as_sysfs_writes_them(nvml: str, sysfs: str) -> None:
    assert sysfs_address(nvml) == sysfs


def test_values_are_taken_out_and_earlier_reasons_kept() -> None:
    gpu = GpuSample(
        index=0, uuid="u", name="n", utilization=1, memory_used=2, memory_total=3, unavailable={"power": "earlier"}
    )
    empty = without_values(gpu, "now")
    assert all(getattr(empty, name) is None for name in MOVING_VALUES)
    assert empty.memory_total == 3
    assert empty.unavailable["power"] == "earlier"
    assert empty.unavailable["utilization"] == "now"
    assert "memory_total" not in empty.unavailable


def sample_of(*gpus: tuple[str, int | None], driver: str | None = "570.1", ram: int = 32 * GIB) -> HardwareSample:
    return HardwareSample(
        at=datetime.now(UTC),
        nvml=NvmlStatus(state=NvmlState.OK, driver_version=driver),
        host=HostSample(cpu_percent=1, cpu_count=8, memory_used=1, memory_total=ram),
        gpus=[
            GpuSample(index=index, uuid=str(index), name=name, memory_total=total)
            for index, (name, total) in enumerate(gpus)
        ],
    )


def test_fingerprint_of_gpus() -> None:
    card = ("NVIDIA GeForce RTX 4090", 25_757_220_864)
    assert fingerprint(sample_of(card)) == "NVIDIA GeForce RTX 4090 24 GiB · driver 570.1"
    assert fingerprint(sample_of(card, card)) == "2 × NVIDIA GeForce RTX 4090 24 GiB · driver 570.1"
    assert fingerprint(sample_of(("NVIDIA GB10", None), driver=None)) == "NVIDIA GB10"


@given(st.permutations([("A", 8 * GIB), ("B", 12 * GIB), ("A", 8 * GIB)]))
def test_fingerprint_does_not_depend_on_the_order_of_the_gpus(gpus: list[tuple[str, int]]) -> None:
    assert fingerprint(sample_of(*gpus)) == "2 × A 8 GiB + B 12 GiB · driver 570.1"


@given(st.integers(int(31.6 * GIB), int(32.4 * GIB)))
def test_fingerprint_of_a_machine_without_gpu_ignores_what_the_kernel_keeps(ram: int) -> None:
    text = fingerprint(sample_of(ram=ram))
    assert text == fingerprint(sample_of())
    assert text.endswith(" · 8 cores · 32 GiB")


def test_the_processor_is_named() -> None:
    assert named_processor("processor : 0\nmodel name\t: AMD Ryzen 9   7950X\n") == "AMD Ryzen 9 7950X"
    assert named_processor("processor : 0\nFeatures : fp\nModel\t\t: Raspberry Pi 5\n") == "Raspberry Pi 5"
    assert named_processor("") == ""


@given(st.text())
def test_any_cpuinfo_is_read(text: str) -> None:
    assert named_processor(text) == named_processor(text).strip()


def card_in(root: Path, address: str, status: str = "active", vendor: str = "0x10de", kind: str = "0x030000") -> None:
    power = root / "sys/bus/pci/devices" / address / "power"
    power.mkdir(parents=True)
    (power.parent / "vendor").write_text(vendor)
    (power.parent / "class").write_text(kind)
    (power / "runtime_status").write_text(status)


def test_only_nvidia_display_devices_count(tmp_path: Path) -> None:
    assert Surroundings(tmp_path).cards() is None
    card_in(tmp_path, "0000:01:00.0", "suspended")
    card_in(tmp_path, "0000:01:00.1", kind="0x040300")
    card_in(tmp_path, "0000:00:02.0", vendor="0x8086")
    surroundings = Surroundings(tmp_path)
    assert surroundings.cards() == ["0000:01:00.0"]
    assert surroundings.all_asleep()
    card_in(tmp_path, "0000:02:00.0")
    assert not surroundings.all_asleep()


def test_a_card_without_driver_is_told_from_no_card(tmp_path: Path) -> None:
    (tmp_path / "sys/bus/pci/devices").mkdir(parents=True)
    without = reasons.explain(NvmlState.LIBRARY_NOT_FOUND, Surroundings(tmp_path))
    assert without.reason.startswith("No NVIDIA graphics card was found")
    card_in(tmp_path, "0000:01:00.0")
    with_card = reasons.explain(NvmlState.LIBRARY_NOT_FOUND, Surroundings(tmp_path))
    assert "has an NVIDIA graphics card, but its driver is not installed" in with_card.reason


def test_a_library_that_wsl_does_not_find(tmp_path: Path) -> None:
    folder = tmp_path / "usr/lib/wsl/lib"
    folder.mkdir(parents=True)
    assert "visible in WSL" in reasons.explain(NvmlState.LIBRARY_NOT_FOUND, Surroundings(tmp_path)).reason
    (folder / "libnvidia-ml.so.1").write_text("")
    assert "ldconfig" in reasons.explain(NvmlState.LIBRARY_NOT_FOUND, Surroundings(tmp_path)).hint


@pytest.mark.parametrize("state", [state for state in NvmlState if state is not NvmlState.OK])
@pytest.mark.parametrize("wsl", [False, True])
def test_every_state_has_a_sentence_and_most_a_hint(state: NvmlState, wsl: bool, tmp_path: Path) -> None:
    if wsl:
        (tmp_path / "usr/lib/wsl/lib").mkdir(parents=True)
    status = reasons.explain(state, Surroundings(tmp_path))
    assert status.reason.endswith(".")
    assert status.hint.endswith(".") or state is NvmlState.STARTING
