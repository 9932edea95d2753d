"""One short line that names the hardware a result was obtained on."""

from __future__ import annotations

import platform
from collections import Counter
from functools import lru_cache
from pathlib import Path

from quarterdeck.schemas.hardware import GpuSample, GpuVendor, HardwareSample

_GIB = 1024**3


def fingerprint(sample: HardwareSample) -> str:
    """GPU names, memory and driver; without a GPU the processor, its cores and the memory.

    Memory is rounded to GiB, because firmware and kernel keep a little different amounts at each start. The graphics
    part of a processor counts only where there is no card, since no model is loaded there.
    """
    borrowing = [gpu for gpu in sample.gpus if gpu.vendor is GpuVendor.AMD and gpu.memory_total is None]
    gpus = [gpu for gpu in sample.gpus if gpu not in borrowing] or borrowing
    if gpus:
        cards = Counter(_card(gpu) for gpu in gpus)
        names = " + ".join(f"{count} × {card}" if count > 1 else card for card, count in sorted(cards.items()))
        driver = sample.nvml.driver_version
        return f"{names} · driver {driver}" if driver else names
    cores = sample.host.cpu_count
    return f"{cpu_model()} · {cores} {'core' if cores == 1 else 'cores'} · {_gib(sample.host.memory_total)}"


def _card(gpu: GpuSample) -> str:
    return f"{gpu.name} {_gib(gpu.memory_total)}" if gpu.memory_total else gpu.name


def _gib(size: int) -> str:
    return f"{max(round(size / _GIB), 1)} GiB"


@lru_cache(maxsize=1)
def cpu_model() -> str:
    """The processor's name as the system gives it, without superfluous blanks."""
    return named_processor(_cpuinfo()) or " ".join(platform.processor().split()) or platform.machine() or "CPU"


def named_processor(cpuinfo: str) -> str:
    """The name in the text of /proc/cpuinfo, or nothing: many ARM systems give none."""
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in {"model name", "Model"} and value.strip():
            return " ".join(value.split())
    return ""


def _cpuinfo() -> str:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
