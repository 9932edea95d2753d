"""The thread that owns NVML, and a watchdog over it: a call that hangs there blocks nobody else."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from quarterdeck.hardware import reasons
from quarterdeck.hardware.processes import Held
from quarterdeck.hardware.surroundings import Surroundings
from quarterdeck.hardware.units import without_values
from quarterdeck.schemas.hardware import GpuSample, NvmlState, NvmlStatus


class Reading(NamedTuple):
    """What NVML said last; `at` is on the monotonic clock.

    `listed` says whether it tells which processes hold how much memory, `notes` are sentences about the cards.
    """

    at: float
    status: NvmlStatus
    gpus: list[GpuSample]
    held: Sequence[Held] = ()
    listed: bool = False
    notes: Sequence[str] = ()


class GpuThread:
    """Asks NVML on request, in a daemon thread of its own; `answered` is called on that thread after each answer."""

    def __init__(self, *, silence: float, answered: Callable[[], None], surroundings: Surroundings) -> None:
        self._silence = silence
        self._answered = answered
        self._surroundings = surroundings
        self._changed = threading.Condition()
        self._asked_at: float | None = None
        self._stopping = False
        self._last = Reading(time.monotonic(), reasons.explain(NvmlState.STARTING, self._surroundings), [])
        self._thread = threading.Thread(target=self._run, name="quarterdeck-nvml", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end; it gives NVML back by itself when it is not stuck."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def join(self, timeout: float) -> None:
        if self._thread.is_alive():
            self._thread.join(timeout)

    def ask(self, timeout: float) -> bool:
        """Have NVML read; True when it answered within `timeout`, False at once while an earlier read is under way."""
        with self._changed:
            if self._asked_at is not None:
                return False
            self._asked_at = time.monotonic()
            self._changed.notify_all()
            return self._changed.wait_for(lambda: self._asked_at is None or self._stopping, timeout)

    def reading(self) -> Reading:
        """The last answer; without its values when NVML has been silent for too long."""
        with self._changed:
            asked_at, last = self._asked_at, self._last
        if asked_at is None or time.monotonic() - asked_at < self._silence:
            return last
        driver = last.status.driver_version
        status = reasons.explain(NvmlState.NOT_RESPONDING, self._surroundings, driver_version=driver)
        return Reading(last.at, status, [without_values(gpu, status.reason) for gpu in last.gpus])

    def _run(self) -> None:
        # Here and not above: loading pynvml takes tens of milliseconds that no start-up has to wait for.
        from quarterdeck.hardware.gpus import Gpus

        gpus = Gpus(surroundings=self._surroundings)
        while self._await_question():
            samples = gpus.read()
            with self._changed:
                self._last = Reading(time.monotonic(), gpus.status, samples, gpus.held, gpus.listed, gpus.notes)
                self._asked_at = None
                self._changed.notify_all()
            self._answered()
        gpus.close()

    def _await_question(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._asked_at is not None or self._stopping)
            return not self._stopping
