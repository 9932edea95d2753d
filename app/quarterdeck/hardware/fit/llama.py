"""The memory that llama.cpp needs for a GGUF model, by part and by place."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil

from quarterdeck.hardware.fit.compute import Batch, compute_bytes, input_bytes
from quarterdeck.hardware.fit.options import KV_BITS, LlamaOptions, padded
from quarterdeck.schemas.shape import LayerShape, ModelShape

_F32 = 4
# What the driver takes for a process that uses a card: its context, kernels, and the engine's scratch memory.
RUNTIME_BYTES = 400 << 20
_USUAL_CTX = 4096

FIXED = ("weights", "repacked", "projector")
PARTS = ("weights", "repacked", "kv_cache", "state", "compute", "output", "projector", "runtime")


@dataclass(frozen=True)
class Need:
    """Bytes by part on the GPU and in main memory. `correction` scales what is not weights."""

    gpu: dict[str, int]
    host: dict[str, int]

    @property
    def gpu_bytes(self) -> int:
        return sum(self.gpu.values())

    @property
    def host_bytes(self) -> int:
        return sum(self.host.values())

    @property
    def total_bytes(self) -> int:
        return self.gpu_bytes + self.host_bytes

    def part(self, name: str) -> int:
        return self.gpu.get(name, 0) + self.host.get(name, 0)

    def corrected(self, factor: float) -> Need:
        def scale(parts: dict[str, int]) -> dict[str, int]:
            return {name: size if name in FIXED else round(size * factor) for name, size in parts.items()}

        return Need(scale(self.gpu), scale(self.host))


@dataclass(frozen=True, slots=True)
class Cache:
    """The sizes of the KV cache: cells for each of `streams`; windowed layers have their own number of cells."""

    cells: int
    window_cells: int
    streams: int

    @property
    def n_ctx(self) -> int:
        return self.cells * self.streams


def cache_of(shape: ModelShape, options: LlamaOptions) -> Cache:
    """How the engine sizes its cache."""
    streams = 1 if options.unified else max(options.parallel, 1)
    n_ctx = padded(options.n_ctx or shape.n_ctx_train or _USUAL_CTX)
    cells = padded(n_ctx // streams)
    window = max((layer.window or 0 for layer in shape.layers), default=0)
    together = max(options.parallel, 1) if options.unified else 1
    windowed = min(cells, padded(window * together + _tokens(cells * streams, options)))
    return Cache(cells, cells if options.swa_full or not window else windowed, streams)


def llama_need(shape: ModelShape, options: LlamaOptions, *, gpu_layers: int) -> Need:
    """The need with the last `gpu_layers` layers on the GPU; one more than there are puts the output there too.

    Without a GPU (0 layers) all is in main memory.
    """
    cache = cache_of(shape, options)
    count = shape.layer_count
    on_gpu = min(max(gpu_layers, 0), count + 1)
    first = max(count + 1 - on_gpu, 0) if on_gpu else count
    output_on_gpu = on_gpu > 0
    gpu: dict[str, int] = {}
    host: dict[str, int] = {}
    # A tied model needs its table of tokens in both places: the GPU computes the output, main memory feeds the input.
    copied = shape.embedding_bytes if shape.tied and output_on_gpu else 0
    gpu["weights"] = sum(layer.weight_bytes for layer in shape.layers[first:]) + (
        shape.output_bytes + copied if output_on_gpu else 0
    )
    host["weights"] = shape.weight_bytes + copied - gpu["weights"]
    host["repacked"] = sum(layer.repacked_bytes for layer in shape.layers[:first]) + (
        0 if output_on_gpu else shape.output_repacked_bytes
    )
    kv_first = first if options.cache_on_gpu else count
    gpu["kv_cache"] = sum(layer_kv_bytes(layer, cache, options) for layer in shape.layers[kv_first:]) * shape.cached
    host["kv_cache"] = sum(layer_kv_bytes(layer, cache, options) for layer in shape.layers[:kv_first]) * shape.cached
    state = [layer.state_values * _F32 * max(options.parallel, 1) for layer in shape.layers]
    gpu["state"], host["state"] = sum(state[first:]), sum(state[:first])
    batch = batch_of(cache, options)
    compute = compute_bytes(shape, batch)
    gpu["compute"] = compute if on_gpu else 0
    host["compute"] = input_bytes(shape, batch) if on_gpu > count else compute
    host["output"] = output_bytes(shape, cache, options)
    gpu["projector"] = shape.projector_bytes if on_gpu else 0
    host["projector"] = 0 if on_gpu else shape.projector_bytes
    gpu["runtime"] = RUNTIME_BYTES if on_gpu else 0
    return Need(*({name: size for name, size in place.items() if size > 0} for place in (gpu, host)))


def layer_kv_bytes(layer: LayerShape, cache: Cache, options: LlamaOptions) -> int:
    """Bytes of KV cache of one layer over all streams."""
    cells = cache.window_cells if layer.window else cache.cells
    key, value = (Fraction(KV_BITS.get(kind, 16)) / 8 for kind in (options.key_type, options.value_type))
    return ceil(cells * cache.streams * (layer.key_values * key + layer.value_values * value))


def batch_of(cache: Cache, options: LlamaOptions) -> Batch:
    tokens = _tokens(options.n_ctx or cache.n_ctx, options)
    return Batch(
        tokens=tokens,
        outputs=tokens if options.every_output else min(max(options.parallel, 1), tokens),
        cells=cache.cells,
        window_cells=cache.window_cells,
        flash=options.flash,
        pooled=options.pooled,
    )


def output_bytes(shape: ModelShape, cache: Cache, options: LlamaOptions) -> int:
    """The buffer from which logits, and embeddings where they are served, are read."""
    rows = max(options.parallel, 1)
    return rows * (shape.vocab_size + (shape.embedding_length if options.every_output else 0)) * _F32


def _tokens(n_ctx: int, options: LlamaOptions) -> int:
    return max(min(options.n_ubatch, options.n_batch, n_ctx), 1)
