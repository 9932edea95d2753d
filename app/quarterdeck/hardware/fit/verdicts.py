"""What the verdicts of all engines have in common: parts under their labels, and when it is tight."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quarterdeck.hardware.fit.room import Room, spoken
from quarterdeck.schemas.estimate import Estimate, MemoryPart, Verdict

LABELS: Mapping[str, str] = {
    "weights": "Weights",
    "repacked": "Weights rearranged for the processor",
    "projector": "Image projector",
    "kv_cache": "KV cache",
    "state": "Recurrent state",
    "compute": "Compute buffer",
    "output": "Output buffer",
    "cuda_graphs": "CUDA graphs",
    "runtime": "Driver and engine",
}
_WEIGHTS, _CACHE = ("weights", "repacked", "projector"), ("kv_cache", "state")
_LEAST_LEFT = 1 << 30
_LEAST_SHARE_LEFT = 0.1


def is_tight(need: int, free: int) -> bool:
    """Whether little is left: less than 1 GiB, or less than a tenth of the need (as much as an estimate may be off)."""
    return free - need < max(_LEAST_LEFT, need * _LEAST_SHARE_LEFT)


def sums(parts: Mapping[str, int]) -> dict[str, Any]:
    """The fields of an estimate that follow from its parts."""
    weights, cache = (sum(parts.get(name, 0) for name in names) for names in (_WEIGHTS, _CACHE))
    total = sum(parts.values())
    return {
        "weights_bytes": weights,
        "kv_cache_bytes": cache,
        "compute_bytes": total - weights - cache,
        "total_bytes": total,
        "parts": [
            MemoryPart(name=name, label=label, bytes=parts[name]) for name, label in LABELS.items() if parts.get(name)
        ],
    }


def room_fields(room: Room) -> dict[str, Any]:
    return {
        "free_bytes": room.free if room.cards else None,
        "card_bytes": room.total if room.cards else None,
        "host_free_bytes": room.host_free,
    }


def estimate_by_size(size_bytes: int, room: Room, *, model: str, backend: str) -> Estimate:
    """What can be said of a model of which nothing but the size of its files is known."""
    too_big = bool(room.cards) and size_bytes > room.free + room.host_free
    too_big = too_big or size_bytes > room.total + room.host_total
    return Estimate(
        model=model,
        backend=backend,
        **sums({"weights": size_bytes}),
        **room_fields(room),
        fits=False if room.cards and size_bytes > room.free else None,
        verdict=Verdict.TOO_BIG if too_big else Verdict.UNKNOWN,
        sentence=f"Its weights alone take {spoken(size_bytes)}; what comes on top is not known.",
        hint="The files of the model cannot be read from here, so that only their size is known.",
    )
