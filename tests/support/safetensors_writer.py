"""Writes small safetensors files and model folders for tests."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

BITS = {"F32": 32, "BF16": 16, "F16": 16, "I32": 32, "U8": 8, "F8_E4M3": 8}
Tensors = Mapping[str, tuple[str, tuple[int, ...]]]

CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "dtype": "bfloat16",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 100,
    "max_position_embeddings": 2048,
    "tie_word_embeddings": False,
}


def safetensors_bytes(tensors: Tensors) -> bytes:
    """A whole file of zeros; values are (dtype, shape)."""
    table: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, (dtype, shape) in tensors.items():
        size = math.prod(shape) * BITS[dtype] // 8
        table[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [end, end + size]}
        end += size
    head = json.dumps(table).encode()
    return struct.pack("<Q", len(head)) + head + bytes(end)


def layer(number: int, dtype: str = "BF16", prefix: str = "model.layers") -> Tensors:
    """The tensors of a layer of the model of CONFIG."""
    sizes = {
        "input_layernorm": (64,), "self_attn.q_proj": (64, 64), "self_attn.k_proj": (32, 64),
        "self_attn.v_proj": (32, 64), "self_attn.o_proj": (64, 64), "post_attention_layernorm": (64,),
        "mlp.gate_proj": (128, 64), "mlp.up_proj": (128, 64), "mlp.down_proj": (64, 128),
    }  # fmt: skip
    return {f"{prefix}.{number}.{name}.weight": (dtype, shape) for name, shape in sizes.items()}


def whole(dtype: str = "BF16") -> Tensors:
    """All tensors of the model of CONFIG."""
    ends = {"model.embed_tokens.weight": (dtype, (100, 64)), "model.norm.weight": (dtype, (64,))}
    return {**ends, "lm_head.weight": (dtype, (100, 64)), **layer(0, dtype), **layer(1, dtype)}


def write_folder(
    folder: Path, config: Mapping[str, Any] | None = None, tensors: Tensors | None = None, *, template: bool = True
) -> Path:
    """Write a model of one weight file into `folder`; `config` adds to CONFIG, null values take away."""
    folder.mkdir(parents=True, exist_ok=True)
    merged = {key: value for key, value in {**CONFIG, **(config or {})}.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(merged))
    (folder / "model.safetensors").write_bytes(safetensors_bytes(whole() if tensors is None else tensors))
    if template:
        (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ messages }}"}))
    return folder
