"""Reads the sizes that engines print of their own memory; the fit estimate learns from them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

_MIB, _GIB = 1 << 20, 1 << 30

_LOADING = re.compile(r"load_tensors: loading model tensors|llm_load_tensors: ggml ctx size")
_LLAMA = re.compile(
    r"(?P<device>[A-Za-z]\w*)\s+(?P<what>model|KV|RS|compute|output) buffer size\s*=\s*(?P<size>\d+(?:\.\d+)?)\s*MiB"
)
_LAYERS = re.compile(r"offloaded (\d+)/\d+ layers to GPU")
_CONTEXT = re.compile(r"llama_context: (n_ctx|n_seq_max)\s*=\s*(\d+)")
_PARTS = {"model": "weights", "KV": "kv_cache", "RS": "state", "compute": "compute", "output": "output"}
_IN_MAIN_MEMORY = re.compile(r"^(?:CPU|\w+_Host\b|BLAS)|_Host$")

_VLLM_WEIGHTS = re.compile(r"[Mm]odel loading took (-?\d+(?:\.\d+)?) Gi?B")
_VLLM_CACHE = re.compile(r"Available KV cache memory: (-?\d+(?:\.\d+)?) GiB")
_VLLM_CPU_CACHE = re.compile(r"Explicitly set \((\d+(?:\.\d+)?)/[\d.]+\) GiB for KV cache")
_VLLM_TOKENS = re.compile(r"KV cache size: ([\d,]+) tokens")
_VLLM_GRAPHS = re.compile(r"Graph capturing finished in .* took (-?\d+(?:\.\d+)?) Gi?B")
_VLLM_PEAK = re.compile(
    r"(-?\d+(?:\.\d+)?) GiB for peak activation|activation peak memory takes (-?\d+(?:\.\d+)?)\s*GiB"
)


@dataclass(frozen=True)
class Buffers:
    """What an engine says it took, in bytes: on the GPU and in main memory, by the names of the estimate's parts.

    `gpu_layers`, `n_ctx` and `parallel` are what llama.cpp settled on. `cache_tokens` is the size of vLLM's KV cache,
    `cache_bytes` what was left for it; `missing_bytes` is set when that came out negative: so much was missing.
    """

    engine: str
    gpu: dict[str, int] = field(default_factory=dict)
    host: dict[str, int] = field(default_factory=dict)
    gpu_layers: int = 0
    n_ctx: int | None = None
    parallel: int | None = None
    cache_tokens: int | None = None
    cache_bytes: int | None = None
    missing_bytes: int | None = None

    @property
    def total_bytes(self) -> int:
        return sum(self.gpu.values()) + sum(self.host.values())

    def part(self, name: str) -> int:
        return self.gpu.get(name, 0) + self.host.get(name, 0)


def parse_buffers(lines: Iterable[str]) -> Buffers | None:
    """The sizes of the last load in `lines`; null when the engine printed none."""
    kept = list(lines)
    return _llama(kept) or _vllm(kept)


def _llama(lines: list[str]) -> Buffers | None:
    sizes: dict[tuple[str, str], float] = {}
    context: dict[str, int] = {}
    layers = 0
    for line in _last_load(lines):
        if offloaded := _LAYERS.search(line):
            layers = int(offloaded[1])
        if stated := _CONTEXT.search(line):
            context[stated[1]] = int(stated[2])
        for found in _LLAMA.finditer(line):
            key = (found["device"], found["what"])
            size = float(found["size"]) * _MIB
            # Model and cache come in several pieces; a compute buffer that is reserved anew replaces the one before.
            sizes[key] = size if found["what"] in ("compute", "output") else sizes.get(key, 0) + size
    if not any(what == "compute" for _, what in sizes):
        return None
    gpu: dict[str, int] = {}
    host: dict[str, int] = {}
    for (device, what), size in sizes.items():
        place = host if _IN_MAIN_MEMORY.search(device) else gpu
        part = "repacked" if device.endswith("_REPACK") else _PARTS[what]
        place[part] = place.get(part, 0) + round(size)
    return Buffers("llama.cpp", gpu, host, layers, context.get("n_ctx"), context.get("n_seq_max"))


def _last_load(lines: list[str]) -> Iterator[str]:
    """The lines of the last load; an engine that tries several settings prints the sizes of each."""
    begin = max((number for number, line in enumerate(lines) if _LOADING.search(line)), default=0)
    yield from lines[begin:]


def _vllm(lines: list[str]) -> Buffers | None:
    text = "\n".join(lines)
    weights, cache = _last(_VLLM_WEIGHTS, text), _last(_VLLM_CACHE, text)
    on_cpu = _last(_VLLM_CPU_CACHE, text)
    tokens = _VLLM_TOKENS.findall(text)
    if weights is None and cache is None and on_cpu is None:
        return None
    gpu = {
        "weights": weights or 0,
        "kv_cache": max(cache or 0, 0),
        "compute": _last(_VLLM_PEAK, text) or 0,
        "cuda_graphs": _last(_VLLM_GRAPHS, text) or 0,
    }
    return Buffers(
        "vllm",
        gpu={name: size for name, size in gpu.items() if size > 0},
        host={"kv_cache": on_cpu} if on_cpu else {},
        cache_tokens=int(tokens[-1].replace(",", "")) if tokens else None,
        cache_bytes=cache,
        missing_bytes=-cache if cache is not None and cache < 0 else None,
    )


def _last(pattern: re.Pattern[str], text: str) -> int | None:
    """The last size in GiB that `pattern` finds, in bytes."""
    found = [next(filter(None, match.groups())) for match in pattern.finditer(text)]
    return round(float(found[-1]) * _GIB) if found else None
