"""The sampler: pace, watchdog, and that nothing waits for a driver that hangs."""

from __future__ import annotations

import ctypes
import logging
import threading
from collections.abc import Callable, Iterator

import pytest
from hardware_process import Child, child_process
from nvml_library import FakeNvml

from quarterdeck.hardware.sampler import Sampler
from quarterdeck.schemas.hardware import HardwareSample, NvmlState

HANGS = {"delay.nvmlDeviceGetUtilizationRates": 60_000}


class Receiver:
    """Collects samples and lets a test wait for a number of them."""

    def __init__(self) -> None:
        self.samples: list[HardwareSample] = []
        self.threads: set[str] = set()
        self._changed = threading.Condition()

    def __call__(self, sample: HardwareSample) -> None:
        with self._changed:
            self.samples.append(sample)
            self.threads.add(threading.current_thread().name)
            self._changed.notify_all()

    def wait_for(self, count: int) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: len(self.samples) >= count, 20)


@pytest.fixture
def make_sampler() -> Iterator[Callable[..., Sampler]]:
    made: list[Sampler] = []

    def make(*, nvml_enabled: bool = False, interval: float = 0.01) -> Sampler:
        made.append(Sampler(nvml_enabled=nvml_enabled, interval=interval))
        return made[-1]

    yield make
    for sampler in made:
        sampler.stop()


@pytest.fixture
def sampling_child(fake_nvml: FakeNvml) -> Iterator[Child]:
    """A process of its own for each test: a hung NVML thread cannot be taken back."""
    with child_process(fake_nvml.environment()) as child:
        yield child
        fake_nvml.write()


def test_disabled_by_the_setting(make_sampler: Callable[..., Sampler]) -> None:
    sampler = make_sampler(nvml_enabled=False)
    sampler.start()
    assert sampler.wait_ready(20)
    sample = sampler.latest()
    assert sample.nvml.state is NvmlState.DISABLED
    assert "switched off in the settings" in sample.nvml.reason
    assert sample.gpus == []
    assert sample.host.memory_total > sample.host.memory_used > 0


def test_the_first_sample_is_taken_although_nobody_watches(make_sampler: Callable[..., Sampler]) -> None:
    sampler, receiver = make_sampler(), Receiver()
    sampler.on_sample = receiver
    sampler.start()
    assert receiver.wait_for(1)
    assert sampler.wait_ready(20)
    assert len(sampler.history()) == 1


def test_active_samples_arrive_on_one_thread_and_stay_in_order(make_sampler: Callable[..., Sampler]) -> None:
    sampler, receiver = make_sampler(), Receiver()
    sampler.on_sample = receiver
    sampler.set_active(True)
    sampler.start()
    assert receiver.wait_for(5)
    sampler.stop()
    assert receiver.threads == {"quarterdeck-sampler"}
    times = [sample.at for sample in sampler.history()]
    assert times == sorted(times)
    assert sampler.history()[: len(receiver.samples)] == receiver.samples


def test_inactive_takes_no_samples_but_answers(make_sampler: Callable[..., Sampler]) -> None:
    sampler, receiver = make_sampler(), Receiver()
    sampler.on_sample = receiver
    sampler.set_active(True)
    sampler.start()
    assert receiver.wait_for(3)
    sampler.set_active(False)
    sampler.sample_now(20)  # the thread has passed the change when this one is there
    count = len(sampler.history())
    assert sampler.latest().at > sampler.history()[-1].at
    assert len(sampler.history()) == count


def test_sample_now_measures_once_although_nobody_watches(make_sampler: Callable[..., Sampler]) -> None:
    sampler = make_sampler()
    sampler.start()
    assert sampler.wait_ready(20)
    sampler.sample_now(20)
    assert len(sampler.history()) == 2


def test_a_new_interval_counts_at_once(make_sampler: Callable[..., Sampler]) -> None:
    sampler, receiver = make_sampler(interval=3600.0), Receiver()
    sampler.on_sample = receiver
    sampler.set_active(True)
    sampler.start()
    assert receiver.wait_for(1)
    sampler.set_interval(0.01)
    assert receiver.wait_for(4)


def test_an_error_of_the_receiver_is_logged_and_sampling_goes_on(
    make_sampler: Callable[..., Sampler], caplog: pytest.LogCaptureFixture
) -> None:
    sampler, receiver = make_sampler(), Receiver()

    def broken(sample: HardwareSample) -> None:
        receiver(sample)
        raise ValueError("a defect")

    sampler.on_sample = broken
    sampler.set_active(True)
    with caplog.at_level(logging.ERROR):
        sampler.start()
        assert receiver.wait_for(3)
    assert "a receiver of hardware samples failed" in caplog.text


