"""What the GPU page says about GPUs and host: readings as text, scales of the graphs, the note when NVML is off."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from quarterdeck.gui.presenters.text import GIB, UNKNOWN
from quarterdeck.schemas.hardware import GpuSample, GpuVendor, HostSample, NvmlState, NvmlStatus

NO_REASON = "The driver gives no value for this."
GONE = "This GPU no longer answers. Its last minutes stay on screen."
UUID_TAIL = 8
ROUND_STEPS = (1, 1.5, 2, 2.5, 3, 4, 5, 7.5, 10)
NOTHING_KNOWN = 100.0


class Metric(StrEnum):
    """What one graph shows; the values are names of fields of GpuSample."""

    UTILIZATION = "utilization"
    MEMORY = "memory_used"
    TEMPERATURE = "temperature"
    POWER = "power"


GPU_METRICS = (Metric.UTILIZATION, Metric.MEMORY, Metric.TEMPERATURE, Metric.POWER)
HOST_METRICS = (Metric.UTILIZATION, Metric.MEMORY)
GPU_TITLES = {
    Metric.UTILIZATION: "Utilisation",
    Metric.MEMORY: "VRAM",
    Metric.TEMPERATURE: "Temperature",
    Metric.POWER: "Power",
}
HOST_TITLES = {Metric.UTILIZATION: "CPU", Metric.MEMORY: "Memory"}
UNITS = {Metric.UTILIZATION: "%", Metric.MEMORY: "GiB", Metric.TEMPERATURE: "°C", Metric.POWER: "W"}
# From the first on a value is high, from the second on it is very high.
LIMITS = {Metric.UTILIZATION: (70, 90), Metric.TEMPERATURE: (70, 85)}
TONE_WORDS = {
    (Metric.UTILIZATION, "warn"): "Busy: 70 % or more.",
    (Metric.UTILIZATION, "error"): "Fully used: 90 % or more.",
    (Metric.TEMPERATURE, "warn"): "Warm: 70 °C or more.",
    (Metric.TEMPERATURE, "error"): "Hot: 85 °C or more. Check the fans and the airflow.",
}
DIGITS = {Metric.UTILIZATION: 0, Metric.MEMORY: 1, Metric.TEMPERATURE: 0, Metric.POWER: 0}


class Reading(NamedTuple):
    """One current value: the number in the unit of its graph (NaN when unknown), the text, the tooltip.

    `tone` is a status of the theme, empty for a value that is neither good nor bad.
    """

    value: float
    text: str
    tip: str = ""
    tone: str = ""


class Note(NamedTuple):
    """A calm message on the page; `tone` is a status of the theme, `icon` one of its icons."""

    title: str
    text: str
    hint: str
    tone: str
    icon: str


@dataclass(frozen=True, slots=True)
class Scale:
    """The fixed vertical axis of a graph, from 0 to `top`, with a limit line where there is a limit."""

    top: float
    limit: float | None = None


def number(metric: Metric, value: float) -> str:
    """A value in the unit of its graph, with its unit and a fixed number of decimals; NaN is unknown."""
    if math.isnan(value):
        return UNKNOWN
    return f"{value:.{DIGITS[metric]}f} {UNITS[metric]}"


def gpu_reading(gpu: GpuSample, metric: Metric) -> Reading:
    raw: float | None = getattr(gpu, metric)
    if raw is None or (metric is Metric.MEMORY and not gpu.memory_total and not raw):
        return Reading(math.nan, UNKNOWN, gpu.unavailable.get(metric) or NO_REASON)
    value = _in_unit(metric, raw)
    if metric is Metric.MEMORY and gpu.memory_total:
        share = 100 * raw / gpu.memory_total
        return Reading(value, f"{value:.1f} of {gpu.memory_total / GIB:.1f} GiB", f"{share:.0f} % of VRAM is in use.")
    if metric is Metric.POWER and gpu.power_limit:
        return Reading(value, f"{value:.0f} of {gpu.power_limit:.0f} W", "The dashed line is the power limit.")
    tone = level(metric, value)
    return Reading(value, number(metric, value), TONE_WORDS.get((metric, tone), ""), tone)


def level(metric: Metric, value: float) -> str:
    """The tone of a value that has limits: ok below the first, warn below the second, error from there on."""
    limits = LIMITS.get(metric)
    if limits is None or math.isnan(value):
        return ""
    return "ok" if value < limits[0] else "warn" if value < limits[1] else "error"


def host_reading(host: HostSample, metric: Metric) -> Reading:
    if metric is Metric.MEMORY:
        used, total = host.memory_used / GIB, host.memory_total / GIB
        share = f"{100 * used / total:.0f} % is in use." if total else ""
        return Reading(used, f"{used:.1f} of {total:.1f} GiB", share)
    cores = "1 core" if host.cpu_count == 1 else f"{host.cpu_count} cores"
    load = "" if host.load_average is None else f" Load average {host.load_average:.1f}."
    return Reading(host.cpu_percent, number(metric, host.cpu_percent), f"Of all {cores} together.{load}")


def gpu_scale(gpu: GpuSample, metric: Metric, highest: float) -> Scale:
    """The axis of a GPU's graph; `highest` (the largest value kept, or NaN) counts only where no total is known."""
    if metric is Metric.MEMORY and gpu.memory_total:
        return Scale(gpu.memory_total / GIB)
    if metric is Metric.POWER and gpu.power_limit:
        return Scale(_round_up(max(gpu.power_limit * 1.05, 0.0 if math.isnan(highest) else highest)), gpu.power_limit)
    if metric in (Metric.UTILIZATION, Metric.TEMPERATURE):
        return Scale(100.0 if math.isnan(highest) or highest <= 100.0 else _round_up(highest))
    return Scale(NOTHING_KNOWN if math.isnan(highest) else _round_up(highest))


