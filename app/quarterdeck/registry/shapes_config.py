"""Finds the shape of a safetensors model from its configuration and the headers of its weights."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from quarterdeck.registry.safetensors import FolderHeader, text_config
from quarterdeck.schemas.shape import LayerShape, ModelShape

MOST_LAYERS = 4096
_LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks|layer)\.(\d+)\.")
_PICTURES = re.compile(
    r"(?:^|\.)(?:visual|vision_\w+|audio_\w+|multi_modal_projector|mm_projector|image_newline)(?:\.|$)"
)
_AT_THE_START = re.compile(r"(?:^|\.)(?:embed_tokens|wte|wpe|word_embeddings|embeddings|tok_embeddings)(?:\.|_|$)")


def shape_of_folder(header: FolderHeader) -> ModelShape:
    config = text_config(header.config)
    by_layer, at_start, at_end, pictures = _weights(header)
    stated = _whole(config, "num_hidden_layers", "n_layer", "n_layers", "num_layers")
    count = min(max(stated, max((number + 1 for number in by_layer), default=0)), MOST_LAYERS)
    return ModelShape(
        architecture=header.architecture,
        layers=tuple(_layer(config, number, by_layer[number]) for number in range(count)),
        embedding_length=_whole(config, "hidden_size", "n_embd", "d_model"),
        vocab_size=_whole(config, "vocab_size"),
        embedding_bytes=at_start,
        output_bytes=at_end,
        file_bytes=header.size_bytes,
        n_ctx_train=header.context_length,
        tied=bool(config.get("tie_word_embeddings", header.config.get("tie_word_embeddings", False))),
        cached=not header.embeds or _whole(config, "num_key_value_heads", "num_kv_heads") > 0,
        projector_bytes=pictures,
        experts_used=_whole(config, "num_experts_per_tok", "num_experts_per_token", "moe_k"),
        expert_ffn_length=_whole(config, "moe_intermediate_size"),
        shared_ffn_length=_whole(config, "shared_expert_intermediate_size"),
        inner_length=_inner(config),
        quantization=header.quantization,
        dtype=header.dtype,
    )


def _weights(header: FolderHeader) -> tuple[dict[int, int], int, int, int]:
    """Bytes by layer, before the first, after the last, and of what looks at pictures."""
    by_layer: dict[int, int] = defaultdict(int)
    at_start = at_end = pictures = 0
    for tensor in header.tensors:
        if _PICTURES.search(tensor.name):
            pictures += tensor.bytes
        elif found := _LAYER.search(tensor.name):
            by_layer[min(int(found[1]), MOST_LAYERS)] += tensor.bytes
        elif _AT_THE_START.search(tensor.name):
            at_start += tensor.bytes
        else:
            at_end += tensor.bytes
    return by_layer, at_start, at_end, pictures


def _layer(config: Mapping[str, Any], number: int, weight_bytes: int) -> LayerShape:
    kind = _kind(config, number)
    heads = _whole(config, "num_attention_heads", "n_head", "n_heads")
    kv_heads = (
        1 if config.get("multi_query") is True else _whole(config, "num_key_value_heads", "num_kv_heads") or heads
    )
    length = _whole(config, "head_dim") or (_whole(config, "hidden_size", "n_embd", "d_model") // heads if heads else 0)
    key, value = length, length
    latent = _whole(config, "kv_lora_rank")
    if latent:
        kv_heads, key, value = 1, latent + _whole(config, "qk_rope_head_dim"), latent
    attends = kind != "linear"
    return LayerShape(
        weight_bytes=weight_bytes,
        heads=heads if attends else 0,
        kv_heads=kv_heads if attends else 0,
        key_length=key,
        value_length=value,
        latent=latent > 0,
        window=_whole(config, "sliding_window") or None if kind == "window" else None,
        state_values=_state(config) if not attends else 0,
        ffn_length=_whole(config, "intermediate_size", "n_inner") or 4 * _whole(config, "hidden_size", "n_embd"),
        experts=_whole(config, "num_local_experts", "num_experts", "n_routed_experts"),
    )


def _kind(config: Mapping[str, Any], number: int) -> str:
    """`full`, `window` or `linear`: how the layer looks back."""
    types = config.get("layer_types") or config.get("layers_block_type")
    if isinstance(types, list) and number < len(types):
        name = str(types[number])
        if "sliding" in name or "chunked" in name:
            return "window"
        return "full" if "attention" in name and "linear" not in name else "linear"
    if period := _whole(config, "attn_layer_period"):
        return "full" if number % period == _whole(config, "attn_layer_offset") else "linear"
    if not _whole(config, "num_attention_heads", "n_head", "n_heads") and config.get("state_size"):
        return "linear"
    if not _whole(config, "sliding_window") or config.get("use_sliding_window") is False:
        return "full"
    period = _whole(config, "sliding_window_pattern")
    if not period and str(config.get("model_type", "")).startswith(("gemma2", "gemma3")):
        period = 2 if config["model_type"] == "gemma2" else 6
    return "full" if period and (number + 1) % period == 0 else "window"


def _state(config: Mapping[str, Any]) -> int:
    """Values that a recurrent layer keeps for each sequence."""
    if value_heads := _whole(config, "linear_num_value_heads"):
        value, key = _whole(config, "linear_value_head_dim"), _whole(config, "linear_key_head_dim")
        width = 2 * _whole(config, "linear_num_key_heads") * key + value_heads * value
        return (_whole(config, "linear_conv_kernel_dim") or 4) * width + value_heads * value * key
    inner = _inner(config)
    state = _whole(config, "state_size", "mamba_d_state", "ssm_state_size")
    return inner * (state + (_whole(config, "conv_kernel", "mamba_d_conv") or 4))


def _inner(config: Mapping[str, Any]) -> int:
    if not any(config.get(key) for key in ("state_size", "mamba_d_state", "ssm_state_size", "linear_num_value_heads")):
        return 0
    stated = _whole(config, "mamba_d_inner", "d_inner")
    return stated or (_whole(config, "expand", "mamba_expand") or 2) * _whole(config, "hidden_size", "d_model")


def _whole(config: Mapping[str, Any], *keys: str) -> int:
    for key in keys:
        value = config.get(key)
        if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 40:
            return value
    return 0
