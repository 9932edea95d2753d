"""The command line's answers for people: plain tables and lines."""

from __future__ import annotations

from collections.abc import Sequence

from quarterdeck.schemas.backends import BackendView
from quarterdeck.schemas.hardware import GpuSample, HardwareSample
from quarterdeck.schemas.models import AttemptView, ModelView, Phase
from quarterdeck.schemas.system import SystemStatus

GIB = 1024**3
NOT_KNOWN = "n/a"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Left-aligned columns, two spaces apart."""
    widths = [max(len(line[column]) for line in [header, *rows]) for column in range(len(header))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in [header, *rows]]
    return "\n".join(line.rstrip() for line in lines)


def size(value: int | None) -> str:
    if value is None:
        return NOT_KNOWN
    return f"{value / GIB:.1f} GiB" if value >= GIB else f"{value / 1024**2:.0f} MiB"


def model_table(models: Sequence[ModelView]) -> str:
    if not models:
        return "No models yet. Add one: quarterdeck models add NAME --path FILE.gguf"
    rows = [[m.name, m.status, _doing(m), m.quantization or NOT_KNOWN, size(m.size_bytes), m.backend] for m in models]
    return table(["NAME", "STATUS", "STATE", "QUANTIZATION", "SIZE", "BACKEND"], rows)


def model_line(model: ModelView) -> str:
    return f"{model.name} ({model.quantization or model.backend}, {size(model.size_bytes)}): {model.status}"


def model_page(model: ModelView, attempts: Sequence[AttemptView]) -> str:
    facts = [
        ("status", model.status), ("state", _doing(model)), ("notes", model.notes or "none"),
        ("file", model.path or model.url or NOT_KNOWN), ("architecture", model.architecture or NOT_KNOWN),
        ("size", size(model.size_bytes)), ("context", str(model.context_length or NOT_KNOWN)),
        ("load_config", model.load_config), ("good loads", str(model.total_loads)),
    ]  # fmt: skip
    lines = [model.name, *(f"  {name}: {value}" for name, value in facts), "  attempts:"]
    lines += [f"    {a.started_at:%Y-%m-%d %H:%M:%S} {a.outcome}{f': {a.error}' if a.error else ''}" for a in attempts]
    return "\n".join(lines if attempts else [*lines, "    none"])


def progress_line(model: ModelView) -> str:
    if model.phase is Phase.QUEUED:
        return "waiting for its turn"
    if model.progress is None:
        return ""
    share = "" if model.progress.fraction is None else f" {model.progress.fraction:.0%}"
    return f"{model.progress.stage}{share}, {model.progress.elapsed_s:.0f} s"


def backend_table(backends: Sequence[BackendView]) -> str:
    rows = [
        [b.name, b.state, ", ".join(b.models) or "-", str(b.pid or "-"), size(b.memory_bytes), b.last_error or "-"]
        for b in backends
    ]
    return table(["NAME", "STATE", "MODELS", "PROCESS", "MEMORY", "LAST ERROR"], rows)


def hardware_page(sample: HardwareSample) -> str:
    host = sample.host
    lines = [
        f"{sample.at.astimezone():%H:%M:%S}  processor {host.cpu_percent:.0f} %  "
        f"memory {size(host.memory_used)} of {size(host.memory_total)}"
    ]
    lines += [_gpu_line(gpu) for gpu in sample.gpus]
    if not sample.gpus:
        lines.append(f"No GPU: {sample.nvml.reason} {sample.nvml.hint}".rstrip())
    return "\n".join(lines)


def status_page(status: SystemStatus) -> str:
    lines = [
        f"clients   {status.public_url or 'no public address'}",
        f"control   {status.control_url}",
        f"loaded    {', '.join(status.loaded_models) or 'nothing'}",
        f"waiting   {', '.join(entry.model for entry in status.queue) or 'nothing'}",
        f"data      {status.data_dir}",
    ]
    lines += [f"{issue.severity}: {issue.sentence} {issue.hint}" for issue in status.issues]
    return "\n".join([*lines, hardware_page(status.hardware), backend_table(status.backends)])


def _doing(model: ModelView) -> str:
    return model.phase.value


def _gpu_line(gpu: GpuSample) -> str:
    def shown(value: float | None, unit: str) -> str:
        return NOT_KNOWN if value is None else f"{value:.0f} {unit}"

    memory = f"{size(gpu.memory_used)} of {size(gpu.memory_total)}"
    return (
        f"GPU {gpu.index} {gpu.name}  {shown(gpu.utilization, '%')}  {memory}  "
        f"{shown(gpu.temperature, '°C')}  {shown(gpu.power, 'W')}"
    )
