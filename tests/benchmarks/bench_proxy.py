"""The proxy against the bare upstream, and against others, side by side in one run; needs wrk.

    python tests/benchmarks/bench_proxy.py [--seconds 4] [--memory] [NAME=BASE_URL ...]

Starts an upstream that answers at once, and Quarterdeck with all of it on: an API key, routing rules, access log,
metrics. Each NAME is another proxy that forwards model m to http://127.0.0.1:PORT/v1 (`--upstream-port`).

  plain    requests/s and latency of short chat completions, 1 and 32 connections
  stream   32 streams of 200 chunks, one every 10 ms: time to the first chunk, lag of chunks behind the upstream's clock
  burst    16 streams of 2000 chunks, as fast as they are read

`--memory` tells the resident memory after 10,000 and after 1,000,000 requests instead. Figures of different runs are
not comparable; ratios to `direct` are.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import psutil

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from serve_process import Serve, serving

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: "
PLAIN = json.dumps(
    {
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "a short answer of the model."},
                     "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 12, "total_tokens": 22},
    }
).encode()  # fmt: skip
MODELS = b'{"object":"list","data":[{"id":"m","object":"model","created":1,"owned_by":"bench"}]}'
GAP = 0.01
STREAMS, CHUNKS = 32, 200
BURSTS, BURST_CHUNKS = 16, 2000


class Upstream(asyncio.Protocol):
    """Answers chats of one body each; a prompt with BURST is answered without pauses."""

    def connection_made(self, transport: Any) -> None:
        self.transport, self.data = transport, b""
        self.may_write = asyncio.Event()
        self.may_write.set()

    def pause_writing(self) -> None:
        self.may_write.clear()

    def resume_writing(self) -> None:
        self.may_write.set()

    def data_received(self, data: bytes) -> None:
        self.data += data
        head, end, body = self.data.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
        if not end or (length and len(body) < int(length[1])):
            return
        self.data = b""
        if b"/models" in head.split(b"\r\n", 1)[0]:
            self._whole(MODELS)
        elif re.search(rb'"stream": ?true', body):
            burst = b"BURST" in body
            self.task = asyncio.ensure_future(self._stream(BURST_CHUNKS if burst else CHUNKS, 0 if burst else GAP))
        else:
            self._whole(PLAIN)

    def _whole(self, body: bytes) -> None:
        self.transport.write(HEAD + b"application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body)

    def _chunk(self, data: bytes) -> None:
        self.transport.write(b"%x\r\n" % len(data) + data + b"\r\n")

    async def _stream(self, chunks: int, gap: float) -> None:
        self.transport.write(HEAD + b"text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        for number in range(chunks):
            last = number == chunks - 1
            choice = {
                "index": 0,
                "delta": {} if last else {"content": "word "},
                "finish_reason": "stop" if last else None,
            }
            await self.may_write.wait()
            self._chunk(b"data: " + json.dumps({"t": time.time(), "choices": [choice]}).encode() + b"\n\n")
            await asyncio.sleep(gap)
        self._chunk(b"data: [DONE]\n\n")
        self.transport.write(b"0\r\n\r\n")


def upstream(port: int) -> None:
    import uvloop

    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", port)
        await server.serve_forever()

    uvloop.run(main())


def plain(url: str, key: str, connections: int, seconds: int) -> dict[str, float]:
    """Requests/s and latencies in milliseconds, as wrk has them."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "ping"}]})
        script.write(
            f'wrk.method="POST"\nwrk.headers["Content-Type"]="application/json"\n'
            f'wrk.headers["Authorization"]="Bearer {key}"\nwrk.body=[[{body}]]\n'
        )
        script.flush()
        said = subprocess.run(
            [
                "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", script.name,
                f"{url}/chat/completions",
            ],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
    if "Non-2xx" in said:
        sys.exit(f"{url} refused requests:\n{said}")
    rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
    assert rate is not None, said
    at = f"plain, {connections} conn."
    return {
        f"{at}: requests/s": float(rate[1]),
        f"{at}: p50 ms": _latency(said, 50),
        f"{at}: p99 ms": _latency(said, 99),
    }


def _latency(said: str, percent: int) -> float:
    found = re.search(rf"{percent}%\s+([\d.]+)(us|ms|s)", said)
    assert found is not None, said
    return float(found[1]) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[found[2]]


async def _one(http: aiohttp.ClientSession, url: str, text: str) -> tuple[float, list[float], int]:
    """Seconds to the first chunk, the lag of each chunk in seconds, and how many came."""
    began, first, lags, tail = time.time(), 0.0, [], b""
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": text}]}
    async with http.post(f"{url}/chat/completions", json=body) as answer:
        async for data in answer.content.iter_any():
            now = time.time()
            first = first or now - began
            *events, tail = (tail + data).split(b"\n\n")
            lags += [now - float(found[1]) for event in events if (found := re.search(rb'"t": ?([\d.]+)', event))]
    return first, lags, len(lags)


async def _many(url: str, key: str, count: int, text: str) -> tuple[list[tuple[float, list[float], int]], float]:
    began = time.perf_counter()
    headers = {"authorization": f"Bearer {key}"}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), headers=headers) as http:
        answers = await asyncio.gather(*(_one(http, url, text) for _ in range(count)))
    return list(answers), time.perf_counter() - began