def host_scale(host: HostSample, metric: Metric) -> Scale:
    if metric is Metric.MEMORY and host.memory_total:
        return Scale(host.memory_total / GIB)
    return Scale(100.0)


def span_text(seconds: float) -> str:
    """A length of time on the axis of a graph."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:g} min"


def moment_text(seconds: float) -> str:
    """A moment on the axis, in seconds relative to now: short, so that it fits beside a value."""
    ago = 0 if math.isnan(seconds) else round(-seconds)
    if ago == 0:
        return "now"
    return f"−{ago} s" if ago < 120 else f"−{ago // 60}:{ago % 60:02d}"


def gpu_title(gpu: GpuSample) -> str:
    return f"GPU {gpu.index} · {gpu.name}"


def gpu_identity(gpu: GpuSample) -> str:
    """What tells two cards of one kind apart: the bus id, else the end of the uuid."""
    if not gpu.bus_id:
        return f"UUID …{gpu.uuid[-UUID_TAIL:]}"
    domain, _, rest = gpu.bus_id.partition(":")
    return f"Bus {rest if rest and not domain.strip('0') else gpu.bus_id}"


def spoken(owner: str, title: str, text: str, tip: str) -> str:
    """A graph for a screen reader: whose it is, what it shows, the value, and why there is none."""
    return f"{owner}, {title}: {text}" + (f", {tip}" if tip in _TOLD or (text == UNKNOWN and tip) else "")


_TOLD = frozenset(TONE_WORDS.values())
_TITLES = {
    NvmlState.STARTING: "Looking for GPUs",
    NvmlState.DISABLED: "GPU values are switched off",
    NvmlState.NO_GPU: "No NVIDIA GPU found",
    NvmlState.LIBRARY_NOT_FOUND: "No NVIDIA driver on this computer",
    NvmlState.DRIVER_NOT_LOADED: "The NVIDIA driver is not running",
    NvmlState.VERSION_MISMATCH: "The NVIDIA driver was updated",
    NvmlState.NO_PERMISSION: "No permission to read the GPU",
    NvmlState.GPU_LOST: "A GPU stopped answering",
    NvmlState.NOT_RESPONDING: "The NVIDIA driver does not respond",
    NvmlState.FAILED: "GPU values cannot be read",
}
_CALM = (NvmlState.STARTING, NvmlState.DISABLED, NvmlState.NO_GPU, NvmlState.LIBRARY_NOT_FOUND)


def nvml_note(nvml: NvmlStatus, gpus: Sequence[GpuSample]) -> Note | None:
    """Why there are no (or too few) GPU graphs; None when all is well."""
    if nvml.state is NvmlState.OK and gpus:
        return None
    if nvml.state in _CALM and any(gpu.vendor is not GpuVendor.NVIDIA for gpu in gpus):
        return None
    state = NvmlState.NO_GPU if nvml.state is NvmlState.OK else nvml.state
    tone, icon = ("info", "info") if state in _CALM else ("warn", "warn")
    return Note(_TITLES[state], nvml.reason, nvml.hint, tone, icon)


def _in_unit(metric: Metric, raw: float) -> float:
    return raw / GIB if metric is Metric.MEMORY else float(raw)


def _round_up(value: float) -> float:
    """The next round number at or above `value`, at least 1."""
    if value <= 1:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next((step * power for step in ROUND_STEPS if step * power >= value), 10 * power)
