"""Free GPU memory, who holds it, and waiting until it is really free. Measures only while somebody asks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection

import psutil

from quarterdeck.hardware.sampler import Sampler
from quarterdeck.schemas.hardware import GpuProcess, HardwareSample

MEASURE_S = 2.0
LOOK_S = 0.08
STILL_ROUNDS = 2
STILL_UNLISTED_S = 1.0
# Desktops allocate and free a little all the time.
STILL_BYTES = 32 * 1024**2


class MemoryWatch:
    """Asks the sampler for fresh measurements; a GPU whose memory cannot be read does not count anywhere."""

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler

    async def free_bytes(self) -> int | None:
        """Free memory of all GPUs together in bytes; None when no GPU memory can be read."""
        free = await self.free_by_gpu()
        return sum(free.values()) if free else None

    async def free_by_gpu(self) -> dict[str, int]:
        """Free memory in bytes by the uuid of the GPU."""
        sample = await self._measure()
        return {
            gpu.uuid: gpu.memory_total - gpu.memory_used
            for gpu in sample.gpus
            if gpu.memory_total is not None and gpu.memory_used is not None
        }

    async def holders(self) -> list[GpuProcess]:
        """The processes that hold GPU memory now, the largest of each GPU first."""
        return (await self._measure()).processes

    async def wait_released(self, pids: Collection[int], *, timeout: float) -> bool:
        """Wait until none of `pids` nor what they started holds GPU memory and the used memory has stopped falling.

        True at once when no GPU memory can be read. Where the driver does not list processes, memory that stands
        still for a second is all that can be seen. False after `timeout` seconds.
        """
        book = self._sampler.book
        family = await asyncio.to_thread(self._family, pids)
        deadline = time.monotonic() + timeout
        used, read_at = _used(await self._measure()), book.read_at
        if used is None:
            return True
        still_since, still = time.monotonic(), 0
        while True:
            enough = still >= STILL_ROUNDS if book.readable else time.monotonic() - still_since >= STILL_UNLISTED_S
            if enough:
                return True
            if time.monotonic() >= deadline:
                return False
            await asyncio.sleep(LOOK_S)
            before, used = used, _used(await self._measure())
            answered, read_at = book.read_at > read_at, book.read_at
            falling = before is None or used is None or used < before - STILL_BYTES
            if falling or not answered or book.holders_among(family):
                still_since, still = time.monotonic(), 0
            else:
                still += 1

    def _family(self, pids: Collection[int]) -> set[int]:
        """The processes and what they started, as far as it can still be seen: parents may be gone already."""
        family = set(pids) | {holder.pid for holder in self._sampler.book.holders_among(pids)}
        for pid in pids:
            try:
                family |= {child.pid for child in psutil.Process(pid).children(recursive=True)}
            except psutil.Error:
                continue
        return family

    async def _measure(self) -> HardwareSample:
        return await asyncio.to_thread(self._sampler.sample_now, MEASURE_S)


def _used(sample: HardwareSample) -> int | None:
    known = [gpu.memory_used for gpu in sample.gpus if gpu.memory_used is not None]
    return sum(known) if known else None
