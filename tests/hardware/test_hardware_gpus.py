"""NVML by its real ctypes path against the fake library: values, faults, reasons and recovery."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hardware_process import Child, child_process
from nvml_library import FakeNvml, fake_environment

GIB = 1024**3
STILL: dict[str, object] = {
    "gpus": 2,
    "driver": "575.1",
    "gpu.0.name": "NVIDIA GeForce RTX 4090",
    "gpu.0.uuid": "GPU-a",
    "gpu.0.bus_id": "00000000:0A:00.0",
    "gpu.0.memory_total": 24 * GIB,
    "gpu.0.memory_used": 3 * GIB,
    "gpu.0.utilization": 37,
    "gpu.0.temperature": 61,
    "gpu.0.power": 212_300,
    "gpu.0.power_limit": 450_000,
}
MOVING = ("utilization", "memory_used", "temperature", "power")

Read = Callable[..., dict[str, Any]]


@pytest.fixture
def read(child: Child, fake_nvml: FakeNvml, tmp_path: Path) -> Iterator[Read]:
    """Read with this script; a new connection at the first call of a test."""
    child.ask("open_gpus", str(tmp_path))

    def read_with(**more: object) -> dict[str, Any]:
        fake_nvml.write({**STILL, **{key.replace("__", "."): value for key, value in more.items()}})
        answer: dict[str, Any] = child.ask("read")
        return answer

    yield read_with
    fake_nvml.write()
    child.ask("close_gpus")


def test_two_healthy_gpus(read: Read) -> None:
    answer = read()
    assert answer["nvml"] == {"state": "ok", "reason": "", "hint": "", "driver_version": "575.1"}
    assert answer["gpus"][0] == {
        "index": 0,
        "uuid": "GPU-a",
        "name": "NVIDIA GeForce RTX 4090",
        "vendor": "nvidia",
        "bus_id": "0000:0a:00.0",
        "utilization": 37.0,
        "memory_used": 3 * GIB,
        "memory_total": 24 * GIB,
        "temperature": 61.0,
        "power": 212.3,
        "power_limit": 450.0,
        "unavailable": {},
    }
    assert answer["gpus"][1]["name"] == "NVIDIA GeForce RTX 3060"
    assert answer["gpus"][1]["memory_total"] == 12 * GIB


def test_values_follow_the_script(read: Read) -> None:
    assert read()["gpus"][0]["utilization"] == 37.0
    assert read(gpu__0__utilization=81)["gpus"][0]["utilization"] == 81.0


def test_waves_move(child: Child, read: Read) -> None:
    read(wave=0.5)
    first = child.ask("read")["gpus"][0]["memory_used"]
    child.until("read", lambda answer: answer["gpus"][0]["memory_used"] != first)


@pytest.mark.parametrize(
    ("code", "state", "reason", "hint"),
    [
        (9, "driver_not_loaded", "installed but not running", "Restart the computer."),
        (18, "version_mismatch", "updated", "Restart the computer."),
        (4, "no_permission", "may not read", "log in again"),
        (6, "no_gpu", "finds no graphics card", "powered"),
        (15, "gpu_lost", "stopped answering", "keeps trying"),
        (12, "library_not_found", "No NVIDIA graphics card", "install the NVIDIA driver"),
        (999, "failed", "Unknown Error", "update the driver"),
        (4242, "failed", "The NVIDIA driver answered", "update the driver"),
    ],
)
def test_init_errors_say_what_is_wrong_and_what_to_do(
    read: Read, code: int, state: str, reason: str, hint: str
) -> None:
    answer = read(fail__nvmlInitWithFlags=code)
    assert answer["gpus"] == []
    assert answer["nvml"]["state"] == state
    assert reason in answer["nvml"]["reason"]
    assert hint in answer["nvml"]["hint"]


def test_no_gpu_in_the_computer(read: Read) -> None:
    answer = read(gpus=0)
    assert answer["nvml"]["state"] == "no_gpu"
    assert answer["gpus"] == []


def test_an_error_after_init_is_no_crash(read: Read) -> None:
    assert read(fail__nvmlDeviceGetCount_v2=999)["nvml"]["state"] == "failed"


def test_a_failed_init_is_tried_again_after_a_wait(child: Child, fake_nvml: FakeNvml, read: Read) -> None:
    read(fail__nvmlInitWithFlags=9)
    fake_nvml.forget_calls()
    assert read()["nvml"]["state"] == "driver_not_loaded"
    assert fake_nvml.calls() == []
    child.ask("advance", 2)
    assert read()["nvml"]["state"] == "ok"


@pytest.mark.parametrize(
    ("function", "field"),
    [
        ("nvmlDeviceGetUtilizationRates", "utilization"),
        ("nvmlDeviceGetPowerUsage", "power"),
    ],
)
def test_what_a_gpu_does_not_support_is_null_with_a_reason(read: Read, function: str, field: str) -> None:
    gpus = read(**{f"fail__0__{function}": 3})["gpus"]
    assert gpus[0][field] is None
    assert gpus[0]["unavailable"] == {field: "This graphics card does not report it."}
    assert gpus[1][field] is not None
    assert gpus[1]["unavailable"] == {}


def test_an_unsupported_function_is_asked_once_per_gpu(child: Child, fake_nvml: FakeNvml, read: Read) -> None:
    read(fail__0__nvmlDeviceGetPowerUsage=3)
    fake_nvml.forget_calls()
    answer = child.ask("read")
    assert answer["gpus"][0]["unavailable"] == {"power": "This graphics card does not report it."}
    assert fake_nvml.calls().count("nvmlDeviceGetPowerUsage") == 1


def test_a_passing_error_is_asked_again(read: Read) -> None:
    answer = read(fail__0__nvmlDeviceGetPowerUsage=4)
    assert answer["gpus"][0]["unavailable"] == {"power": "This user may not read it."}
    assert read()["gpus"][0]["power"] == 212.3


@pytest.mark.parametrize(
    ("newer", "older", "field"),
    [
        ("nvmlDeviceGetMemoryInfo_v2", "nvmlDeviceGetMemoryInfo", "memory_used"),
        ("nvmlDeviceGetTemperatureV", "nvmlDeviceGetTemperature", "temperature"),
        ("nvmlDeviceGetEnforcedPowerLimit", "nvmlDeviceGetPowerManagementLimit", "power_limit"),
    ],
)
def test_an_older_driver_is_asked_the_older_way(
    child: Child, fake_nvml: FakeNvml, read: Read, newer: str, older: str, field: str
) -> None:
    assert older not in (read() and fake_nvml.calls())
    for code in (13, 25, 3):
        child.ask("close_gpus")
        child.ask("open_gpus", "/nonexistent")
        answer = read(**{f"fail__{newer}": code})
        assert answer["gpus"][0][field] is not None
        fake_nvml.forget_calls()
        child.ask("read")
        assert newer not in fake_nvml.calls()
        assert older in fake_nvml.calls()


def test_neither_way_works(read: Read) -> None:
    gpu = read(fail__nvmlDeviceGetMemoryInfo_v2=13, fail__nvmlDeviceGetMemoryInfo=3)["gpus"][0]
    assert gpu["memory_used"] is None and gpu["memory_total"] is None
    assert set(gpu["unavailable"]) == {"memory_used", "memory_total"}


def test_a_gpu_without_memory_of_its_own(read: Read) -> None:
    gpu = read(gpu__0__memory_total=0, gpu__0__memory_used=0)["gpus"][0]
    assert gpu["memory_total"] is None
    assert "memory of the computer" in gpu["unavailable"]["memory_total"]


def test_values_that_cannot_be_right_are_not_shown(read: Read) -> None:
    gpu = read(gpu__0__power=4_294_967_295, gpu__0__utilization=4_000)["gpus"][0]
    assert gpu["power"] is None and gpu["utilization"] is None
    assert set(gpu["unavailable"]) == {"power", "utilization"}


def test_a_name_that_is_no_text(read: Read, fake_nvml: FakeNvml, child: Child) -> None:
    fake_nvml.script.write_bytes(b"gpus=1\ngpu.0.name=\xff\xfe\n")
    assert child.ask("read")["gpus"][0]["name"] == "NVIDIA GPU 0"


@pytest.mark.parametrize(("code", "word"), [(15, "stopped answering"), (16, "needs a reset")])
def test_a_lost_gpu_keeps_its_name_and_comes_back(child: Child, read: Read, code: int, word: str) -> None:
    read()
    answer = read(fail__0=code)
    assert answer["nvml"]["state"] == "gpu_lost"
    assert "NVIDIA GeForce RTX 4090" in answer["nvml"]["reason"]
    assert word in answer["nvml"]["reason"]
    lost, other = answer["gpus"]
    assert (lost["name"], lost["memory_total"]) == ("NVIDIA GeForce RTX 4090", 24 * GIB)
    assert all(lost[field] is None and lost["unavailable"][field] for field in MOVING)
    assert other["utilization"] is not None
    child.ask("advance", 2)
    assert read(fail__0=code)["nvml"]["state"] == "gpu_lost"
    assert read()["nvml"]["state"] == "gpu_lost"
    child.ask("advance", 60)
    recovered = read()
    assert recovered["nvml"]["state"] == "ok"
    assert recovered["gpus"][0]["utilization"] == 37.0


def test_all_gpus_lost_at_the_next_init(child: Child, read: Read) -> None:
    read()
    read(fail__0=15)
    child.ask("advance", 2)
    answer = read(fail__nvmlInitWithFlags=15)
    assert answer["nvml"]["state"] == "gpu_lost"
    assert answer["nvml"]["driver_version"] == "575.1"
    assert [gpu["name"] for gpu in answer["gpus"]] == ["NVIDIA GeForce RTX 4090", "NVIDIA GeForce RTX 3060"]
    assert all(gpu["utilization"] is None for gpu in answer["gpus"])
    child.ask("advance", 60)
    assert read()["nvml"]["state"] == "ok"


def test_one_gpu_that_may_not_be_opened(read: Read) -> None:
    answer = read(fail__1__nvmlDeviceGetHandleByIndex_v2=4)
    assert answer["nvml"]["state"] == "no_permission"
    assert answer["gpus"][0]["utilization"] == 37.0
    assert answer["gpus"][1]["unavailable"]["power"] == "This user may not read it."


def test_a_driver_update_under_a_running_program(child: Child, read: Read) -> None:
    read()
    answer = read(fail__nvmlDeviceGetUtilizationRates=18)
    assert answer["nvml"]["state"] == "version_mismatch"
    assert answer["gpus"] == []
    child.ask("advance", 2)
    assert read()["nvml"]["state"] == "ok"


def test_a_sleeping_card_is_not_woken(child: Child, fake_nvml: FakeNvml, tmp_path: Path) -> None:
    device = tmp_path / "sys/bus/pci/devices/0000:01:00.0"
    (device / "power").mkdir(parents=True)
    (device / "vendor").write_text("0x10de\n")
    (device / "class").write_text("0x030000\n")
    (device / "power/runtime_status").write_text("suspended\n")
    child.ask("open_gpus", str(tmp_path))
    answer = child.ask("read")
    assert "asleep" in answer["nvml"]["reason"]
    assert fake_nvml.calls() == []
    (device / "power/runtime_status").write_text("active\n")
    assert child.ask("read")["gpus"][0]["utilization"] is not None
    (device / "power/runtime_status").write_text("suspended\n")
    fake_nvml.forget_calls()
    asleep, other = child.ask("read")["gpus"]
    assert asleep["utilization"] is None and "asleep" in asleep["unavailable"]["utilization"]
    assert asleep["memory_total"] is not None
    assert other["utilization"] is not None
    assert fake_nvml.calls().count("nvmlDeviceGetUtilizationRates") == 1
    child.ask("close_gpus")


def test_wsl_says_what_helps_there(child: Child, fake_nvml: FakeNvml, tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/version").write_text("Linux version 5.15.153.1-microsoft-standard-WSL2")
    for code, state in ((18, "version_mismatch"), (9, "driver_not_loaded"), (12, "library_not_found")):
        fake_nvml.write({"fail.nvmlInitWithFlags": code})
        child.ask("open_gpus", str(tmp_path))
        answer = child.ask("read")
        assert answer["nvml"]["state"] == state
        assert "wsl --shutdown" in answer["nvml"]["hint"]


def test_no_library(fake_nvml_library: Path, tmp_path: Path) -> None:
    (tmp_path / "libnvidia-ml.so.1").write_text("this is no library")
    environment = fake_environment(tmp_path / "libnvidia-ml.so.1")
    with child_process(environment) as child:
        child.ask("open_gpus", str(tmp_path))
        assert child.ask("read")["nvml"]["state"] == "library_not_found"


def test_without_a_script_two_gpus_move(fake_nvml_library: Path, tmp_path: Path) -> None:
    with child_process(fake_environment(fake_nvml_library)) as child:
        child.ask("open_gpus", str(tmp_path))
        first = child.ask("read")["gpus"]
        assert len(first) == 2
        child.until("read", lambda answer: answer["gpus"][0]["memory_used"] != first[0]["memory_used"])
