"""How the options of the embedded engine become fields of llama.cpp's parameters."""

from __future__ import annotations

import sys
from typing import Any

# option -> attribute of xllamacpp.CommonParams with the same meaning and unit
_PLAIN = {
    "n_ctx": "n_ctx",
    "n_gpu_layers": "n_gpu_layers",
    "n_batch": "n_batch",
    "n_ubatch": "n_ubatch",
    "n_parallel": "n_parallel",
    "main_gpu": "main_gpu",
    "rope_freq_base": "rope_freq_base",
    "rope_freq_scale": "rope_freq_scale",
    "chat_template": "chat_template",
    "use_jinja": "use_jinja",
    "warmup": "warmup",
    "context_shift": "ctx_shift",
    "kv_unified": "kv_unified",
    "check_tensors": "check_tensors",
    "verbosity": "verbosity",
}


def apply(params: Any, config: dict[str, Any]) -> None:
    """Set `config` on `params`. Leaves the process with a sentence when extra_args names no parameter."""
    import xllamacpp as llama

    embeddings = config.get("embeddings", True)
    params.embedding = embeddings
    if embeddings:
        pooling = str(config.get("pooling", "mean")).upper()
        params.pooling_type = getattr(llama.llama_pooling_type, f"LLAMA_POOLING_TYPE_{pooling}")
    for option, attribute in _PLAIN.items():
        if option in config:
            setattr(params, attribute, config[option])
    _set_threads(params, config)
    _set_choices(params, config, llama)
    for attribute, value in config.get("extra_args", {}).items():
        _set_extra(params, attribute, value)


def _set_threads(params: Any, config: dict[str, Any]) -> None:
    if "n_threads" in config:
        params.cpuparams.n_threads = config["n_threads"]
    if "n_threads_batch" in config:
        params.cpuparams_batch.n_threads = config["n_threads_batch"]


def _set_choices(params: Any, config: dict[str, Any], llama: Any) -> None:
    if "flash_attention" in config:
        word = {"auto": "AUTO", "on": "ENABLED", "off": "DISABLED"}[config["flash_attention"]]
        params.flash_attn_type = getattr(llama.llama_flash_attn_type, f"LLAMA_FLASH_ATTN_TYPE_{word}")
    for option in ("cache_type_k", "cache_type_v"):
        if option in config:
            setattr(params, option, getattr(llama.ggml_type, f"GGML_TYPE_{config[option].upper()}"))
    if "rope_scaling" in config:
        word = config["rope_scaling"].upper()
        params.rope_scaling_type = getattr(llama.llama_rope_scaling_type, f"LLAMA_ROPE_SCALING_TYPE_{word}")
    if "split_mode" in config:
        params.split_mode = getattr(llama.llama_split_mode, f"LLAMA_SPLIT_MODE_{config['split_mode'].upper()}")
    if "load_mode" in config:
        params.load_mode = getattr(llama.llama_load_mode, f"LLAMA_LOAD_MODE_{config['load_mode'].upper()}")
    if "mmproj" in config:
        params.mmproj.path = config["mmproj"]
    if "tensor_split" in config:
        split = list(params.tensor_split)
        split[: len(config["tensor_split"])] = [float(part) for part in config["tensor_split"]]
        params.tensor_split = split


def _set_extra(params: Any, attribute: str, value: Any) -> None:
    if attribute.startswith("_") or not hasattr(params, attribute):
        sys.exit(f"error: extra_args: llama.cpp has no parameter '{attribute}'")
    try:
        setattr(params, attribute, value)
    except (TypeError, ValueError, OverflowError) as error:
        sys.exit(f"error: extra_args: the parameter '{attribute}' refuses {value!r}: {error}")
