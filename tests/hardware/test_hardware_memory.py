"""Waiting until GPU memory is really free, on a sampler that follows a script."""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple, cast

import pytest

from quarterdeck.hardware.memory import STILL_ROUNDS, MemoryWatch
from quarterdeck.hardware.processes import Held, ProcessBook
from quarterdeck.hardware.sampler import Sampler
from quarterdeck.schemas.hardware import GpuSample, HardwareSample, HostSample, NvmlState, NvmlStatus

GIB = 1024**3
TOTAL = 24 * GIB
ME = os.getpid()


class Moment(NamedTuple):
    """What one measurement finds."""

    used: int | None = 0
    holders: tuple[int, ...] = ()
    listed: bool = True
    answered: bool = True


class Script:
    """A sampler whose measurements are given; the last one repeats."""

    def __init__(self, moments: Iterable[Moment]) -> None:
        self.book = ProcessBook()
        self.measured = 0
        self._moments = list(moments)
        self._answered = 0.0

    def sample_now(self, timeout: float) -> HardwareSample:
        moment = self._moments[min(self.measured, len(self._moments) - 1)]
        self.measured += 1
        self._answered += moment.answered
        held = [Held(0, pid, GIB if moment.listed else None) for pid in moment.holders]
        processes = self.book.describe(held, readable=moment.listed, at=self._answered)
        gpu = GpuSample(index=0, uuid="a", name="Test", memory_used=moment.used, memory_total=TOTAL)
        if moment.used is None:
            gpu = gpu.model_copy(update={"memory_total": None})
        return HardwareSample(
            at=datetime.now(UTC),
            nvml=NvmlStatus(state=NvmlState.OK),
            host=HostSample(cpu_percent=0, cpu_count=1, memory_used=1, memory_total=2),
            gpus=[gpu],
            processes=processes,
        )


def watch(*moments: Moment) -> tuple[MemoryWatch, Script]:
    script = Script(moments)
    return MemoryWatch(cast(Sampler, cast(Any, script))), script


async def test_free_memory_and_holders() -> None:
    memory, _ = watch(Moment(5 * GIB, (ME,)))
    assert await memory.free_bytes() == 19 * GIB
    assert await memory.free_by_gpu() == {"a": 19 * GIB}
    (holder,) = await memory.holders()
    assert (holder.pid, holder.memory_bytes) == (ME, GIB)


async def test_memory_that_cannot_be_read() -> None:
    memory, _ = watch(Moment(None))
    assert await memory.free_bytes() is None
    assert await memory.free_by_gpu() == {}


async def test_without_a_readable_gpu_nothing_is_waited_for() -> None:
    memory, script = watch(Moment(None))
    assert await memory.wait_released([ME], timeout=0.0)
    assert script.measured == 1


async def test_it_waits_until_the_process_is_gone_and_the_memory_stands_still() -> None:
    memory, script = watch(
        Moment(20 * GIB, (ME,)), Moment(20 * GIB, (ME,)), Moment(20 * GIB), Moment(12 * GIB), Moment(4 * GIB)
    )
    assert await memory.wait_released([ME], timeout=20.0)
    assert script.measured == 5 + STILL_ROUNDS


async def test_a_process_that_keeps_its_memory_is_said() -> None:
    memory, script = watch(Moment(20 * GIB, (ME,)))
    assert not await memory.wait_released([ME], timeout=0.3)
    assert script.measured > 1


async def test_children_count_too() -> None:
    memory, _ = watch(Moment(20 * GIB, (ME,)))
    assert not await memory.wait_released([os.getppid()], timeout=0.3)


async def test_other_processes_may_keep_theirs() -> None:
    memory, _ = watch(Moment(20 * GIB, (ME,)))
    assert await memory.wait_released([999_999_999], timeout=20.0)


async def test_a_little_movement_of_the_desktop_is_no_release() -> None:
    memory, script = watch(*(Moment(GIB - step * 1024**2) for step in range(40)))
    assert await memory.wait_released([ME], timeout=20.0)
    assert script.measured == 1 + STILL_ROUNDS


@pytest.mark.parametrize(("still_s", "released"), [(0.2, True), (600.0, False)])
async def test_where_processes_are_not_listed_the_memory_must_stand_still(
    monkeypatch: pytest.MonkeyPatch, still_s: float, released: bool
) -> None:
    monkeypatch.setattr("quarterdeck.hardware.memory.STILL_UNLISTED_S", still_s)
    memory, _ = watch(Moment(20 * GIB, listed=False), Moment(4 * GIB, listed=False))
    assert await memory.wait_released([ME], timeout=1.0) is released


@pytest.mark.parametrize("silent", [Moment(4 * GIB, answered=False), Moment(None)])
async def test_a_driver_that_stops_answering_proves_nothing(silent: Moment) -> None:
    memory, _ = watch(Moment(20 * GIB), silent)
    assert not await memory.wait_released([ME], timeout=0.5)
