"""The command line's answers for people: plain tables and lines."""

from __future__ import annotations

from collections.abc import Sequence

from quarterdeck.schemas.backends import BackendView
from quarterdeck.schemas.discovery import FollowedFile, ImportPreview, ScanResult
from quarterdeck.schemas.estimate import Estimate, Verdict
from quarterdeck.schemas.hardware import GpuProcess, GpuSample, HardwareSample
from quarterdeck.schemas.models import AttemptView, ModelView, Phase
from quarterdeck.schemas.system import QueueEntry, SystemStatus

GIB = 1024**3
MIB = 1024**2
NOT_KNOWN = "n/a"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Left-aligned columns, two spaces apart."""
    widths = [max(len(line[column]) for line in [header, *rows]) for column in range(len(header))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in [header, *rows]]
    return "\n".join(line.rstrip() for line in lines)


def size(value: int | None) -> str:
    if value is None:
        return NOT_KNOWN
    if value >= GIB:
        return f"{value / GIB:.1f} GiB"
    return f"{value / MIB:.0f} MiB" if value >= MIB or value == 0 else f"{value / 1024:.0f} KiB"


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
        ("backend", model.backend), ("file", model.path or model.url or NOT_KNOWN),
        ("served as", model.served_name), ("other names", _listed(model.aliases)), ("roles", _listed(model.roles)),
        ("can do", _listed(model.capabilities)), ("architecture", model.architecture or NOT_KNOWN),
        ("size", size(model.size_bytes)), ("context", str(model.context_length or NOT_KNOWN)),
        ("load_config", model.load_config), ("group", model.group or "none"), ("pinned", _yes(model.pinned)),
        ("unloaded when idle", _idle(model.idle_timeout)), ("locked", _yes(model.locked)),
        ("GPU memory", size(model.vram_bytes)), ("good loads", str(model.total_loads)),
        *([("hidden from clients", model.hidden)] if model.hidden else []),
        *([("alarm", model.alarm)] if model.alarm else []),
    ]  # fmt: skip
    lines = [model.name, *(f"  {name}: {value}" for name, value in facts), "  layers:"]
    lines += [f"    {layer}: {', '.join(names)}" for layer, names in _by_layer(model).items()]
    lines.append("  attempts:")
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
        [b.name, b.state, ", ".join(b.models) or "-", b.owner.name or b.owner.kind, str(b.pid or "-"),
         size(b.memory_bytes), b.last_error or b.detail or "-"]
        for b in backends
    ]  # fmt: skip
    return table(["NAME", "STATE", "MODELS", "OWNER", "PROCESS", "MEMORY", "REMARKS"], rows)


def estimate_page(estimate: Estimate) -> str:
    rows = [[part.label, size(part.bytes)] for part in estimate.parts]
    rows.append(["Together", size(estimate.total_bytes)])
    if estimate.free_bytes is not None:
        rows.append(["Free on the GPU", size(estimate.free_bytes)])
    if estimate.host_free_bytes is not None:
        rows.append(["Free main memory", size(estimate.host_free_bytes)])
    if estimate.claim_bytes is not None:
        rows.append(["Taken at once", size(estimate.claim_bytes)])
    if estimate.max_ctx_that_fits is not None:
        rows.append(["Longest context that fits", f"{estimate.max_ctx_that_fits} tokens"])
    if estimate.advice is not None:
        pair = estimate.advice
        rows.append(["Will start with", f"gpu_memory_utilization {pair.gpu_memory_utilization:.2f}, "
                     f"max_model_len {pair.max_model_len}"])  # fmt: skip
    said = " ".join(filter(None, (estimate.sentence, estimate.hint)))
    verdict = "" if estimate.verdict is Verdict.UNKNOWN else f"{estimate.verdict.value.replace('_', ' ')}. "
    return "\n".join([f"{estimate.model}: {verdict}{said}".rstrip(), "", table(["PART", "MEMORY"], rows)])


def import_page(preview: ImportPreview, *, applied: bool) -> str:
    words = {"add": "added", "change": "changed", "same": "unchanged", "skip": "skipped"} if applied else {}
    lines = [preview.title]
    for entry in preview.entries:
        said = words.get(entry.action, entry.action.value)
        dropped = f" (not carried over: {', '.join(entry.dropped)})" if entry.dropped else ""
        lines.append(f"  {said:<10}{entry.name}{f': {entry.reason}' if entry.reason else ''}{dropped}")
    lines += [f"  server    {url}" for url in preview.servers]
    return "\n".join(lines)


def follows_page(files: Sequence[FollowedFile]) -> str:
    if not files:
        return "No file is followed. Follow one: quarterdeck import FILE --follow"
    lines = []
    for file in files:
        count = "1 model" if len(file.models) == 1 else f"{len(file.models)} models"
        lines.append(f"{file.path}  {file.title}, {count}{f': {file.error}' if file.error else ''}")
        lines += [f"  no longer in it: {name}" for name in file.gone]
    return "\n".join(lines)


def scan_page(result: ScanResult) -> str:
    lines = [f"server  {server.title} at {server.url}: {server.state}" for server in result.servers]
    for word, names in (("added", result.added), ("changed", result.changed), ("gone", result.gone)):
        lines += [f"{word:<8}{name}" for name in names]
    counts = f"{len(result.added)} added, {len(result.changed)} changed, {len(result.gone)} gone"
    return "\n".join([*lines, counts])


def hardware_page(sample: HardwareSample) -> str:
    host = sample.host
    lines = [
        f"{sample.at.astimezone():%H:%M:%S}  processor {host.cpu_percent:.0f} %  "
        f"memory {size(host.memory_used)} of {size(host.memory_total)}"
    ]
    lines += [_gpu_line(gpu) for gpu in sample.gpus]
    lines += [_process_line(process) for process in sample.processes]
    if not sample.gpus:
        lines.append(f"No GPU: {sample.nvml.reason} {sample.nvml.hint}".rstrip())
    return "\n".join(lines)


def status_page(status: SystemStatus) -> str:
    lines = [
        f"clients   {status.public_url or 'no public address'}",
        f"control   {status.control_url}",
        f"loaded    {', '.join(status.loaded_models) or 'nothing'}",
        f"waiting   {'' if status.queue else 'nothing'}".rstrip(),
        *map(_queue_line, status.queue),
        f"data      {status.data_dir}",
    ]
    lines += [f"{issue.severity}: {issue.sentence} {issue.hint}" for issue in status.issues]
    return "\n".join([*lines, hardware_page(status.hardware), backend_table(status.backends)])


def _doing(model: ModelView) -> str:
    return model.phase.value


def _queue_line(entry: QueueEntry) -> str:
    place = "now" if entry.position == 0 else f"{entry.position}."
    expected = "" if entry.expected_s is None else f", about {entry.expected_s:.0f} s to go"
    requests = "1 request" if entry.waiters == 1 else f"{entry.waiters} requests"
    return f"  {place:<4} {entry.model}  {requests} since {entry.waiting_s:.0f} s{expected}. {entry.why}".rstrip()


def _by_layer(model: ModelView) -> dict[str, list[str]]:
    """The facts of a model by the layer that each comes from."""
    found: dict[str, list[str]] = {}
    for name, layer in sorted(model.layers.items()):
        found.setdefault(layer, []).append(name)
    return found or {model.layer: ["everything"]}


def _listed(words: Sequence[str]) -> str:
    return ", ".join(words) or "none"


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _idle(seconds: float | None) -> str:
    if seconds is None:
        return "as in Settings"
    return f"after {seconds:g} s" if seconds else "never"


def _process_line(process: GpuProcess) -> str:
    whose = process.model or ("left behind" if process.orphan else process.user or NOT_KNOWN)
    return f"  process {process.pid}  {process.name}  {size(process.memory_bytes)}  {whose}"


def _gpu_line(gpu: GpuSample) -> str:
    def shown(value: float | None, unit: str) -> str:
        return NOT_KNOWN if value is None else f"{value:.0f} {unit}"

    memory = f"{size(gpu.memory_used)} of {size(gpu.memory_total)}"
    return (
        f"GPU {gpu.index} {gpu.name}  {shown(gpu.utilization, '%')}  {memory}  "
        f"{shown(gpu.temperature, '°C')}  {shown(gpu.power, 'W')}"
    )