def test_the_receiver_may_stop_the_sampler(make_sampler: Callable[..., Sampler]) -> None:
    sampler, receiver = make_sampler(), Receiver()

    def stop_at_once(sample: HardwareSample) -> None:
        sampler.stop()
        receiver(sample)

    sampler.on_sample = stop_at_once
    sampler.set_active(True)
    sampler.start()
    assert receiver.wait_for(1)


def test_answers_before_the_start_and_stops_twice(make_sampler: Callable[..., Sampler]) -> None:
    sampler = make_sampler(nvml_enabled=True)
    assert sampler.latest().nvml.state is NvmlState.STARTING
    assert not sampler.wait_ready(0)
    sampler.stop()
    sampler.stop()


def test_two_gpus_and_their_fingerprint(sampling_child: Child) -> None:
    sampling_child.ask("start_sampler", 0.02, 3.0)
    assert sampling_child.ask("wait_ready", 20)
    sample = sampling_child.ask("latest")
    assert sample["nvml"]["state"] == "ok"
    assert [gpu["utilization"] for gpu in sample["gpus"]] == [50.0, 50.0]
    assert sampling_child.ask("fingerprint") == (
        "NVIDIA GeForce RTX 3060 12 GiB + NVIDIA GeForce RTX 4090 24 GiB · driver 570.86.15"
    )
    sampling_child.ask("stop_sampler")


def test_nvml_is_given_back_at_the_end(sampling_child: Child, fake_nvml: FakeNvml) -> None:
    sampling_child.ask("start_sampler", 0.02, 3.0)
    assert sampling_child.ask("wait_ready", 20)
    sampling_child.ask("stop_sampler")
    assert fake_nvml.calls()[-1] == "nvmlShutdown"


def test_a_hung_call_blocks_nothing_and_is_reported(sampling_child: Child, fake_nvml: FakeNvml) -> None:
    sampling_child.ask("start_sampler", 0.02, 0.2)
    sampling_child.ask("set_active", True)
    assert sampling_child.ask("wait_ready", 20)
    fake_nvml.write(HANGS)
    sampling_child.until("received_states", lambda states: states[-1] == "not_responding")
    sample = sampling_child.ask("latest")
    assert sample["nvml"]["state"] == "not_responding"
    assert sample["nvml"]["reason"] and sample["nvml"]["hint"]
    assert sample["nvml"]["driver_version"] == "570.86.15"
    assert sample["host"]["memory_total"] > 0
    gpu = sample["gpus"][0]
    assert gpu["name"] == "NVIDIA GeForce RTX 4090" and gpu["memory_total"] is not None
    assert gpu["utilization"] is None and "does not answer" in gpu["unavailable"]["utilization"]
    fake_nvml.write()
    sampling_child.until("received_states", lambda states: states[-1] == "ok")
    sampling_child.ask("stop_sampler")


def test_a_hung_start_leaves_the_process_free_to_end(sampling_child: Child, fake_nvml: FakeNvml) -> None:
    fake_nvml.write({"delay.nvmlInitWithFlags": 60_000})
    sampling_child.ask("start_sampler", 0.02, 0.2)
    assert not sampling_child.ask("wait_ready", 0)
    sampling_child.until("latest", lambda sample: sample["nvml"]["state"] == "not_responding")
    sampling_child.ask("stop_sampler")


def test_a_late_first_answer_is_published_although_nobody_watches(sampling_child: Child, fake_nvml: FakeNvml) -> None:
    fake_nvml.write({"delay.nvmlInitWithFlags": 60_000})
    sampling_child.ask("start_sampler", 0.02, 30.0)
    sampling_child.until("received_states", lambda states: states == ["starting"])
    fake_nvml.write()
    assert sampling_child.ask("wait_ready", 20)
    sampling_child.until("received_states", lambda states: states == ["starting", "ok"])
    sampling_child.ask("stop_sampler")


def test_sample_now_does_not_wait_for_a_hung_driver(sampling_child: Child, fake_nvml: FakeNvml) -> None:
    sampling_child.ask("start_sampler", 0.02, 3.0)
    assert sampling_child.ask("wait_ready", 20)
    fake_nvml.write(HANGS)
    assert sampling_child.ask("sample_now", 0.05)["host"]["cpu_count"] >= 1
    sampling_child.ask("stop_sampler")


def test_the_real_library_if_there_is_one(make_sampler: Callable[..., Sampler]) -> None:
    try:
        ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        pytest.skip("no NVIDIA driver here: the fake library is tested, the real libnvidia-ml.so.1 is not")
    sampler = make_sampler(nvml_enabled=True)
    sampler.start()
    assert sampler.wait_ready(60)
    sample = sampler.latest()
    assert sample.nvml.state is NvmlState.OK or sample.nvml.reason
    for gpu in sample.gpus:
        assert gpu.name and gpu.uuid
        for field in ("utilization", "memory_used", "memory_total", "temperature", "power"):
            assert getattr(gpu, field) is not None or gpu.unavailable[field]
