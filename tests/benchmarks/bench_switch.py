"""What switching from one engine to another costs beyond the new engine's own load time.

    python tests/benchmarks/bench_switch.py [--rounds 3] [--no-vllm]

Needs the real engines (tests/support/real_engines.py). For each pair: the time from asking for the load until it
answers, the engine's own load time from the journal, and the difference. Medians over the rounds, in seconds.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from engine_room import EngineRoom, engine_room
from real_engines import VLLM

from quarterdeck.registry.starter import starter_file


def switch(room: EngineRoom, model: str) -> tuple[float, float]:
    """Seconds in all, and those that the engine itself took."""
    began = time.perf_counter()
    room.serve.http.post("/api/orchestrate/load", json={"model_name": model}, timeout=300).raise_for_status()
    whole = time.perf_counter() - began
    return whole, room.serve.attempts(model)[0]["load_seconds"]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-vllm", action="store_true")
    arguments = parser.parse_args()
    file = starter_file()
    assert file is not None
    figures: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    with (
        tempfile.TemporaryDirectory() as folder,
        engine_room(Path(folder) / "data", file, vllm=VLLM.exists() and not arguments.no_vllm) as room,
    ):
        pairs = list(itertools.permutations(room.models, 2))
        for _ in range(arguments.rounds):
            for before, after in pairs:
                switch(room, before)
                figures[before, after].append(switch(room, after))
        overlaps = room.watcher.overlaps
    sys.stdout.write(f"{'from':<24}{'to':<24}{'in all':>8}{'engine':>8}{'beyond':>8}" + "\n")
    for (before, after), taken in figures.items():
        whole, engine = (statistics.median(column) for column in zip(*taken, strict=True))
        beyond = statistics.median(each - own for each, own in taken)
        sys.stdout.write(f"{before:<24}{after:<24}{whole:8.2f}{engine:8.2f}{beyond:8.2f}" + "\n")
    sys.stdout.write(f"two models in memory at once: {len(overlaps)} times" + "\n")


if __name__ == "__main__":
    main()
