"""GPU memory per process by NVML's real ctypes path against the fake library."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hardware_process import Child, child_process
from nvml_library import FakeNvml

GIB = 1024**3
Read = Callable[..., dict[str, Any]]


@pytest.fixture
def read(child: Child, fake_nvml: FakeNvml, tmp_path: Path) -> Iterator[Read]:
    """Read with this script; a new connection at the first call of a test."""
    child.ask("open_gpus", str(tmp_path))

    def read_with(**lines: object) -> dict[str, Any]:
        fake_nvml.write({"gpus": 1, **{key.replace("__", "."): value for key, value in lines.items()}})
        answer: dict[str, Any] = child.ask("read")
        return answer

    yield read_with
    fake_nvml.write()
    child.ask("close_gpus")


@pytest.fixture
def sampling(fake_nvml: FakeNvml) -> Iterator[Child]:
    """A process of its own with a sampler that has two GPUs."""
    with child_process(fake_nvml.environment()) as child:
        child.ask("start_sampler", 3600.0, 3.0)
        assert child.ask("wait_ready", 20)
        yield child
        fake_nvml.write()
        child.ask("stop_sampler")


def test_each_process_with_its_memory(read: Read) -> None:
    answer = read(gpu__0__processes=f"4242:{5 * GIB}:C,77:{GIB}:G")
    assert answer["held"] == [[0, 4242, 5 * GIB], [0, 77, GIB]]
    assert answer["listed"]
    assert "processes" not in answer["gpus"][0]["unavailable"]


def test_many_processes(read: Read) -> None:
    answer = read(gpu__0__processes=",".join(f"{pid}:{pid * 1024}" for pid in range(100, 160)))
    assert answer["held"] == [[0, pid, pid * 1024] for pid in range(100, 160)]


def test_a_program_that_computes_and_draws_is_counted_once(read: Read) -> None:
    assert read(gpu__0__processes=f"4242:{GIB}:CG")["held"] == [[0, 4242, GIB]]


def test_the_same_program_on_two_gpus(read: Read) -> None:
    answer = read(gpus=2, gpu__0__processes=f"4242:{GIB}", gpu__1__processes=f"4242:{2 * GIB}")
    assert answer["held"] == [[0, 4242, GIB], [1, 4242, 2 * GIB]]


def test_no_process_at_all(read: Read) -> None:
    answer = read()
    assert answer["held"] == []
    assert answer["listed"]


def test_memory_that_the_driver_does_not_tell_is_not_zero(read: Read) -> None:
    answer = read(gpu__0__processes=f"4242:na:C,77:{GIB}:G")
    assert answer["held"] == [[0, 4242, None], [0, 77, GIB]]
    assert not answer["listed"]
    assert "how much memory each of them holds" in answer["gpus"][0]["unavailable"]["processes"]
    assert answer["gpus"][0]["memory_used"] is not None


@pytest.mark.parametrize(
    ("code", "reason"),
    [(3, "does not report it"), (4, "may not read it"), (13, "too old"), (999, "The NVIDIA driver answered")],
)
def test_a_refusal_says_why_and_spoils_nothing_else(read: Read, code: int, reason: str) -> None:
    refused = dict.fromkeys(
        ("fail__nvmlDeviceGetComputeRunningProcesses_v3", "fail__nvmlDeviceGetComputeRunningProcesses_v2"), code
    )
    answer = read(**refused, gpu__0__processes=f"4242:{GIB}:C")
    assert answer["held"] == []
    assert not answer["listed"]
    assert reason in answer["gpus"][0]["unavailable"]["processes"]
    assert answer["nvml"]["state"] == "ok"
    assert answer["gpus"][0]["memory_used"] is not None


def test_a_permission_that_comes_back_is_noticed(read: Read) -> None:
    read(fail__nvmlDeviceGetComputeRunningProcesses_v3=4, fail__nvmlDeviceGetComputeRunningProcesses_v2=4)
    assert read(gpu__0__processes=f"4242:{GIB}")["listed"]


def test_an_older_driver_is_asked_the_older_way(read: Read, fake_nvml: FakeNvml) -> None:
    answer = read(fail__nvmlDeviceGetComputeRunningProcesses_v3=13, gpu__0__processes=f"4242:{GIB}")
    assert answer["held"] == [[0, 4242, GIB]]
    fake_nvml.forget_calls()
    read(gpu__0__processes=f"4242:{GIB}")
    assert "nvmlDeviceGetComputeRunningProcesses_v3" not in fake_nvml.calls()


def test_graphics_lists_are_not_needed(read: Read) -> None:
    answer = read(
        fail__nvmlDeviceGetGraphicsRunningProcesses_v3=3,
        fail__nvmlDeviceGetGraphicsRunningProcesses_v2=3,
        gpu__0__processes=f"4242:{GIB}",
    )
    assert answer["held"] == [[0, 4242, GIB]]
    assert answer["listed"]


def test_a_divided_card_is_asked_by_its_instances(read: Read) -> None:
    answer = read(
        gpu__0__name="NVIDIA A100",
        gpu__0__mig=3,
        gpu__0__mig__0__memory_total=10 * GIB,
        gpu__0__mig__1__memory_total=10 * GIB,
        gpu__0__mig__2__memory_total=20 * GIB,
        gpu__0__mig__0__processes=f"4242:{GIB}",
        gpu__0__mig__2__processes=f"4242:{2 * GIB},77:{GIB}",
        fail__nvmlDeviceGetUtilizationRates=3,
    )
    assert answer["held"] == [[0, 4242, 3 * GIB], [0, 77, GIB]]
    assert answer["notes"] == [
        "NVIDIA A100 is divided into 3 MIG instances (2 × 10.0 GiB, 20.0 GiB). "
        "A program sees only the instance it was given."
    ]
    assert "MIG" in answer["gpus"][0]["unavailable"]["utilization"]
    assert answer["listed"]


def test_a_divided_card_without_instances(read: Read) -> None:
    answer = read(gpu__0__mig=0)
    assert answer["held"] == []
    assert "no instance" in answer["notes"][0]


def test_wsl_does_not_list_processes_and_is_not_asked(child: Child, fake_nvml: FakeNvml, tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/version").write_text("Linux version 5.15.153.1-microsoft-standard-WSL2")
    child.ask("open_gpus", str(tmp_path))
    answer = child.ask("read")
    assert not answer["listed"]
    assert "WSL" in answer["gpus"][0]["unavailable"]["processes"]
    assert answer["gpus"][0]["memory_used"] is not None
    assert not [call for call in fake_nvml.calls() if "RunningProcesses" in call]
    child.ask("close_gpus")


def test_a_lost_gpu_has_no_processes(read: Read) -> None:
    read(gpu__0__processes=f"4242:{GIB}")
    answer = read(fail__0=15, gpu__0__processes=f"4242:{GIB}")
    assert answer["held"] == []
    assert not answer["listed"]


def test_the_sample_says_who_holds_the_memory_and_for_which_model(sampling: Child, fake_nvml: FakeNvml) -> None:
    fake_nvml.write({"gpu.0.processes": f"self:{5 * GIB}", "gpu.1.processes": f"self:{GIB},999999999:{GIB}"})
    sampling.ask("own", os.getpid(), "qwen3-8b", "vllm")
    first, second, unknown = sampling.ask("sample_now", 20)["processes"]
    assert (first["gpu"], first["memory_bytes"], second["gpu"], second["memory_bytes"]) == (0, 5 * GIB, 1, GIB)
    assert first["name"] == "hardware_child" and "hardware_child.py" in first["command"]
    assert first["own_user"] and first["user"] and 0 <= first["age_s"] < 600
    # This process is the parent of the one that holds the memory.
    assert (first["model"], first["backend"], first["orphan"]) == ("qwen3-8b", "vllm", False)
    assert (unknown["name"], unknown["create_time"], unknown["model"]) == ("", None, None)
    assert sampling.ask("vram_of", "qwen3-8b") == 6 * GIB
    assert sampling.ask("vram_of", "another") == 0


def test_free_memory_is_that_of_all_gpus(sampling: Child, fake_nvml: FakeNvml) -> None:
    sizes = {"gpu.0.memory_total": 24 * GIB, "gpu.1.memory_total": 12 * GIB}
    fake_nvml.write({**sizes, "gpu.0.memory_used": 20 * GIB, "gpu.1.memory_used": 2 * GIB})
    assert sampling.ask("free_bytes") == 14 * GIB


def test_waiting_ends_when_the_driver_shows_the_memory_free(sampling: Child, fake_nvml: FakeNvml) -> None:
    holding = {"gpu.0.processes": f"self:{5 * GIB}", "gpu.0.memory_used": 6 * GIB}
    fake_nvml.write(holding)
    assert not sampling.ask("wait_released", [os.getpid()], 0.3)
    asked = threading.Event()
    answers: list[bool] = []

    def wait() -> None:
        asked.set()
        answers.append(sampling.ask("wait_released", [os.getpid()], 20))

    waiter = threading.Thread(target=wait)
    waiter.start()
    assert asked.wait(20)
    fake_nvml.write({"gpu.0.memory_used": GIB})
    waiter.join(30)
    assert answers == [True]
