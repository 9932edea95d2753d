"""What vLLM claims, what it needs, and with which settings it starts on a card now.

vLLM takes `gpu_memory_utilization` of the card whatever the model is: that is the claim, and it must be free when the
server starts. Inside the claim must fit the weights, the peak of one profiling pass, the CUDA graphs, what the driver
takes, and the KV cache of at least one request of full length: that is the need.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, floor
from typing import Any

from quarterdeck.hardware.fit.options import KV_BITS, VllmOptions
from quarterdeck.hardware.fit.room import Card
from quarterdeck.schemas.estimate import LaunchAdvice
from quarterdeck.schemas.shape import LayerShape, ModelShape

_GIB, _MIB = 1 << 30, 1 << 20
_USUAL_CTX = 4096
HIGHEST_UTILIZATION = 0.95
SMALLEST_CTX = 256
_CTX_STEP = 256

RUNTIME_BYTES = 600 * _MIB
_BETWEEN_CARDS_BYTES = 500 * _MIB
_GRAPHS_BASE, _GRAPHS_PER_LAYER = 256 * _MIB, 8 * _MIB
# Of each logit the sampler keeps the number itself, a sorted copy and a probability.
_SAMPLER_BYTES = 12
_STORED_BITS = {"float32": 32, "float16": 16, "bfloat16": 16, "half": 16, "float": 32}
_WHILE_LOADING = {"fp8": 0.52, "bitsandbytes": 0.32, "experts_int8": 0.55}
# What stands for "not quantised" in the header of a folder.
_PLAIN = frozenset({None, "F32", "F16", "BF16"})


@dataclass(frozen=True)
class VllmNeed:
    """Bytes on each card: parts by name, and the claim."""

    parts: dict[str, int]
    claim: int

    @property
    def total_bytes(self) -> int:
        return sum(self.parts.values())

    @property
    def for_cache(self) -> int:
        """What the claim leaves for the KV cache; negative when the rest alone is more than the claim."""
        return self.claim - self.total_bytes + self.parts["kv_cache"]


def context_of(shape: ModelShape, options: VllmOptions) -> int:
    return options.max_model_len or shape.n_ctx_train or _USUAL_CTX


def for_card(options: VllmOptions, card_bytes: int) -> VllmOptions:
    """The options with vLLM's own defaults for a card of this size."""
    large = card_bytes >= 70 * _GIB
    changes: dict[str, Any] = {}
    if large and "max_num_seqs" not in options.given:
        changes["max_num_seqs"] = 1024
    if large and "batched_tokens" not in options.given:
        changes["batched_tokens"] = 16384 if card_bytes >= 160 * _GIB else 8192
    return replace(options, **changes) if changes else options


def vllm_need(shape: ModelShape, options: VllmOptions, card_bytes: int, *, correction: float = 1.0) -> VllmNeed:
    """The need on each of the cards. `correction` scales what can only be guessed: the peak, the graphs, the driver."""
    cards = max(options.tensor_parallel, 1)
    weights = max(round(shape_weights(shape, options) / cards) - options.offload_bytes, 0)
    between = _BETWEEN_CARDS_BYTES if cards > 1 else 0
    graphs = 0 if options.eager else _GRAPHS_BASE + _GRAPHS_PER_LAYER * shape.layer_count
    parts = {
        "weights": weights,
        "kv_cache": kv_bytes(shape, options, context_of(shape, options)),
        "compute": round(_peak(shape, options) * correction),
        "cuda_graphs": round(graphs * correction),
        "runtime": round((RUNTIME_BYTES + between) * correction),
    }
    return VllmNeed(parts, floor(card_bytes * options.utilization))


def shape_weights(shape: ModelShape, options: VllmOptions) -> int:
    """Bytes of all weights in the number format in which they are loaded."""
    stored = shape.weight_bytes + shape.projector_bytes
    if shape.quantization not in _PLAIN:
        return stored
    bits = _STORED_BITS.get(shape.dtype or "", 16)
    if shape.quantization == "F32":
        bits = 32
    wanted = _STORED_BITS.get(options.dtype, 16 if bits == 32 else bits)
    return round(stored * wanted / bits * _WHILE_LOADING.get(options.quantization or "", 1.0))


def kv_bytes(shape: ModelShape, options: VllmOptions, tokens: int) -> int:
    """Bytes of KV cache on each card that one request of `tokens` takes."""
    return sum(_layer_kv(layer, options, tokens) for layer in shape.layers) if shape.cached else 0


def _layer_kv(layer: LayerShape, options: VllmOptions, tokens: int) -> int:
    bits = KV_BITS.get(options.kv_type, 16)
    if options.kv_type == "auto":
        bits = _STORED_BITS.get(options.dtype, 16)
    state = layer.state_values * 4
    if not layer.attends:
        return state
    kept = tokens if not layer.window else min(tokens, layer.window - 1 + options.batched_tokens)
    blocks = ceil(kept / options.block_size) + (1 if layer.window and kept < tokens else 0)
    # A latent cache is one row, which every card keeps whole.
    heads = 1 if layer.latent else max(ceil(layer.kv_heads / max(options.tensor_parallel, 1)), 1)
    values = heads * (layer.key_length + (0 if layer.latent else layer.value_length))
    return ceil(blocks * options.block_size * values * bits / 8) + state


def _peak(shape: ModelShape, options: VllmOptions) -> int:
    """The most that one profiling pass holds: the widest layer, or the sampler's copies of the logits."""
    cards = max(options.tensor_parallel, 1)
    ffn = max((layer.ffn_length for layer in shape.layers), default=0)
    if shape.experts_used:
        ffn = max(ffn, (shape.expert_ffn_length or ffn) * shape.experts_used + shape.shared_ffn_length)
    heads = max((layer.heads * layer.key_length + 2 * layer.key_values for layer in shape.layers), default=0)
    tokens = options.batched_tokens
    layer = tokens * (3 * ffn // cards + heads // cards + 4 * shape.embedding_length) * 2
    return max(layer, options.max_num_seqs * shape.vocab_size * _SAMPLER_BYTES)


def advise(shape: ModelShape, options: VllmOptions, card: Card, *, correction: float = 1.0) -> LaunchAdvice | None:
    """The settings that start on `card` now, as close to the wanted ones as it can be; None when nothing does."""
    wanted = context_of(shape, options)
    most = min(_floored(card.free / card.total), HIGHEST_UTILIZATION)
    for utilization in dict.fromkeys((min(options.utilization, most), most)):
        tried = replace(options, utilization=utilization)
        length = longest(shape, tried, card, limit=wanted, correction=correction)
        if length and (length >= wanted or utilization == most):
            return LaunchAdvice(gpu_memory_utilization=utilization, max_model_len=length)
    return None


def longest(shape: ModelShape, options: VllmOptions, card: Card, *, limit: int, correction: float = 1.0) -> int | None:
    """The longest context, up to `limit`, for which the claim of `options` has room; None when none has."""
    need = vllm_need(shape, options.with_context(SMALLEST_CTX), card.total, correction=correction)
    room = need.for_cache
    if need.claim > card.free or options.utilization <= 0:
        return None
    if kv_bytes(shape, options, limit) <= room:
        return limit
    low, high = 0, ceil(limit / _CTX_STEP)
    while high - low > 1:
        middle = (low + high) // 2
        if kv_bytes(shape, options, middle * _CTX_STEP) <= room:
            low = middle
        else:
            high = middle
    return low * _CTX_STEP or None


def _floored(share: float) -> float:
    return floor(share * 100) / 100
