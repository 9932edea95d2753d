"""How long logs take to read. Run: `python tests/benchmarks/bench_diagnosis.py [FILE...]`.

For each file (default: the recorded logs of the tests), repeated to a megabyte; then a hundred megabytes with the
highest memory; then the patterns that cost most without being found.
"""

from __future__ import annotations

import io
import resource
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from quarterdeck.diagnosis.matcher import diagnose_stream
from quarterdeck.diagnosis.matching import index as room
from quarterdeck.diagnosis.matching.index import Probe, shipped

ROUNDS = 9
MEGABYTE = 1_000_000
RECORDED = Path(__file__).parents[1] / "diagnosis" / "recorded"


class Repeated(io.RawIOBase):
    """A text again and again, up to a size, without being kept."""

    def __init__(self, text: bytes, size: int) -> None:
        self._text, self._left = text, size

    def read(self, size: int = -1, /) -> bytes:
        data = (self._text * (size // len(self._text) + 1))[: min(size, self._left)]
        self._left -= len(data)
        return data


def seconds(work: Callable[[], object], clock: Callable[[], float]) -> float:
    begin = clock()
    work()
    return clock() - begin


def read(text: bytes, size: int) -> object:
    return diagnose_stream(Repeated(text, size))  # type: ignore[arg-type]


def measure(path: Path) -> None:
    text = path.read_bytes().rstrip() + b"\n"
    if len(text) < 2:
        return
    busy = [seconds(lambda: read(text, MEGABYTE), time.process_time) * 1000 for _ in range(ROUNDS)]
    sys.stdout.write(f"{path.name}: 1 MB in {statistics.median(busy):.0f} ms of processor, best {min(busy):.0f} ms\n")


def measure_large(path: Path) -> None:
    text = path.read_bytes()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    took = seconds(lambda: read(text, 100 * MEGABYTE), time.perf_counter)
    more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    sys.stdout.write(f"{path.name}: 100 MB in {took:.1f} s, {more:.0f} MiB more memory\n")


def costs(paths: list[Path]) -> None:
    spent: defaultdict[str, list[float]] = defaultdict(list)
    search = Probe.search

    def timed(probe: Probe, line: str, lower: str) -> object:
        begin = time.perf_counter()
        match = search(probe, line, lower)
        spent[probe.text].append(time.perf_counter() - begin)
        return match

    room.Probe.search = timed  # type: ignore[method-assign, assignment]
    for path in paths:
        read(path.read_bytes(), MEGABYTE)
    for text, times in sorted(spent.items(), key=lambda item: -sum(item[1]))[:10]:
        sys.stdout.write(f"{sum(times) * 1000:7.1f} ms in {len(times):6} tries: {text}\n")


def main() -> None:
    paths = [Path(name) for name in sys.argv[1:]] or sorted(RECORDED.glob("*.log"))
    begin = time.perf_counter()
    rules = shipped()
    took = time.perf_counter() - begin
    sys.stdout.write(f"{len(rules.rules)} rules with {len(rules.probes)} patterns, ready in {took * 1000:.0f} ms\n")
    for path in paths:
        measure(path)
    measure_large(max(paths, key=lambda path: path.stat().st_size))
    costs(paths)


if __name__ == "__main__":
    main()
