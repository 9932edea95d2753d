"""Finds the shape of a model from its files: what the fit estimate computes with."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from quarterdeck.registry.gguf import GgufHeader, TensorInfo
from quarterdeck.registry.parts import read_model
from quarterdeck.schemas.shape import LayerShape, ModelShape

MOST_LAYERS = 4096
_LAYER = re.compile(r"(?:^|\.)blk\.(\d+)\.")
_AT_THE_START = ("token_embd", "token_types", "position_embd", "per_layer_token_embd", "per_layer_model_proj")

# Types of which llama.cpp keeps a second copy in another order when the processor computes with them.
_REPACKED = frozenset({"Q4_0", "Q4_K", "IQ4_NL", "Q2_K"})

# Every n-th layer looks at the whole context, the others through a sliding window.
_PERIODS = {
    "gemma2": 2, "gemma3": 6, "gemma3n": 5, "cohere2": 4, "llama4": 4, "gpt-oss": 2, "exaone4": 4, "exaone-moe": 4,
    "afmoe": 4, "olmo2": 4, "smallthinker": 4,
}  # fmt: skip
_FIRST_IS_FULL = ("smallthinker",)
_USUAL_WINDOWS = {"gemma2": 4096, "llama4": 8192}
_GEMMA3N_OWN_CACHES = 20

_ENCODERS = frozenset({
    "bert", "jina-bert-v2", "jina-bert-v3", "nomic-bert", "nomic-bert-moe", "neo-bert", "modern-bert",
    "gemma-embedding", "t5encoder", "dream", "llada", "llada-moe",
})  # fmt: skip
_ALL_RECURRENT = frozenset({"mamba", "mamba2", "rwkv6", "rwkv6qwen2", "rwkv7", "arwkv7"})
_BOTH_IN_EACH = frozenset({"falcon-h1"})
_EVERY_FOURTH_ATTENDS = frozenset({"qwen3next", "qwen35", "qwen35moe"})


def shape_of(path: Path) -> ModelShape:
    """The shape of a GGUF model, split or not, or of a folder of safetensors (blocking).

    Raises AppError as `read_model` and `read_folder` do.
    """
    if path.is_dir():
        from quarterdeck.registry.safetensors import read_folder
        from quarterdeck.registry.shapes_config import shape_of_folder

        return shape_of_folder(read_folder(path))
    return shape_of_header(read_model(path))


def shape_of_header(header: GgufHeader) -> ModelShape:
    return _Reader(header).shape()


class _Reader:
    def __init__(self, header: GgufHeader) -> None:
        self._header = header
        self._architecture = header.architecture
        self._facts: Mapping[str, object] = header.facts
        self._tensors = {tensor.name: tensor for tensor in header.tensors}
        self._embedding = self._whole("embedding_length")

    def shape(self) -> ModelShape:
        by_layer, repacked, at_start, at_end = self._weights()
        output = self._tensors.get("output.weight", embedding := self._tensors.get("token_embd.weight"))
        count = self._layer_count(by_layer)
        dimensions = embedding.shape if embedding and len(embedding.shape) == 2 else (0, 0)
        experts = self._whole("expert_count")
        return ModelShape(
            architecture=self._architecture,
            layers=tuple(self._layer(number, count, by_layer[number], repacked[number]) for number in range(count)),
            embedding_length=self._embedding or dimensions[0],
            vocab_size=dimensions[1] or self._whole("vocab_size"),
            embedding_bytes=at_start,
            output_bytes=at_end,
            file_bytes=self._header.size_bytes,
            n_ctx_train=self._header.context_length or None,
            tied="output.weight" not in self._tensors and self._architecture not in _ENCODERS,
            cached=self._architecture not in _ENCODERS,
            experts_used=self._whole("expert_used_count"),
            expert_ffn_length=self._whole("expert_feed_forward_length") or self._each("feed_forward_length", 0)
            if experts
            else 0,
            shared_ffn_length=self._shared_length(),
            inner_length=self._whole("ssm.inner_size"),
            output_repacked_bytes=output.bytes if output and _is_repacked(output) else 0,
        )

    def _weights(self) -> tuple[dict[int, int], dict[int, int], int, int]:
        """Bytes by layer, those of them that are repacked, before the first and after the last."""
        by_layer: dict[int, int] = defaultdict(int)
        repacked: dict[int, int] = defaultdict(int)
        at_start = at_end = 0
        for tensor in self._header.tensors:
            if found := _LAYER.search(tensor.name):
                by_layer[int(found[1])] += tensor.bytes
                repacked[int(found[1])] += tensor.bytes if _is_repacked(tensor) else 0
            elif tensor.name.startswith(_AT_THE_START):
                at_start += tensor.bytes
            else:
                at_end += tensor.bytes
        return by_layer, repacked, at_start, at_end

    def _layer_count(self, numbers: Iterable[int]) -> int:
        stated = self._whole("block_count")
        highest = max((number + 1 for number in numbers), default=0)
        return min(max(stated, highest), MOST_LAYERS)

    def _layer(self, number: int, count: int, weight_bytes: int, repacked_bytes: int) -> LayerShape:
        recurrent, attends = self._kind(number)
        # Layers that only predict further tokens, and layers that read the cache of an earlier one, have none.
        own_cache = number < count - self._whole("nextn_predict_layers") and number < self._own_caches(count)
        window = self._window(number, count)
        heads = self._each("attention.head_count", number)
        kv_heads = self._each("attention.head_count_kv", number, default=heads)
        key, value = self._head_lengths(heads, windowed=window is not None)
        return LayerShape(
            weight_bytes=weight_bytes,
            repacked_bytes=repacked_bytes,
            heads=heads if attends else 0,
            kv_heads=kv_heads if attends and own_cache else 0,
            key_length=key,
            value_length=value,
            latent=self._whole("attention.key_length_mla") > 0,
            window=window if attends else None,
            state_values=self._state() if recurrent else 0,
            ffn_length=self._each("feed_forward_length", number),
            experts=self._whole("expert_count") if f"blk.{number}.ffn_gate_inp.weight" in self._tensors else 0,
        )

    def _kind(self, number: int) -> tuple[bool, bool]:
        """Whether the layer keeps a state, and whether it attends."""
        if self._architecture in _ALL_RECURRENT:
            return True, False
        if self._architecture in _BOTH_IN_EACH:
            return True, True
        if self._architecture in _EVERY_FOURTH_ATTENDS:
            attends = (number + 1) % (self._whole("full_attention_interval") or 4) == 0
            return not attends, attends
        attends = self._each("attention.head_count_kv", number, default=self._each("attention.head_count", number)) > 0
        keeps_state = bool(self._whole("ssm.conv_kernel") or self._whole("shortconv.l_cache"))
        return keeps_state and not attends, attends

    def _head_lengths(self, heads: int, *, windowed: bool) -> tuple[int, int]:
        usual = self._embedding // heads if heads else 0
        key = self._whole("attention.key_length") or usual
        value = self._whole("attention.value_length") or usual
        if windowed:
            key = self._whole("attention.key_length_swa") or key
            value = self._whole("attention.value_length_swa") or value
        return key, value

    def _own_caches(self, count: int) -> int:
        """How many layers, from the first, have a cache of their own."""
        if shared := self._whole("attention.shared_kv_layers"):
            return count - shared
        return min(count, _GEMMA3N_OWN_CACHES) if self._architecture == "gemma3n" else count

    def _window(self, number: int, count: int) -> int | None:
        window = self._whole("attention.sliding_window") or _USUAL_WINDOWS.get(self._architecture, 0)
        pattern = self._fact("attention.sliding_window_pattern")
        if not window or (self._architecture == "exaone4" and count != 64):
            return None
        if isinstance(pattern, tuple):
            return window if number < len(pattern) and pattern[number] else None
        period = pattern if isinstance(pattern, int) and pattern > 0 else _PERIODS.get(self._architecture, 1)
        full = 0 if self._architecture in _FIRST_IS_FULL else period - 1
        return window if number % period != full else None

    def _state(self) -> int:
        """Values that a recurrent layer keeps for each sequence."""
        if head := self._whole("wkv.head_size"):
            return self._embedding * ((self._whole("token_shift_count") or 2) + head)
        if kernel := self._whole("shortconv.l_cache"):
            return self._embedding * (kernel - 1)
        inner, state = self._whole("ssm.inner_size"), self._whole("ssm.state_size")
        width = inner + 2 * self._whole("ssm.group_count") * state
        return max(self._whole("ssm.conv_kernel") - 1, 0) * width + inner * state

    def _shared_length(self) -> int:
        if not any(name.endswith("ffn_up_shexp.weight") for name in self._tensors):
            return 0
        stated = self._whole("expert_shared_feed_forward_length")
        return stated or (self._whole("expert_shared_count") or 1) * self._whole("expert_feed_forward_length")

    def _fact(self, key: str) -> object:
        return self._facts.get(f"{self._architecture}.{key}")

    def _whole(self, key: str) -> int:
        """A whole number of the header, the largest where it differs by layer; 0 when it is not there."""
        value = self._fact(key)
        if isinstance(value, tuple):
            return max((_checked(item) for item in value), default=0)
        return _checked(value)

    def _each(self, key: str, number: int, *, default: int = 0) -> int:
        """The same for one layer."""
        value = self._fact(key)
        if isinstance(value, tuple):
            return _checked(value[number]) if number < len(value) else default
        return default if value is None else _checked(value)


def _is_repacked(tensor: TensorInfo) -> bool:
    return tensor.type in _REPACKED and len(tensor.shape) > 1 and tensor.shape[1] % 8 == 0


def _checked(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 40 else 0
