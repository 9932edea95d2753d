"""Whether a model will fit: its shape, the parts of its memory, and predicted against measured."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Verdict(StrEnum):
    """`fits` with room to spare, `tight` with little, `spills` into main memory (slower), `too_big`, or unknown."""

    FITS = "fits"
    TIGHT = "tight"
    SPILLS = "spills"
    TOO_BIG = "too_big"
    UNKNOWN = "unknown"


class MemoryPart(BaseModel):
    """One part of the need, in bytes; `name` is stable (`weights`, `kv_cache`, `compute`, `cuda_graphs` …)."""

    name: str
    label: str
    bytes: int


class MemoryHolder(BaseModel):
    """Somebody who holds GPU memory now, in bytes."""

    name: str
    bytes: int
    pid: int | None = None
    model: str | None = None


class LaunchAdvice(BaseModel):
    """A pair of vLLM options that will start on this card now."""

    gpu_memory_utilization: float
    max_model_len: int


class Comparison(BaseModel):
    """One real load: what was predicted and what was measured, in bytes."""

    at: datetime
    predicted_bytes: int
    measured_bytes: int
    n_ctx: int | None = None


class Estimate(BaseModel):
    """The memory a load needs, in bytes. `fits` says whether all of it goes to the GPU, and is null without one.

    Weights, KV cache (with constant states) and compute (with all that an engine takes besides) add up to the total,
    and so do the parts. `host_bytes` of the total lie in main memory even when all layers are on the GPU, or because
    they do not fit there. `claim_bytes` is what the engine takes at once (vLLM: utilisation × total), `total_bytes`
    what it needs. `applied` are options that Quarterdeck adds to the start because nobody chose them and the engine's
    own would fail; the estimate counts with them.
    `free_bytes` counts what other processes hold. `correction` is the factor learned from real loads, already applied.
    """

    model: str
    backend: str
    weights_bytes: int
    kv_cache_bytes: int
    compute_bytes: int
    total_bytes: int
    host_bytes: int = 0
    claim_bytes: int | None = None
    free_bytes: int | None = None
    host_free_bytes: int | None = None
    card_bytes: int | None = None
    fits: bool | None = None
    verdict: Verdict = Verdict.UNKNOWN
    sentence: str = ""
    hint: str = ""
    parts: list[MemoryPart] = Field(default_factory=list)
    holders: list[MemoryHolder] = Field(default_factory=list)
    n_ctx: int | None = None
    parallel: int = 1
    kv_type: str = "f16"
    gpu_layers: int | None = None
    layer_count: int | None = None
    max_ctx_that_fits: int | None = None
    advice: LaunchAdvice | None = None
    applied: dict[str, int | float] = Field(default_factory=dict)
    correction: float = 1.0
    history: list[Comparison] = Field(default_factory=list)


class EstimateRequest(BaseModel):
    """Asks for an estimate of a registered model or of a file; `load_config` as in a load (JSON text or object)."""

    model_config = ConfigDict(extra="forbid")

    model_name: str | None = None
    path: str | None = None
    backend: str | None = None
    load_config: str | dict[str, Any] | None = None
    n_ctx: int | None = None
    parallel: int | None = None
    kv_type: str | None = None