def streams(url: str, key: str) -> dict[str, float]:
    steady, _ = asyncio.run(_many(url, key, STREAMS, "hello"))
    burst, seconds = asyncio.run(_many(url, key, BURSTS, "BURST"))
    lags = sorted(lag for _, each, _ in steady for lag in each)
    firsts = sorted(first for first, _, _ in steady)
    return {
        "32 streams: first chunk p50 ms": firsts[len(firsts) // 2] * 1000,
        "32 streams: lag p99 ms": lags[int(len(lags) * 0.99)] * 1000,
        "32 streams: whole": sum(count == CHUNKS for _, _, count in steady) / STREAMS,
        "burst: chunks/s": sum(count for _, _, count in burst) / seconds,
    }


@contextmanager
def quarterdeck(port: int) -> Iterator[tuple[Serve, str]]:
    """Quarterdeck in front of the upstream with all of it on; the process and an API key."""
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder) / "data") as process:
        http = process.http
        model = {
            "model_name": "m",
            "url": f"http://127.0.0.1:{port}",
            "backend": "openai-compatible",
            "served_name": "m",
        }
        http.post("/api/models", json=model).raise_for_status()
        http.post("/api/orchestrate/load", json={"model_name": "m"}).raise_for_status()
        rules = {"patterns": [{"pattern": "gpt-.*", "model": "m"}], "fallbacks": [{"model": "*", "error": ["m"]}]}
        http.put("/api/routing", json=rules).raise_for_status()
        yield process, http.post("/api/keys", json={"name": "bench"}).raise_for_status().json()["key"]


def memory(process: Serve, url: str, key: str) -> None:
    """The resident memory of the core while requests go on."""
    served = 0
    for goal in (10_000, 100_000, 1_000_000):
        while served < goal:
            served += int(plain(url, key, 32, 5)["plain, 32 conn.: requests/s"] * 5)
        resident = psutil.Process(process.pid).memory_info().rss / 2**20
        sys.stdout.write(f"{served:>9,} requests: {resident:.1f} MiB\n")


def main() -> None:
    parser = argparse.ArgumentParser(description="The proxy against the bare upstream.")
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--upstream-port", type=int, default=19002)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("others", nargs="*", metavar="NAME=BASE_URL")
    given = parser.parse_args()
    answering = multiprocessing.get_context("spawn").Process(target=upstream, args=(given.upstream_port,), daemon=True)
    answering.start()
    time.sleep(1)
    with quarterdeck(given.upstream_port) as (process, key):
        url = f"{process.url}/v1"
        if given.memory:
            memory(process, url, key)
            return
        places = {"direct": f"http://127.0.0.1:{given.upstream_port}/v1", "quarterdeck": url}
        places |= dict(each.split("=", 1) for each in given.others)
        rows = {
            name: plain(place, key, 1, given.seconds) | plain(place, key, 32, given.seconds) | streams(place, key)
            for name, place in places.items()
        }
    names = list(rows)
    sys.stdout.write(f"| | {' | '.join(names)} |\n|---|{'---|' * len(names)}\n")
    for figure, base in rows["direct"].items():
        cells = [f"{rows[name][figure]:,.2f} ({rows[name][figure] / base:.3f} ×)" for name in names]
        sys.stdout.write(f"| {figure} | {' | '.join(cells)} |\n")


if __name__ == "__main__":
    main()
