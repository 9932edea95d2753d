"""What of a load_config changes the memory, under whatever name the backend gives it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

# Bits of one value of the KV cache, scales included.
KV_BITS: Mapping[str, float] = {
    "f32": 32, "f16": 16, "bf16": 16, "auto": 16, "float16": 16, "bfloat16": 16, "float32": 32, "half": 16,
    "q8_0": 8.5, "q5_1": 6, "q5_0": 5.5, "q4_1": 5, "q4_0": 4.5, "iq4_nl": 4.5, "fp8": 8, "fp8_e4m3": 8, "fp8_e5m2": 8,
    "fp8_inc": 8, "fp8_ds_mla": 9.1,
}  # fmt: skip

EMBEDDED, LLAMA_SERVER, OLLAMA, VLLM = "embedded", "llama-server", "ollama", "vllm"
_CELLS = 256


@dataclass(frozen=True, slots=True)
class LlamaOptions:
    """How llama.cpp is started. `n_ctx` of 0 takes the model's own; `gpu_layers` of null lets the engine decide.

    `n_ctx` is shared by `parallel` requests, each with its part of it unless `unified`. `every_output` is set when each
    token of a batch gives an output, as it does when embeddings are served too.
    """

    n_ctx: int = 0
    parallel: int = 1
    unified: bool = False
    key_type: str = "f16"
    value_type: str = "f16"
    n_batch: int = 2048
    n_ubatch: int = 512
    flash: bool = True
    swa_full: bool = False
    gpu_layers: int | None = None
    cache_on_gpu: bool = True
    every_output: bool = False
    pooled: bool = False
    main_gpu: int | None = None

    def with_context(self, n_ctx: int) -> LlamaOptions:
        return replace(self, n_ctx=n_ctx)


@dataclass(frozen=True, slots=True)
class VllmOptions:
    """How vLLM is started. `max_model_len` of 0 takes the model's own; memory shares are 0..1, sizes in bytes.

    `given` names the options that were given among those whose default depends on the card.
    """

    max_model_len: int = 0
    utilization: float = 0.92
    max_num_seqs: int = 256
    batched_tokens: int = 2048
    tensor_parallel: int = 1
    kv_type: str = "auto"
    dtype: str = "auto"
    quantization: str | None = None
    eager: bool = False
    block_size: int = 16
    offload_bytes: int = 0
    given: frozenset[str] = frozenset()

    def with_context(self, max_model_len: int) -> VllmOptions:
        return replace(self, max_model_len=max_model_len)


def llama_options(load_config: Mapping[str, Any], backend: str, *, usual_ctx: int = 0) -> LlamaOptions:
    """The options of a llama.cpp engine, with the defaults of `backend`; unknown and unusable values are passed over.

    `usual_ctx` is the context length when none is given.
    """
    config = _Config(load_config)
    parallel = config.whole("n_parallel", "parallel", "num_parallel", "np")
    # The server binary serves four requests side by side from one cache unless it is told otherwise.
    shared = backend == LLAMA_SERVER and parallel <= 0
    every_output = config.switch("embeddings", "embedding", default=backend == EMBEDDED)
    n_ubatch = config.whole("n_ubatch", "ubatch_size", default=512)
    key_type = config.text("cache_type_k", "kv_type", "kv_cache_type", default="f16")
    gpu_layers = config.number("n_gpu_layers", "gpu_layers", "ngl", "num_gpu", default=-1)
    return LlamaOptions(
        n_ctx=config.whole("n_ctx", "ctx_size", "context_length", "num_ctx", "c", default=usual_ctx),
        parallel=parallel or (4 if shared else 1),
        unified=config.switch("kv_unified", default=shared),
        key_type=key_type,
        value_type=config.text("cache_type_v", "kv_type", "kv_cache_type", default="f16"),
        n_batch=n_ubatch if every_output else config.whole("n_batch", "batch_size", "num_batch", default=2048),
        n_ubatch=n_ubatch,
        flash=config.text("flash_attention", "flash_attn", "fa", default="auto") != "off",
        swa_full=config.switch("swa_full", default=False),
        gpu_layers=None if gpu_layers < 0 else int(gpu_layers),
        cache_on_gpu=not config.switch("no_kv_offload", default=False),
        every_output=every_output,
        pooled=every_output and config.text("pooling", default="mean" if backend == EMBEDDED else "none") != "none",
        main_gpu=config.whole("main_gpu") if config.text("split_mode", default="layer") == "none" else None,
    )


def vllm_options(load_config: Mapping[str, Any]) -> VllmOptions:
    """The options of vLLM; unknown and unusable values are passed over."""
    config = _Config(load_config)
    usual = VllmOptions()
    utilization = config.number("gpu_memory_utilization", default=usual.utilization)
    return VllmOptions(
        max_model_len=config.whole("max_model_len", "n_ctx", "context_length"),
        utilization=utilization if 0 < utilization <= 1 else usual.utilization,
        max_num_seqs=config.whole("max_num_seqs", "n_parallel", "parallel", default=usual.max_num_seqs),
        batched_tokens=config.whole("max_num_batched_tokens", default=usual.batched_tokens),
        tensor_parallel=config.whole("tensor_parallel_size", "tp", default=1),
        kv_type=config.text("kv_cache_dtype", "kv_type", default="auto"),
        dtype=config.text("dtype", default="auto"),
        quantization=config.text("quantization", default="") or None,
        eager=config.switch("enforce_eager", default=False),
        block_size=config.whole("block_size", default=usual.block_size),
        offload_bytes=int(config.number("cpu_offload_gb", default=0) * (1 << 30)),
        given=frozenset(
            name
            for name, key in (("max_num_seqs", "max_num_seqs"), ("batched_tokens", "max_num_batched_tokens"))
            if config.whole(key)
        ),
    )


def padded(cells: int) -> int:
    """llama.cpp rounds its cache sizes up to this many cells."""
    return -(-cells // _CELLS) * _CELLS


class _Config:
    def __init__(self, load_config: Mapping[str, Any]) -> None:
        extra = load_config.get("extra_args")
        further = extra if isinstance(extra, dict) else {}
        self._values = {
            str(key).lstrip("-").replace("-", "_"): value for key, value in {**further, **load_config}.items()
        }

    def number(self, *names: str, default: float) -> float:
        for name in names:
            value = self._values.get(name)
            if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1 << 48:
                return value
        return default

    def whole(self, *names: str, default: int = 0) -> int:
        value = self.number(*names, default=default)
        return int(value) if value > 0 else default

    def text(self, *names: str, default: str) -> str:
        for name in names:
            value = self._values.get(name)
            if isinstance(value, str) and value.strip():
                return value.strip().lower()
            if isinstance(value, bool):
                return "on" if value else "off"
        return default

    def switch(self, *names: str, default: bool) -> bool:
        for name in names:
            value = self._values.get(name)
            if isinstance(value, bool):
                return value
        return default
