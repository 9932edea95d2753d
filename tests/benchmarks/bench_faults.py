"""Prints what clients get when their upstream misbehaves, as a Markdown table, and what leaving and flooding cost.

Run it as a program: `python tests/benchmarks/bench_faults.py`. Nothing is asserted here; test_proxy_faults does that.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
sys.path.insert(0, str(Path(__file__).parents[1] / "fakes"))

from fault_room import DIALECTS, NATIVE, PATHS, FaultRoom, fault_room, question
from fault_table import LIMITS, ROWS, SILENCES, Row

TIMES = 30


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HOME"] = os.environ["QUARTERDECK_DATA_DIR"] = folder
        sys.stdout.write("| the upstream | plain | streamed | with a stand-in, streamed |\n|---|---|---|---|\n")
        with fault_room(Path(folder) / "faults") as room:
            print_rows(room, ROWS)
            print_costs(room)
        with fault_room(Path(folder) / "silences", **LIMITS) as room:
            print_rows(room, SILENCES)


def print_rows(room: FaultRoom, rows: dict[str, Row]) -> None:
    sturdy = room.model("sturdy")
    for behaviour, row in rows.items():
        cells = [told(room.ask(behaviour, dialect, stream=False).outcome for dialect in DIALECTS)]
        cells.append(told(room.ask(behaviour, dialect, stream=True).outcome for dialect in DIALECTS))
        room.core.http.put("/api/routing", json={"fallbacks": [{"model": "*", "error": [sturdy]}]}).raise_for_status()
        got = room.ask(behaviour, "openai", stream=True)
        stands_in = got.header("x-quarterdeck-route") == "fallback"
        room.core.http.put("/api/routing", json={}).raise_for_status()
        cells.append("the stand-in answers" if stands_in else "the same")
        sys.stdout.write(f"| {row.says} | {' | '.join(cells)} |\n")


def told(outcomes: Iterable[str]) -> str:
    """One outcome where all dialects have the same, else each with those that have it."""
    found: dict[str, list[str]] = {}
    for dialect, outcome in zip(DIALECTS, outcomes, strict=True):
        found.setdefault(outcome, []).append(dialect)
    if len(found) == 1:
        return next(iter(found))
    return "; ".join(f"{outcome} ({', '.join(dialects)})" for outcome, dialects in found.items())


def print_costs(room: FaultRoom) -> None:
    lines = []
    for behaviour, dialect in (("silent_before_headers", "openai"), ("silent_after_3_tokens", "anthropic")):
        took = sorted(leave(room, behaviour, dialect) * 1000 for _ in range(TIMES))
        lines.append(
            f"{behaviour}, {dialect}: the upstream is left {statistics.median(took):.1f} ms after the client "
            f"(median of {TIMES}; at most {took[-1]:.1f} ms)"
        )
    for dialect in ("openai", "anthropic", NATIVE):
        sent, memory = flood(room, dialect)
        lines.append(
            f"flood, {dialect}: {sent / 1024**2:.1f} MiB taken for a client that reads nothing, all sockets and the "
            f"upstream itself within; memory of all +{memory / 1024**2:.1f} MiB"
        )
    # Beside the table, so that it stays one.
    sys.stderr.write("\n".join(lines) + "\n")


def leave(room: FaultRoom, behaviour: str, dialect: str) -> float:
    """Seconds from the end of the client's connection to the end of ours, as the upstream sees it."""
    model = room.model(behaviour, dialect)
    asked = room.upstream.count(behaviour)
    connection = room.connect()
    connection.request("POST", PATHS[dialect], json.dumps(question(dialect, model, stream=True)))
    while room.upstream.count(behaviour) == asked:
        time.sleep(0.001)
    time.sleep(0.05)
    began = time.perf_counter()
    connection.close()
    room.upstream.left.acquire()
    return time.perf_counter() - began


def flood(room: FaultRoom, dialect: str) -> tuple[int, int]:
    """Bytes that the upstream could send, and bytes by which the memory of this process grew."""
    model = room.model("flood", dialect)
    room.upstream.sent = 0
    room.upstream.blocked.clear()
    process = psutil.Process()
    before = process.memory_info().rss
    connection = room.connect()
    connection.request("POST", PATHS[dialect], json.dumps(question(dialect, model, stream=True)))
    room.upstream.blocked.wait(60)
    grown = process.memory_info().rss - before
    connection.close()
    room.upstream.left.acquire()
    return room.upstream.sent, grown


if __name__ == "__main__":
    main()
