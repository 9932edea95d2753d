"""How long the header of a GGUF file takes to read. Run: `python tests/benchmarks/bench_gguf.py [FILE...]`.

Where the `gguf` package is installed, it reads the same files once for comparison.
"""

from __future__ import annotations

import importlib
import importlib.util
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from gguf_writer import CHAT_FACTS, Tensor, gguf_bytes

from quarterdeck.registry.gguf import read_header
from quarterdeck.registry.starter import starter_file

ROUNDS = 15


def measure(path: Path) -> None:
    times = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        header = read_header(path)
        times.append((time.perf_counter() - begin) * 1000)
    middle, worst = statistics.median(times), max(times)
    sys.stdout.write(f"{path.name}: {header.tensor_count} tensors, median {middle:.1f} ms, worst {worst:.1f} ms")
    sys.stdout.write(f"; the gguf package {package(path)}\n")


def package(path: Path) -> str:
    if importlib.util.find_spec("gguf") is None:
        return "is not installed"
    reader = importlib.import_module("gguf").GGUFReader
    begin = time.perf_counter()
    reader(str(path))
    return f"{(time.perf_counter() - begin) * 1000:.1f} ms"


def vocabulary(folder: Path, size: int) -> Path:
    """A file with `size` tokens, scores and merges and the tensors of a large model."""
    facts: dict[str, object] = {
        **CHAT_FACTS,
        "tokenizer.ggml.tokens": [f"token{number}" for number in range(size)],
        "tokenizer.ggml.scores": [0.0] * size,
        "tokenizer.ggml.merges": [f"to ken{number}" for number in range(size)],
    }
    path = folder / f"vocabulary-{size}.gguf"
    path.write_bytes(gguf_bytes(facts, [Tensor(f"blk.{number}.weight", (32, 2)) for number in range(800)]))
    return path


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(argument) for argument in sys.argv[1:]] or [
            *filter(None, [starter_file()]),
            *(vocabulary(Path(folder), size) for size in (50_000, 150_000, 260_000)),
        ]
        for path in files:
            measure(path)


if __name__ == "__main__":
    main()
