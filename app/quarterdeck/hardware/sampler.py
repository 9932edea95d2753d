"""Takes samples of GPUs and host at an interval, in a thread of its own, while somebody watches."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from enum import Enum, auto
from pathlib import Path

from quarterdeck.hardware import reasons
from quarterdeck.hardware.amd import Amd
from quarterdeck.hardware.gpu_thread import GpuThread, Reading
from quarterdeck.hardware.host import HostMeter
from quarterdeck.hardware.processes import ProcessBook
from quarterdeck.hardware.surroundings import Surroundings
from quarterdeck.hardware.units import without_values
from quarterdeck.schemas.hardware import GpuProcess, GpuSample, HardwareSample, NvmlState

_log = logging.getLogger(__name__)

HISTORY_SECONDS = 600.0
_MOST_POINTS = 2400
_PATIENCE = 1.0
_STALE_SECONDS = 10.0
_JOIN_SECONDS = 1.0


class _Turn(Enum):
    MEASURE = auto()
    PUBLISH = auto()
    STOP = auto()


class Sampler:
    """Measures while active; when inactive it measures nothing, and `latest` gives the host of this moment.

    All methods may be called from any thread and none waits for NVML, except for those with a `timeout`.
    `on_sample` is called on the sampler thread. After `silence` seconds without an answer NVML counts as not
    responding; the host is measured all the same. `book` knows the processes of the newest measurement. The files of
    the system are read below `root`.
    """

    def __init__(self, *, nvml_enabled: bool, interval: float, silence: float = 3.0, root: Path = Path("/")) -> None:
        self.on_sample: Callable[[HardwareSample], None] | None = None
        self.book = ProcessBook()
        self._interval = interval
        self._host = HostMeter()
        self._surroundings = Surroundings(root)
        self._nvidia = (
            GpuThread(silence=silence, answered=self._gpus_answered, surroundings=self._surroundings)
            if nvml_enabled
            else None
        )
        self._disabled = Reading(0.0, reasons.explain(NvmlState.DISABLED, self._surroundings), [])
        self._amd = Amd(root)
        self._amd_reading = Reading(0.0, self._disabled.status, [])
        self._processes: list[GpuProcess] = []
        self._changed = threading.Condition()
        self._active = False
        self._asked = True
        self._pending = False
        self._late = False
        self._stopping = False
        self._complete = 0
        self._next_at = 0.0
        self._ring: deque[tuple[float, HardwareSample]] = deque(maxlen=_MOST_POINTS)
        self._thread = threading.Thread(target=self._run, name="quarterdeck-sampler", daemon=True)

    def start(self) -> None:
        """Begin; the first sample is taken at once, active or not."""
        if self._nvidia:
            self._nvidia.start()
        self._thread.start()

    def stop(self) -> None:
        """End; returns within about a second even when NVML hangs. May be called again."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        deadline = time.monotonic() + _JOIN_SECONDS
        if self._nvidia:
            self._nvidia.stop()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(_JOIN_SECONDS)
        if self._nvidia:
            self._nvidia.join(max(deadline - time.monotonic(), 0.0))

    def set_active(self, active: bool) -> None:
        with self._changed:
            if active and not self._active:
                self._next_at = 0.0
            self._active = active
            self._changed.notify_all()

    def set_interval(self, seconds: float) -> None:
        with self._changed:
            self._interval = seconds
            self._next_at = 0.0
            self._changed.notify_all()

    def wait_ready(self, timeout: float) -> bool:
        """Wait until the GPUs are known, or known to be missing; False when NVML has not answered by then."""
        with self._changed:
            return self._changed.wait_for(lambda: self._complete > 0 or self._stopping, timeout) and self._complete > 0

    def sample_now(self, timeout: float) -> HardwareSample:
        """A fresh sample, active or not; after `timeout` seconds what is known by then."""
        with self._changed:
            seen = self._complete
            self._asked = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._complete > seen or self._stopping, timeout)
        return self.latest()

    def latest(self) -> HardwareSample:
        """The newest sample while active, else the host of this moment with the last known state of the GPUs."""
        with self._changed:
            newest = self._ring[-1] if self._ring else None
            still_fresh = max(1.5 * self._interval, _PATIENCE) if self._active else 0.0
        if newest is not None and time.monotonic() - newest[0] < still_fresh:
            return newest[1]
        return self._compose()

    def history(self) -> list[HardwareSample]:
        """The samples of the last ten minutes, oldest first."""
        with self._changed:
            oldest = time.monotonic() - HISTORY_SECONDS
            return [sample for taken_at, sample in self._ring if taken_at >= oldest]

    def _run(self) -> None:
        while (turn := self._await_turn()) is not _Turn.STOP:
            self._take(turn)

    def _await_turn(self) -> _Turn:
        with self._changed:
            while not self._stopping:
                now = time.monotonic()
                if self._asked or (self._active and now >= self._next_at):
                    self._asked = False
                    self._next_at = now + self._interval
                    return _Turn.MEASURE
                if self._late:
                    return _Turn.PUBLISH
                self._changed.wait(self._next_at - now if self._active else None)
            return _Turn.STOP

    def _take(self, turn: _Turn) -> None:
        complete = True
        if turn is _Turn.MEASURE:
            self._amd_reading = self._amd.read()
        if self._nvidia and turn is _Turn.MEASURE:
            with self._changed:
                self._pending = True
            complete = self._nvidia.ask(_PATIENCE)
        with self._changed:
            if complete:
                self._pending = self._late = False
        self._processes = self._describe()
        sample = self._compose()
        with self._changed:
            if self._stopping:
                return
            now = time.monotonic()
            self._complete += complete
            self._keep(now, sample)
            self._changed.notify_all()
        self._tell(sample)

    def _keep(self, now: float, sample: HardwareSample) -> None:
        """The past is for graphs, which do not need its processes."""
        if self._ring:
            taken_at, before = self._ring[-1]
            self._ring[-1] = (taken_at, before.model_copy(update={"processes": []}))
        self._ring.append((now, sample))
        while now - self._ring[0][0] > HISTORY_SECONDS:
            self._ring.popleft()

    def _tell(self, sample: HardwareSample) -> None:
        if self.on_sample is None:
            return
        try:
            self.on_sample(sample)
        except Exception:  # noqa: BLE001 - logged; a receiver must not end the sampling
            _log.exception("a receiver of hardware samples failed")

    def _nvidia_reading(self) -> Reading:
        return self._nvidia.reading() if self._nvidia else self._disabled

    def _describe(self) -> list[GpuProcess]:
        nvidia, amd = self._nvidia_reading(), self._amd_reading
        at = min((reading.at for reading in (nvidia, amd) if reading.gpus), default=amd.at)
        held = [*nvidia.held, *(each._replace(gpu=each.gpu + len(nvidia.gpus)) for each in amd.held)]
        return self.book.describe(held, readable=nvidia.listed or amd.listed, at=at)

    def _compose(self) -> HardwareSample:
        nvidia, amd = self._nvidia_reading(), self._amd_reading
        gpus = [*self._fresh(nvidia), *self._fresh(amd)]
        return HardwareSample(
            at=datetime.now(UTC),
            nvml=nvidia.status,
            host=self._host.sample(),
            gpus=[gpu if gpu.index == at else gpu.model_copy(update={"index": at}) for at, gpu in enumerate(gpus)],
            processes=[] if self._is_stale(self.book.read_at) else self._processes,
            surroundings=[*self._surroundings.notes(gpus=bool(gpus)), *nvidia.notes, *amd.notes],
        )

    def _fresh(self, reading: Reading) -> list[GpuSample]:
        if not self._is_stale(reading.at):
            return reading.gpus
        return [without_values(gpu, reasons.NOT_MEASURED) for gpu in reading.gpus]

    def _is_stale(self, at: float) -> bool:
        return time.monotonic() - at > max(_STALE_SECONDS, 2 * self._interval)

    def _gpus_answered(self) -> None:
        """Called on the NVML thread: an answer that comes after its sample is published as one more."""
        with self._changed:
            if self._pending:
                self._late = True
                self._changed.notify_all()
