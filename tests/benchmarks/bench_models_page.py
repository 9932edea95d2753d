"""What the Models page costs with many models: `python tests/benchmarks/bench_models_page.py [models]`.

Prints the processor time of the first picture, of each key of a search, of a change of order, of a step of
the scroll bar and of an event of the core, in the thread of the window, and how many widgets there are.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6.QtWidgets import QApplication, QWidget

from quarterdeck.gui import theme
from quarterdeck.gui.backend_commands import BackendCommands
from quarterdeck.gui.commands import Commands
from quarterdeck.gui.pages.models import ModelsPage
from quarterdeck.gui.store import Store
from quarterdeck.schemas.models import ModelView, Phase, Status

MIB = 1024**2
FAMILIES = ("qwen3", "llama-3.2", "gemma-3", "mistral", "phi-4", "smollm2", "deepseek-r1", "granite")
QUANTIZATIONS = ("Q4_K_M", "Q5_K_M", "Q8_0", "IQ3_XS", "F16")
BACKENDS = ("embedded", "llama-server", "ollama", "vllm", "openai-compatible")
STATUSES = (Status.UNKNOWN, Status.COMPATIBLE, Status.DEGRADED, Status.INCOMPATIBLE)
KEYS = ("q", "qw", "qwe", "qwen", "qwen3", "qwen3 8", "qwen3 8b", "qwen3 8b zzz", "qwen3", "")
FRAME_MS = 16


def model(number: int) -> ModelView:
    family, quantization = FAMILIES[number % 8], QUANTIZATIONS[number % 5]
    return ModelView(
        name=f"{family}-{1 + number % 31}b-{number:04}.{quantization}", backend=BACKENDS[number % 5],
        served_name=f"model-{number}", layer="discovered" if number % 3 else "curated", path=f"/models/{number}.gguf",
        status=STATUSES[number % 4], size_bytes=(300 + 7 * number) * MIB, architecture=family,
        parameter_count=(1 + number % 31) * 10**9, quantization=quantization, context_length=8192,
        last_error="It ended on signal 11." if number % 40 == 3 else None, aliases=[f"alias-{number}"],
        created_at=datetime(2026, 5, 1, tzinfo=UTC) + timedelta(seconds=number),
    )  # fmt: skip


class Bench:
    """A page whose store holds the models as if a core had sent them."""

    def __init__(self, count: int) -> None:
        self.app = QApplication([])
        theme.install(self.app, "light")
        self.store = Store()
        self.store.connected = True
        self.store.models = {one.name: one for one in map(model, range(count))}

    def show(self) -> float:
        began = time.process_time()
        self.page = ModelsPage(self.store, Commands(self.store), BackendCommands(self.store))
        self.page.resize(1180, 760)
        self.page.show()
        self._settle()
        return 1000 * (time.process_time() - began)

    def measure(self, label: str, steps: list[Callable[[], object]]) -> None:
        """Runs each step and everything that Qt does because of it."""
        took = []
        for step in steps:
            began = time.process_time()
            step()
            self._settle()
            took.append(1000 * (time.process_time() - began))
        late = sum(1 for each in took if each > FRAME_MS)
        sys.stdout.write(
            f"{label:28} median {statistics.median(took):7.1f} ms   worst {max(took):7.1f} ms   "
            f"{late} of {len(took)} longer than a frame\n"
        )

    def search(self, words: str) -> None:
        self.page.toolbar.search.setText(words)
        self.page.toolbar.changed.emit(self.page.toolbar.filters)

    def scroll(self, value: int) -> None:
        self.page.board.verticalScrollBar().setValue(value)

    def change(self, name: str) -> None:
        phase = Phase.LOADING if self.store.models[name].phase is Phase.UNLOADED else Phase.UNLOADED
        self.store.models[name] = self.store.models[name].model_copy(update={"phase": phase})
        self.store.model_changed.emit(name)

    def _settle(self) -> None:
        for _ in range(4):
            self.app.processEvents()


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    bench = Bench(count)
    sys.stdout.write(f"{count} models\nfirst picture                {bench.show():7.0f} ms\n")
    sys.stdout.write(f"widgets on the page          {len(bench.page.findChildren(QWidget)):7}\n")
    bench.measure("search, each key", [lambda words=words: bench.search(words) for words in KEYS])
    orders = range(bench.page.toolbar.sort.count())
    bench.measure("order", [lambda row=row: bench.page.toolbar.sort.setCurrentIndex(row) for row in (*orders, 0)])
    top = bench.page.board.verticalScrollBar().maximum()
    bench.measure("scroll, 40 pixels a step", [lambda at=at: bench.scroll(at) for at in range(0, min(8000, top), 40)])
    bench.measure("scroll, dragged", [lambda at=at: bench.scroll(at) for at in range(0, top, max(1, top // 60))])
    bench.scroll(0)
    seen = bench.page.board.order[:3]
    bench.measure("an event of a shown model", [lambda name=name: bench.change(name) for name in seen * 4])
    hidden = bench.page.board.order[-20:]
    bench.measure("an event of another model", [lambda name=name: bench.change(name) for name in hidden])


if __name__ == "__main__":
    main()
