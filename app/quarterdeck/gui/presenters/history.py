"""The last minutes of hardware samples as columns for graphs: constant memory, gaps stay gaps."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import pairwise

from quarterdeck.gui.presenters.hardware import GPU_METRICS, HOST_METRICS, Metric, gpu_reading, host_reading
from quarterdeck.schemas.hardware import GpuSample, HardwareSample

KEEP_S = 600.0
MOST_POINTS = 3000
GAP_S = 12.0
DRAWN_POINTS = 600
HOST = "host"

Key = tuple[str, Metric]


class History:
    """Samples in time order; every column has one value per sample, NaN where there was none.

    A pause in the samples longer than `gap_s` (sleep, a lost connection) becomes one NaN point, so that no line is
    drawn across it. A clock that was set back starts the history anew.
    """

    def __init__(self, keep_s: float = KEEP_S, gap_s: float = GAP_S) -> None:
        self.keep_s = keep_s
        self.gap_s = gap_s
        self.gpus: dict[str, GpuSample] = {}
        self.latest: HardwareSample | None = None
        self._times: deque[float] = deque()
        self._columns: dict[Key, deque[float]] = {}
        self._seen: dict[str, float] = {}

    @property
    def newest(self) -> float:
        """The time of the newest sample in seconds since the epoch; NaN without one."""
        return self._times[-1] if self._times else math.nan

    def __len__(self) -> int:
        return len(self._times)

    def add(self, sample: HardwareSample) -> bool:
        """Take a sample; False when it is already there."""
        at = sample.at.timestamp()
        if self._times and at <= self._times[-1]:
            if at > self._times[-1] - self.gap_s:
                return False
            self._clear()
        if self._times and at - self._times[-1] > self.gap_s:
            self._append((self._times[-1] + at) / 2, {})
        values: dict[Key, float] = {(HOST, metric): host_reading(sample.host, metric).value for metric in HOST_METRICS}
        for gpu in sample.gpus:
            values |= {(gpu.uuid, metric): gpu_reading(gpu, metric).value for metric in GPU_METRICS}
            self.gpus[gpu.uuid] = gpu
            self._seen[gpu.uuid] = at
        self._append(at, values)
        self.latest = sample
        self._forget(at)
        return True

    def points(self, key: Key, now: float, span: float, limit: int = DRAWN_POINTS) -> tuple[list[float], list[float]]:
        """The column from `span` seconds before `now` up to `now` as (seconds relative to now, values)."""
        column = self._columns.get(key)
        if column is None:
            return [], []
        times, values = [], []
        for at, value in zip(reversed(self._times), reversed(column), strict=True):
            if at > now:
                continue
            times.append(at)
            values.append(value)
            if at < now - span:
                break
        times.reverse()
        values.reverse()
        times, values = decimate(times, values, limit, span)
        return [at - now for at in times], values

    def highest(self, key: Key) -> float:
        """The largest value kept; NaN when there is none."""
        return max((value for value in self._columns.get(key, ()) if not math.isnan(value)), default=math.nan)

    def present(self, uuid: str) -> bool:
        """Whether the newest sample still has this GPU."""
        return self.latest is not None and any(gpu.uuid == uuid for gpu in self.latest.gpus)

    def _append(self, at: float, values: dict[Key, float]) -> None:
        for key in values.keys() - self._columns.keys():
            self._columns[key] = deque([math.nan] * len(self._times))
        self._times.append(at)
        for key, column in self._columns.items():
            column.append(values.get(key, math.nan))

    def _forget(self, now: float) -> None:
        # One point beyond the oldest edge stays, so that the line reaches the edge of the widest window.
        while len(self._times) > MOST_POINTS or (len(self._times) > 2 and self._times[1] < now - self.keep_s):
            self._times.popleft()
            for column in self._columns.values():
                column.popleft()
        for uuid in [uuid for uuid, seen in self._seen.items() if seen < now - self.keep_s]:
            del self._seen[uuid], self.gpus[uuid]
            for metric in GPU_METRICS:
                self._columns.pop((uuid, metric), None)

    def _clear(self) -> None:
        self._times.clear()
        self._columns.clear()
        self._seen.clear()
        self.gpus.clear()


def decimate(
    times: Sequence[float], values: Sequence[float], limit: int, span: float
) -> tuple[list[float], list[float]]:
    """At most about `limit` points that keep every peak, trough and gap.

    Points are grouped into buckets of equal time; each gives its smallest and largest value and, where it holds a
    NaN, one NaN. The buckets stand still in absolute time, so that a scrolling line does not shimmer.
    """
    if len(times) <= limit:
        return list(times), list(values)
    width = span / max(1, limit // 3)
    kept_times: list[float] = []
    kept_values: list[float] = []
    for first, last in _buckets(times, width):
        for index in _telling(values, first, last):
            kept_times.append(times[index])
            kept_values.append(values[index])
    return kept_times, kept_values


def _buckets(times: Sequence[float], width: float) -> Iterator[tuple[int, int]]:
    edges = [0]
    edges += [index for index in range(1, len(times)) if times[index] // width != times[index - 1] // width]
    edges.append(len(times))
    yield from pairwise(edges)


def _telling(values: Sequence[float], first: int, last: int) -> list[int]:
    finite = [index for index in range(first, last) if not math.isnan(values[index])]
    gap = next((index for index in range(first, last) if math.isnan(values[index])), None)
    telling = set() if gap is None else {gap}
    if finite:
        telling |= {min(finite, key=values.__getitem__), max(finite, key=values.__getitem__)}
    return sorted(telling)


def value_at(times: Sequence[float], values: Sequence[float], moment: float) -> tuple[float, float]:
    """The point nearest to `moment` as (time, value); (NaN, NaN) without points."""
    if not times:
        return math.nan, math.nan
    index = min(range(len(times)), key=lambda at: abs(times[at] - moment))
    return times[index], values[index]
