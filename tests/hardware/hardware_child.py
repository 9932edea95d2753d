"""A process that reads GPUs on command: one JSON list `[method, argument...]` per line in, one JSON value out.

It is a process of its own because the loader reads LD_LIBRARY_PATH only at the start of one.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from quarterdeck.hardware.fingerprint import fingerprint
from quarterdeck.hardware.gpus import Gpus
from quarterdeck.hardware.memory import MemoryWatch
from quarterdeck.hardware.sampler import Sampler
from quarterdeck.hardware.surroundings import Surroundings
from quarterdeck.schemas.hardware import HardwareSample


class Child:
    def __init__(self) -> None:
        self.time = 0.0
        self.received: list[HardwareSample] = []

    def open_gpus(self, root: str) -> None:
        self.gpus = Gpus(surroundings=Surroundings(Path(root)), clock=lambda: self.time)

    def read(self) -> dict[str, Any]:
        samples = self.gpus.read()
        return {
            "nvml": self.gpus.status.model_dump(mode="json"),
            "gpus": [gpu.model_dump(mode="json") for gpu in samples],
            "held": self.gpus.held,
            "listed": self.gpus.listed,
            "notes": self.gpus.notes,
        }

    def advance(self, seconds: float) -> None:
        self.time += seconds

    def close_gpus(self) -> None:
        self.gpus.close()

    def start_sampler(self, interval: float, silence: float) -> None:
        self.sampler = Sampler(nvml_enabled=True, interval=interval, silence=silence)
        self.sampler.on_sample = self.received.append
        self.sampler.start()

    def set_active(self, active: bool) -> None:
        self.sampler.set_active(active)

    def wait_ready(self, timeout: float) -> bool:
        return self.sampler.wait_ready(timeout)

    def latest(self) -> dict[str, Any]:
        return self.sampler.latest().model_dump(mode="json")

    def sample_now(self, timeout: float) -> dict[str, Any]:
        return self.sampler.sample_now(timeout).model_dump(mode="json")

    def received_states(self) -> list[str]:
        return [sample.nvml.state.value for sample in self.received]

    def fingerprint(self) -> str:
        return fingerprint(self.sampler.latest())

    def own(self, pid: int, model: str, backend: str) -> None:
        self.sampler.book.owners = {pid: (model, backend)}

    def vram_of(self, model: str) -> int | None:
        return self.sampler.book.vram_of(model)

    def free_bytes(self) -> int | None:
        return asyncio.run(MemoryWatch(self.sampler).free_bytes())

    def wait_released(self, pids: list[int], timeout: float) -> bool:
        return asyncio.run(MemoryWatch(self.sampler).wait_released(pids, timeout=timeout))

    def stop_sampler(self) -> None:
        self.sampler.stop()


def main() -> None:
    child = Child()
    for line in sys.stdin:
        method, *arguments = json.loads(line)
        answer = getattr(child, method)(*arguments)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
