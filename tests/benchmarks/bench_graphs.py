"""What the graphs cost at 1 Hz: `python tests/benchmarks/bench_graphs.py [samples]`.

Prints the processor time of one sample for the GPU page with two GPUs and the computer (ten graphs), shown with
each length of time, paused, and hidden; and how long the first showing takes. One sample a second: 10 ms are 1 %.
"""

from __future__ import annotations

import os
import sys
import time
from datetime import UTC, datetime, timedelta
from math import sin

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6.QtWidgets import QApplication, QComboBox

from quarterdeck.gui import theme
from quarterdeck.gui.pages.gpu import GpuPage
from quarterdeck.gui.store import Store
from quarterdeck.schemas.hardware import GpuSample, HardwareSample, HostSample, NvmlState, NvmlStatus

GIB = 1024**3
HISTORY = 600


def sample(second: int) -> HardwareSample:
    wave = 50 + 40 * sin(second / 7)
    gpus = [
        GpuSample(
            index=index, uuid=f"GPU-{index}", name="Test 24", utilization=wave, memory_used=9 * GIB,
            memory_total=24 * GIB, temperature=55 + wave / 10, power=100 + wave, power_limit=350.0,
        )
        for index in range(2)
    ]  # fmt: skip
    host = HostSample(cpu_percent=wave, cpu_count=8, memory_used=6 * GIB, memory_total=32 * GIB)
    at = datetime(2026, 5, 1, tzinfo=UTC) + timedelta(seconds=second)
    return HardwareSample(at=at, nvml=NvmlStatus(state=NvmlState.OK), host=host, gpus=gpus)


class Bench:
    """One page that is fed samples as the store would."""

    def __init__(self, samples: int) -> None:
        self.app = QApplication([])
        theme.install(self.app, "light")
        self.store = Store()
        self.store.connected = True
        self.samples = samples
        self.second = HISTORY
        for second in range(HISTORY):
            self.store.samples.append(sample(second))
        self.page = GpuPage(self.store)
        self.page.resize(1180, 800)

    def first_showing(self) -> float:
        began = time.perf_counter()
        self.page.show()
        self.page.page_shown()
        while self.page.rows == 0:
            self.app.processEvents()
        self.app.processEvents()
        return time.perf_counter() - began

    def measure(self, label: str) -> None:
        made = [sample(self.second + index) for index in range(self.samples)]
        self.second += self.samples
        began = time.process_time()
        for one in made:
            self.store.sample_arrived.emit(one)
            self.app.processEvents()
        cost = 1000 * (time.process_time() - began) / self.samples
        sys.stdout.write(f"{label:24} {cost:7.3f} ms per sample = {cost / 10:6.3f} % of a core at 1 Hz\n")


def main() -> None:
    bench = Bench(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
    sys.stdout.write(f"first showing            {1000 * bench.first_showing():7.0f} ms (loads the graph library)\n")
    window = bench.page.findChild(QComboBox)
    for index in range(window.count()):
        window.setCurrentIndex(index)
        bench.measure(f"shown, {window.itemText(index).lower()}")
    bench.page.toggle_pause()
    bench.measure("shown, paused")
    bench.page.toggle_pause()
    bench.page.page_hidden()
    bench.page.hide()
    bench.measure("hidden")


if __name__ == "__main__":
    main()
