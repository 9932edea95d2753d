"""What the record of a request costs: `python tests/benchmarks/bench_records.py [requests]`.

Prints microseconds of processor time, the writing thread included, for one whole answer with nothing but the record,
and then with the figures, the access log and all of it under default settings; for one piece of a stream; and how
much memory many requests take.
"""

from __future__ import annotations

import asyncio
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from request_records import answered, begin

from quarterdeck.proxy.records.access_log import AccessLog
from quarterdeck.proxy.records.log import RequestLog, Sink
from quarterdeck.proxy.records.metrics import Metrics
from quarterdeck.proxy.records.records import Records
from quarterdeck.scheduling.issues import Issues
from quarterdeck.settings import Settings

TARGET = 30.0
BURST = 100
PIECE = (
    b'data: {"choices":[{"finish_reason":null,"index":0,"delta":{"content":" help"}}],"created":1795226695,'
    b'"id":"chatcmpl-0zOwqx1es80Q9vLtWcNErjesc65dNYtW","model":"small","object":"chat.completion.chunk"}\n\n'
)


async def measure(label: str, log: RequestLog, requests: int) -> None:
    """Bursts of requests, with the loop let go between them as in a running core."""
    began = time.process_time()
    for number in range(requests):
        answered(log)
        if number % BURST == 0:
            await asyncio.sleep(0)
    cost = 1e6 * (time.process_time() - began) / requests
    sys.stdout.write(f"{label:36} {cost:7.2f} µs per request\n")


def a_log(sinks: Sequence[Sink] = ()) -> RequestLog:
    return RequestLog(lambda _view: None, sinks=sinks)


def pieces(log: RequestLog, count: int) -> None:
    record = begin(log, stream=True)
    began = time.process_time()
    for _ in range(count):
        record.saw(PIECE)
    sys.stdout.write(f"{'a piece of a stream':36} {1e6 * (time.process_time() - began) / count:7.2f} µs\n")
    record.finish(client_left=False)


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def bench(folder: Path, requests: int) -> None:
    settings = Settings()
    access_log = AccessLog(folder / "alone", settings=lambda: settings, problem=lambda _error: None)
    issues = Issues(cast(Any, None))
    records = Records(
        folder / "all",
        settings=lambda: settings,
        issues=issues,
        on_request=lambda _view: None,
        on_passed_over=lambda _count: None,
    )
    await measure("record", a_log(), requests)
    await measure("record, figures", a_log([Metrics().add]), requests)
    await measure("record, access log", a_log([access_log.add]), requests)
    await access_log.close()
    await measure("all", records.log, requests)
    pieces(a_log(), requests)
    before = peak_mib()
    await measure("all, ten times as many", records.log, requests * 10)
    await records.close()
    sys.stdout.write(f"target: at most {TARGET} µs; peak memory {before:.0f} MiB, then {peak_mib():.0f} MiB\n")


def main() -> None:
    requests = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(bench(Path(folder), requests))


if __name__ == "__main__":
    main()
