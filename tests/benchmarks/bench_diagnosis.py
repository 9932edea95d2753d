"""How long logs take to read, and how much memory. Run: `python tests/benchmarks/bench_diagnosis.py [FILE...]`.

For each file (default: the recorded logs of the tests), repeated to a megabyte; for each engine, all logs of the tests
mixed; every line has its own time, so that none comes twice. Then the median of these, a hundred megabytes with the
highest memory, and the patterns that cost most without being found.
"""

from __future__ import annotations

import io
import resource
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from itertools import cycle
from pathlib import Path

from quarterdeck.diagnosis.matcher import diagnose_stream
from quarterdeck.diagnosis.matching import index as room
from quarterdeck.diagnosis.matching.index import Probe, shipped

ROUNDS = 5
MEGABYTE = 1_000_000
TESTS = Path(__file__).parents[1] / "diagnosis"


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


def stamped(paths: list[Path]) -> bytes:
    """The lines of all files in turn, each behind a time of its own, until there is a megabyte."""
    lines = cycle([line for path in paths for line in path.read_bytes().splitlines()])
    made, size = [], 0
    for number, line in enumerate(lines):
        made.append(b"2026-11-21T10:%02d:%02d.%06dZ %s\n" % (number // 60 % 60, number % 60, number, line))
        size += len(made[-1])
        if size >= MEGABYTE:
            break
    return b"".join(made)[:MEGABYTE]


def measure(name: str, paths: list[Path]) -> float:
    """Milliseconds for a megabyte."""
    text = stamped(paths)
    busy = [seconds(lambda: read(text, MEGABYTE), time.process_time) * 1000 for _ in range(ROUNDS)]
    middle = statistics.median(busy)
    sys.stdout.write(f"{name}: 1 MB in {middle:.0f} ms of processor, best {min(busy):.0f} ms\n")
    return middle


def measure_large(name: str, text: bytes) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    took = seconds(lambda: read(text, 100 * MEGABYTE), time.perf_counter)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    more = (peak - before) / 1024
    sys.stdout.write(
        f"{name}: 100 MB in {took:.1f} s, peak memory {peak / 1024:.0f} MiB, {more:.0f} MiB of it for it\n"
    )


def costs(paths: list[Path]) -> None:
    spent: defaultdict[str, list[float]] = defaultdict(list)
    search = Probe.search

    def timed(probe: Probe, line: str, lower: str) -> object:
        begin = time.perf_counter()
        match = search(probe, line, lower)
        spent[probe.text].append(time.perf_counter() - begin)
        return match

    room.Probe.search = timed  # type: ignore[method-assign, assignment]
    read(stamped(paths), MEGABYTE)
    for text, times in sorted(spent.items(), key=lambda item: -sum(item[1]))[:10]:
        sys.stdout.write(f"{sum(times) * 1000:7.1f} ms in {len(times):6} tries: {text}\n")


def main() -> None:
    kinds = {Path(name).name: [Path(name)] for name in sys.argv[1:]} or {
        **{path.name: [path] for path in sorted(TESTS.glob("recorded/*.log")) if path.stat().st_size},
        **{f"{path.name}, mixed": sorted(path.glob("*.log")) for path in sorted(TESTS.glob("logs/*/"))},
    }
    begin = time.perf_counter()
    rules = shipped()
    took = time.perf_counter() - begin
    sys.stdout.write(f"{len(rules.rules)} rules with {len(rules.probes)} patterns, ready in {took * 1000:.0f} ms\n")
    taken = [measure(name, paths) for name, paths in kinds.items()]
    sys.stdout.write(f"median of {len(taken)} kinds: {statistics.median(taken):.0f} ms, most {max(taken):.0f} ms\n")
    everything = [path for paths in kinds.values() for path in paths]
    measure_large("all mixed", stamped(everything))
    costs(everything)


if __name__ == "__main__":
    main()
