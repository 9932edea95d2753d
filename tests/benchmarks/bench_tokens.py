"""Tokens per second through the proxy against the engine's own port: same prompt, alternating, medians.

python tests/benchmarks/bench_tokens.py [pairs] [tokens]
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from serve_process import STARTER, serving

TARGET = 0.97
PROMPT = "Describe a harbour at dawn: the boats, the gulls, the people who work there."


def body(tokens: int, *, stream: bool) -> dict[str, Any]:
    return {
        "model": STARTER,
        "messages": [{"role": "user", "content": PROMPT}],
        "max_tokens": tokens,
        "temperature": 0,
        "ignore_eos": True,
        "stream": stream,
    }


def plain(http: httpx.Client, url: str, tokens: int) -> float:
    """Tokens per second from the request to the whole answer."""
    began = time.perf_counter()
    answer = http.post(f"{url}/v1/chat/completions", json=body(tokens, stream=False)).raise_for_status().json()
    return float(answer["usage"]["completion_tokens"] / (time.perf_counter() - began))


def streamed(http: httpx.Client, url: str, tokens: int) -> float:
    """Tokens per second from the request to the end of the stream; every chunk is one token."""
    chunks = 0
    began = time.perf_counter()
    with http.stream("POST", f"{url}/v1/chat/completions", json=body(tokens, stream=True)) as answer:
        answer.raise_for_status()
        for line in answer.iter_lines():
            chunks += line.startswith('data: {"choices":[{"finish_reason":null')
    return chunks / (time.perf_counter() - began)


def compare(
    measure: Callable[[httpx.Client, str, int], float], direct: str, proxy: str, *, pairs: int, tokens: int
) -> tuple[list[float], list[float]]:
    """Pairs of measurements, side by side; which of the two comes first alternates."""
    figures: dict[str, list[float]] = {direct: [], proxy: []}
    # The engine closes a connection after a stream without a word, so none is used twice.
    fresh = httpx.Limits(max_keepalive_connections=0)
    with httpx.Client(trust_env=False, timeout=600, limits=fresh) as http:
        for url in (direct, proxy):
            measure(http, url, tokens)
        for number in range(pairs):
            for url in (direct, proxy) if number % 2 else (proxy, direct):
                figures[url].append(measure(http, url, tokens))
    return figures[direct], figures[proxy]


def main() -> None:
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    tokens = int(sys.argv[2]) if len(sys.argv) > 2 else 128
    sys.stdout.write(f"{pairs} pairs of {tokens} tokens; target: at least {TARGET} of the engine's own\n")
    sys.stdout.write(f"{'':10} {'engine':>12} {'proxy':>12} {'of medians':>12} {'of pairs':>10}\n")
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder) / "data") as serve:
        serve.load().raise_for_status()
        engine = serve.http.get("/api/backends").json()[0]["address"]
        for label, measure in (("whole", plain), ("stream", streamed)):
            direct, proxy = compare(measure, engine, serve.url, pairs=pairs, tokens=tokens)
            of_medians = statistics.median(proxy) / statistics.median(direct)
            of_pairs = statistics.median(p / d for p, d in zip(proxy, direct, strict=True))
            sys.stdout.write(
                f"{label:10} {statistics.median(direct):8.1f} t/s {statistics.median(proxy):8.1f} t/s "
                f"{of_medians:12.3f} {of_pairs:10.3f}\n"
            )
        assert serve.terminate() == 0


if __name__ == "__main__":
    main()
