"""NVML's numbers in the units of GpuSample; a value that cannot be right becomes None."""

from __future__ import annotations

from quarterdeck.schemas.hardware import GpuSample

MOVING_VALUES = ("utilization", "memory_used", "temperature", "power")
_COLDEST, _HOTTEST = -60, 200
_MOST_WATTS = 20_000


def percent(value: int) -> float | None:
    return float(value) if 0 <= value <= 100 else None


def memory(used: int, total: int) -> tuple[int | None, int | None]:
    """(used, total) in bytes; a total of 0 means that the card has no memory of its own."""
    if total <= 0:
        return None, None
    return (used if 0 <= used <= total else None), total


def add(one: int | None, other: int | None) -> int | None:
    """The sum of two amounts; None when one of them is not known."""
    return None if one is None or other is None else one + other


def celsius(value: int) -> float | None:
    return float(value) if _COLDEST <= value <= _HOTTEST else None


def watts(milliwatts: int) -> float | None:
    """NVML uses the largest 32-bit number for “not available”, which is far above any card."""
    value = milliwatts / 1000
    return round(value, 1) if 0 <= value <= _MOST_WATTS else None


def without_values(gpu: GpuSample, reason: str) -> GpuSample:
    """The same GPU with its moving values taken out for `reason`; what it is and earlier reasons stay."""
    lasting = [name for name in ("memory_total", "power_limit") if getattr(gpu, name) is None]
    missing = {**dict.fromkeys((*MOVING_VALUES, *lasting), reason), **gpu.unavailable}
    return gpu.model_copy(update={**dict.fromkeys(MOVING_VALUES), "unavailable": missing})
