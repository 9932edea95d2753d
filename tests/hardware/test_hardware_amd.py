"""AMD cards from made trees of /sys and /proc."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.hardware import reasons
from quarterdeck.hardware.amd import NO_KFD, Amd
from quarterdeck.hardware.drm import SEARCH_S, DrmClients, DrmUse, amount, parse
from quarterdeck.hardware.fingerprint import fingerprint
from quarterdeck.hardware.sampler import Sampler
from quarterdeck.schemas.hardware import GpuSample, GpuVendor

GIB = 1024**3
BUS = "0000:03:00.0"


def put(folder: Path, **files: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(f"{text}\n")


def card(root: Path, number: int = 0, bus: str = BUS, **files: object) -> Path:
    """A Radeon RX 7900 XTX with 24 GiB as the amdgpu driver shows it."""
    device = root / f"sys/class/drm/card{number}/device"
    values: dict[str, object] = {
        "vendor": "0x1002", "device": "0x744c", "revision": "0xc8", "gpu_busy_percent": 37,
        "uevent": f"DRIVER=amdgpu\nPCI_ID=1002:744C\nPCI_SLOT_NAME={bus}", "unique_id": f"a1b2{number}",
        "mem_info_vram_total": 24 * GIB, "mem_info_vram_used": 3 * GIB, "mem_info_gtt_total": 16 * GIB,
    }  # fmt: skip
    put(device, **(values | files))
    (device / "gpu_metrics").write_bytes(bytes([120, 0, 1, 3]))
    put(device / "hwmon/hwmon5", temp1_input=61_000, power1_average=212_300_000, power1_cap=315_000_000)
    put(root / "usr/share/libdrm", **{"amdgpu.ids": "# names\n744C,\tC8,\tAMD Radeon RX 7900 XTX\n15BF, C1, AMD 780M"})
    put(root / "dev", kfd="")
    return device


def open_device(root: Path, pid: int, vram_kib: int, *, fd: int = 5, bus: str = BUS, client: int = 42) -> None:
    """A process that has a graphics device open."""
    for folder in ("fd", "fdinfo"):
        (root / f"proc/{pid}/{folder}").mkdir(parents=True, exist_ok=True)
    (root / f"proc/{pid}/fd/{fd}").symlink_to("/dev/dri/renderD128")
    put(
        root / f"proc/{pid}/fdinfo",
        **{
            str(fd): f"pos:\t0\nflags:\t02\ndrm-driver:\tamdgpu\ndrm-pdev:\t{bus}\ndrm-client-id:\t{client}\n"
            f"drm-memory-vram:\t{vram_kib} KiB\ndrm-memory-gtt:\t12 KiB"
        },
    )


def test_a_card_with_all_its_values(tmp_path: Path) -> None:
    card(tmp_path)
    reading = Amd(tmp_path).read()
    (gpu,) = reading.gpus
    assert gpu.model_dump() == {
        "index": 0,
        "uuid": "amd-a1b20",
        "name": "AMD Radeon RX 7900 XTX",
        "vendor": GpuVendor.AMD,
        "bus_id": BUS,
        "utilization": 37.0,
        "memory_used": 3 * GIB,
        "memory_total": 24 * GIB,
        "temperature": 61.0,
        "power": 212.3,
        "power_limit": 315.0,
        "unavailable": {},
    }
    assert reading.listed
    assert list(reading.notes) == []


def test_no_cards(tmp_path: Path) -> None:
    reading = Amd(tmp_path).read()
    assert (reading.gpus, list(reading.held), reading.listed, list(reading.notes)) == ([], [], False, [])


def test_connectors_and_other_makers_are_no_amd_cards(tmp_path: Path) -> None:
    card(tmp_path, 10, "0000:43:00.0")
    card(tmp_path, 2)
    card(tmp_path, 0, vendor="0x10de")
    put(tmp_path / "sys/class/drm/card2-DP-1/device", vendor="0x1002")
    assert [gpu.bus_id for gpu in Amd(tmp_path).read().gpus] == [BUS, "0000:43:00.0"]


def test_newer_cards_name_the_power_differently(tmp_path: Path) -> None:
    sensors = card(tmp_path) / "hwmon/hwmon5"
    (sensors / "power1_average").unlink()
    put(sensors, power1_input=99_000_000)
    assert Amd(tmp_path).read().gpus[0].power == 99.0


@pytest.mark.parametrize(
    ("files", "name"),
    [
        ({"product_name": "Radeon PRO W7900"}, "AMD Radeon PRO W7900"),
        ({"product_name": "AMD Instinct MI300X"}, "AMD Instinct MI300X"),
        ({"product_name": "", "revision": "0xC8"}, "AMD Radeon RX 7900 XTX"),
        ({"device": "0xffff"}, "AMD GPU ffff"),
    ],
)
def test_names(tmp_path: Path, files: dict[str, object], name: str) -> None:
    card(tmp_path, **files)
    assert Amd(tmp_path).read().gpus[0].name == name


def test_values_that_the_driver_does_not_give(tmp_path: Path) -> None:
    device = card(tmp_path, gpu_busy_percent="", mem_info_vram_used="n/a")
    (device / "hwmon/hwmon5/temp1_input").unlink()
    gpu = Amd(tmp_path).read().gpus[0]
    assert (gpu.utilization, gpu.memory_used, gpu.temperature) == (None, None, None)
    assert set(gpu.unavailable) == {"utilization", "memory_used", "memory_total", "temperature"}
    assert gpu.power == 212.3


def test_a_sleeping_card_is_not_woken(tmp_path: Path) -> None:
    device = card(tmp_path)
    put(device / "power", runtime_status="suspended")
    open_device(tmp_path, 4242, 1024)
    reading = Amd(tmp_path).read()
    assert reading.gpus[0].utilization is None
    assert reading.gpus[0].unavailable["utilization"] == reasons.ASLEEP
    assert not reading.held
    assert not reading.listed


def test_a_processor_with_graphics_says_that_it_borrows_its_memory(tmp_path: Path) -> None:
    device = card(tmp_path, mem_info_vram_total=GIB // 2, mem_info_gtt_total=15 * GIB)
    (device / "gpu_metrics").write_bytes(bytes([120, 0, 2, 1]))
    gpu = Amd(tmp_path).read().gpus[0]
    assert gpu.memory_total is None and gpu.memory_used is None
    assert gpu.unavailable["memory_total"] == (
        "This graphics card uses the memory of the computer. "
        "0.5 GiB are set aside for it, and it may use 15.0 GiB more."
    )
    assert gpu.utilization == 37.0


def test_a_processor_with_graphics_that_was_given_most_of_the_memory(tmp_path: Path) -> None:
    device = card(tmp_path, mem_info_vram_total=96 * GIB, mem_info_gtt_total=16 * GIB)
    (device / "gpu_metrics").write_bytes(bytes([120, 0, 3, 0]))
    assert Amd(tmp_path).read().gpus[0].memory_total == 96 * GIB


def test_rocm_without_its_device(tmp_path: Path) -> None:
    card(tmp_path)
    (tmp_path / "dev/kfd").unlink()
    assert list(Amd(tmp_path).read().notes) == [NO_KFD]


def test_memory_of_each_process(tmp_path: Path) -> None:
    card(tmp_path)
    card(tmp_path, 1, "0000:43:00.0")
    open_device(tmp_path, 4242, 5 * 1024**2)
    open_device(tmp_path, 4242, 1024**2, fd=6, client=43)
    open_device(tmp_path, 4242, 1024**2, fd=7, client=43)
    open_device(tmp_path, 77, 2048, bus="0000:43:00.0")
    open_device(tmp_path, 78, 0)
    put(tmp_path / "proc/79", status="no open files here")
    (tmp_path / "proc/self").mkdir()
    held = [tuple(each) for each in Amd(tmp_path).read().held]
    assert sorted(held) == [(0, 4242, 6 * GIB), (1, 77, 2 * 1024**2)]


def test_processes_are_searched_now_and_then_and_known_ones_read_each_time(tmp_path: Path) -> None:
    now = 0.0
    clients = DrmClients(tmp_path, clock=lambda: now)
    open_device(tmp_path, 4242, 1024)
    assert clients.read([BUS]) == [DrmUse(BUS, 4242, 1024**2)]
    open_device(tmp_path, 77, 1024)
    (tmp_path / "proc/4242/fd/5").unlink()
    assert clients.read([BUS]) == []
    now += SEARCH_S
    assert clients.read([BUS]) == [DrmUse(BUS, 77, 1024**2)]


def test_hidden_processes_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card(tmp_path)
    open_device(tmp_path, 4242, 1024)
    iterdir = Path.iterdir

    def guarded(path: Path):  # type: ignore[no-untyped-def]
        if path.name == "fd":
            raise PermissionError(13, "not yours")
        return iterdir(path)

    monkeypatch.setattr(Path, "iterdir", guarded)
    reading = Amd(tmp_path).read()
    assert reading.gpus[0].unavailable == {"processes": reasons.OTHER_USERS}
    assert reading.listed


@pytest.mark.parametrize(
    ("text", "vram"),
    [
        ("drm-driver: amdgpu\ndrm-pdev: 0000:03:00.0\ndrm-memory-vram: 5 MiB", 5 * 1024**2),
        ("drm-driver: amdgpu\ndrm-pdev: 0000:03:00.0\ndrm-resident-vram: 7", 7),
        ("pdev:\t0000:03:00.0\npasid:\t32\nvram mem:\t12 kB\ngtt mem:\t1 kB", 12 * 1024),
        ("drm-driver: amdgpu\ndrm-pdev: 0000:03:00.0", None),
    ],
)
def test_what_kernels_of_all_ages_write(text: str, vram: int | None) -> None:
    client = parse(text)
    assert client is not None
    assert (client.bus_id, client.vram) == (BUS, vram)


@pytest.mark.parametrize("text", ["", "pos: 0", "drm-driver: i915\ndrm-pdev: 0000:00:02.0\ndrm-total-system0: 1 KiB"])
def test_what_is_no_amd_card(text: str) -> None:
    assert parse(text) is None


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    client = parse(text)
    assert client is None or client.vram is None or client.vram >= 0


@given(st.integers(0, 10**9), st.sampled_from([("", 1), ("KiB", 1024), ("MiB", 1024**2), ("kB", 1024)]))
def test_amounts(number: int, unit: tuple[str, int]) -> None:
    assert amount(f" {number} {unit[0]}".rstrip()) == number * unit[1]


@pytest.mark.parametrize("text", ["", "x KiB", "5 stone", "-3 KiB", "²"])
def test_no_amounts(text: str) -> None:
    assert amount(text) is None


class TestSampler:
    def sample(self, root: Path):  # type: ignore[no-untyped-def]
        sampler = Sampler(nvml_enabled=False, interval=3600.0, root=root)
        sampler.start()
        try:
            assert sampler.wait_ready(20)
            return sampler.latest()
        finally:
            sampler.stop()

    def test_amd_cards_are_in_the_sample_without_nvml(self, tmp_path: Path) -> None:
        card(tmp_path)
        open_device(tmp_path, 999_999_999, 1024)
        sample = self.sample(tmp_path)
        assert [(gpu.name, gpu.index) for gpu in sample.gpus] == [("AMD Radeon RX 7900 XTX", 0)]
        assert [(each.gpu, each.pid, each.memory_bytes) for each in sample.processes] == [(0, 999_999_999, 1024**2)]

    def test_the_fingerprint_names_them(self, tmp_path: Path) -> None:
        card(tmp_path)
        card(tmp_path, 1, "0000:43:00.0")
        assert fingerprint(self.sample(tmp_path)) == "2 × AMD Radeon RX 7900 XTX 24 GiB"

    def test_the_graphics_of_a_processor_count_only_alone(self, tmp_path: Path) -> None:
        device = card(tmp_path, mem_info_vram_total=GIB // 2)
        (device / "gpu_metrics").write_bytes(bytes([120, 0, 2, 1]))
        sample = self.sample(tmp_path)
        assert fingerprint(sample) == "AMD Radeon RX 7900 XTX"
        nvidia = GpuSample(index=0, uuid="GPU-a", name="NVIDIA GeForce RTX 4090", memory_total=24 * GIB)
        both = sample.model_copy(update={"gpus": [nvidia, *sample.gpus]})
        assert fingerprint(both) == "NVIDIA GeForce RTX 4090 24 GiB"

    def test_wsl_and_its_missing_device_are_said(self, tmp_path: Path) -> None:
        put(tmp_path / "proc", version="Linux version 5.15.153.1-microsoft-standard-WSL2")
        first, second = self.sample(tmp_path).surroundings
        assert "wsl --shutdown" in first
        assert "/dev/dxg" in second
        put(tmp_path / "dev", dxg="")
        assert self.sample(tmp_path).surroundings == [first]

    def test_a_container_is_said_where_there_is_a_gpu(self, tmp_path: Path) -> None:
        (tmp_path / "proc/self/ns").mkdir(parents=True)
        (tmp_path / "proc/self/ns/pid").symlink_to("pid:[4026532201]")
        assert self.sample(tmp_path).surroundings == []
        card(tmp_path)
        assert "container" in self.sample(tmp_path).surroundings[0]
