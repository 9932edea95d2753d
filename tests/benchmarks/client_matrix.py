"""What every client gets in every dialect on every engine, as a table in Markdown.

    python tests/benchmarks/client_matrix.py [--backends llama.cpp Ollama vLLM] [--clients openai curl …]

Needs the real engines (tests/support/real_engines.py). “ok” is an answer of the right shape, “refused” a refusal that
says why, “—” what the client or its dialect has no words for. What is neither is told below the table; then the exit
code is 1. The seconds of all cells of a row stand at its end. A second table tells how long the engine goes on to work
when a client has left in the middle of a stream.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from client_cells import FEATURES, Question, RealClient
from client_room import BACKENDS, MODELS, ON_VLLM, ClientRoom, client_room, row
from leaving import DIALECTS, Work, leave
from real_clients import CLIENTS
from real_clients.openai_sdk import OpenAIChat

from quarterdeck.registry.starter import starter_file

TRIES = 7


def line(room: ClientRoom, kind: type[RealClient], backend: str, faults: list[str]) -> str:
    began = time.perf_counter()
    found = row(room, kind, backend, FEATURES)
    cells = [backend, kind.name, kind.dialect]
    for feature in FEATURES:
        what = found.get(feature, "—")
        if what.startswith("fault"):
            faults.append(f"{', '.join([*cells[:3], feature])}: {what}")
            what = f"**fault {len(faults)}**"
        cells.append(what)
    return f"| {' | '.join(cells)} | {time.perf_counter() - began:.1f} |"


def leaving(room: ClientRoom, backend: str) -> None:
    """Prints rows: milliseconds of the engine's work after a client has left, the median of all tries and the most."""
    work = Work(room.serve.pid)
    for dialect in DIALECTS:
        taken = [1000 * work.goes_on(leave(room.url, dialect, MODELS[backend])) for _ in range(TRIES)]
        sys.stdout.write(f"| {backend} | {dialect} | {statistics.median(taken):.0f} | {max(taken):.0f} |\n")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--backends", nargs="+", default=BACKENDS, choices=BACKENDS)
    parser.add_argument("--clients", nargs="+", default=sorted({kind.name for kind in CLIENTS}))
    arguments = parser.parse_args()
    file = starter_file()
    assert file is not None
    head = ["engine", "client", "dialect", *FEATURES, "seconds"]
    faults: list[str] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        client_room(Path(folder), file, vllm=ON_VLLM in arguments.backends) as room,
    ):
        sys.stdout.write(f"| {' | '.join(head)} |\n|{' --- |' * len(head)}\n")
        for backend in arguments.backends:
            for kind in CLIENTS:
                if kind.name in arguments.clients:
                    sys.stdout.write(line(room, kind, backend, faults) + "\n")
                    sys.stdout.flush()
        sys.stdout.write("\n| engine | dialect | ms | at most |\n| --- | --- | --- | --- |\n")
        for backend in arguments.backends:
            room.client(OpenAIChat).ask(Question(MODELS[backend]))
            leaving(room, backend)
    sys.stdout.writelines(f"\n{number}. {fault}\n" for number, fault in enumerate(faults, 1))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
