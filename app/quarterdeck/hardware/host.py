"""The machine itself: processor and memory through psutil."""

from __future__ import annotations

import os
import threading
import time
from typing import Any

import psutil

from quarterdeck.schemas.hardware import HostSample

_SHORTEST_SPAN = 0.2


class HostMeter:
    """Measures the host; the processor figure covers the time since the measurement before.

    psutil's own `cpu_percent` keeps one earlier measurement per thread, so that the first call of each thread
    is meaningless; this one may be asked from any thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._before = cpu_seconds(psutil.cpu_times())
        self._measured_at = time.monotonic()
        self._percent: float | None = None

    def sample(self) -> HostSample:
        memory = psutil.virtual_memory()
        return HostSample(
            cpu_percent=self._cpu_percent(),
            cpu_count=psutil.cpu_count() or 1,
            memory_used=memory.total - memory.available,
            memory_total=memory.total,
            load_average=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        )

    def _cpu_percent(self) -> float:
        with self._lock:
            now = time.monotonic()
            # Over a few clock ticks the figure would jump between 0 and 100.
            if self._percent is None or now - self._measured_at >= _SHORTEST_SPAN:
                current = cpu_seconds(psutil.cpu_times())
                self._percent = busy_percent(self._before, current)
                self._before, self._measured_at = current, now
            return self._percent


def cpu_seconds(times: Any) -> tuple[float, float]:
    """(busy, total) seconds of all cores. Linux counts guest time inside user time, so it is taken out once."""
    total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
    return total - times.idle - getattr(times, "iowait", 0.0), total


def busy_percent(before: tuple[float, float], after: tuple[float, float]) -> float:
    """Busy share between two (busy, total) readings, 0 to 100; 0 when no time passed or a counter went back."""
    busy, total = after[0] - before[0], after[1] - before[1]
    if total <= 0:
        return 0.0
    return round(min(max(100.0 * busy / total, 0.0), 100.0), 1)
