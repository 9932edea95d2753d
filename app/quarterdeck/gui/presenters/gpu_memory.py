"""Who holds the memory of a GPU, as parts of a bar and as rows of a table."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto
from typing import NamedTuple

from quarterdeck.gui.presenters import text
from quarterdeck.gui.presenters.hardware import Note
from quarterdeck.schemas.hardware import GpuProcess, GpuSample, HardwareSample

COLUMNS = ("Program", "PID", "GPU", "Model", "User", "Running", "Memory")
NAMELESS = "Unknown program"
LEFT_BEHIND = "Left behind"
LEFT_BEHIND_TIP = "The program that started it is gone, so that nobody frees this memory. Stop it to get it back."
HIDDEN = "Driver and hidden programs"
NAMELESS_TIP = "It runs outside of what Quarterdeck can see, for example in a container or for another user."
NONE_HELD = "No program holds GPU memory."
# A smaller rest is what the driver keeps for itself.
SMALLEST_REST = 64 * text.MIB


class Kind(Enum):
    """What a part of the bar stands for."""

    MODEL = auto()
    OTHERS = auto()
    DRIVER = auto()
    FREE = auto()


class Share(NamedTuple):
    """One part of the bar: its bytes and, for a model, the place of its colour in the series of the theme."""

    label: str
    size: int
    kind: Kind = Kind.MODEL
    colour: int = 0
    tip: str = ""


class Colours:
    """Gives each model a colour that it keeps for as long as it holds memory."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._of: dict[str, int] = {}

    def follow(self, models: Sequence[str]) -> None:
        """Take the models that hold memory now; colours of others become free again."""
        self._of = {model: colour for model, colour in self._of.items() if model in models}
        for model in models:
            if model not in self._of:
                used = list(self._of.values())
                self._of[model] = min(range(self._count), key=lambda colour: (used.count(colour), colour))

    def of(self, model: str) -> int:
        return self._of.get(model, 0)


class ProcessRow(NamedTuple):
    """One row of the table; `cells` follow COLUMNS, `colour` is that of its model in the bar."""

    process: GpuProcess
    cells: tuple[str, ...]
    tip: str
    colour: int | None = None

    @property
    def key(self) -> tuple[int, int, float | None]:
        return self.process.gpu, self.process.pid, self.process.create_time


def models_of(sample: HardwareSample) -> list[str]:
    """The models that hold GPU memory, in the order of their processes."""
    return list(dict.fromkeys(process.model for process in sample.processes if process.model))


def shares(gpu: GpuSample, processes: Sequence[GpuProcess], colours: Colours) -> list[Share]:
    """The parts of a GPU's bar, models first; nothing when its memory is not known."""
    if gpu.memory_used is None or not gpu.memory_total:
        return []
    here = [process for process in processes if process.gpu == gpu.index and process.memory_bytes]
    models: dict[str, int] = {}
    others: dict[str, int] = {}
    for process in here:
        known, name = (models, process.model) if process.model else (others, process.name or NAMELESS)
        known[name] = known.get(name, 0) + (process.memory_bytes or 0)
    parts = [Share(model, size, Kind.MODEL, colours.of(model)) for model, size in _largest(models)]
    rest = gpu.memory_used - sum(models.values()) - sum(others.values())
    parts += _unowned(others, rest, known=bool(here) or "processes" not in gpu.unavailable)
    free = max(gpu.memory_total - sum(part.size for part in parts), 0)
    parts.append(Share("Free", free, Kind.FREE))
    return [part._replace(tip=_tip(part, gpu.memory_total)) for part in parts if part.size > 0]


def _unowned(others: dict[str, int], rest: int, *, known: bool) -> list[Share]:
    if not known:
        return [Share("In use", rest, Kind.OTHERS)]
    size = sum(others.values())
    if rest < SMALLEST_REST:
        size, rest = size + max(rest, 0), 0
    names = ", ".join(f"{name} {text.size(held)}" for name, held in _largest(others)[:5])
    if not others:
        return [Share("Driver", size, Kind.DRIVER), Share(HIDDEN, rest, Kind.DRIVER)]
    return [Share("Other programs", size, Kind.OTHERS, tip=names), Share(HIDDEN, rest, Kind.DRIVER)]


def spoken(owner: str, parts: Sequence[Share], total: int | None) -> str:
    """The bar for a screen reader."""
    held = ", ".join(f"{part.label} {text.size(part.size)}" for part in parts)
    return f"{owner}, memory: {held} of {text.size(total)}" if parts else f"{owner}, memory: {text.UNKNOWN}"


def rows(sample: HardwareSample, colours: Colours) -> list[ProcessRow]:
    """The rows of the table, the largest of each GPU first."""
    return [_row(process, colours) for process in sample.processes]


def _row(process: GpuProcess, colours: Colours) -> ProcessRow:
    cells = (
        process.name or NAMELESS,
        str(process.pid),
        str(process.gpu),
        process.model or (LEFT_BEHIND if process.orphan else "–"),
        process.user or text.UNKNOWN,
        text.UNKNOWN if process.age_s is None else text.uptime(process.age_s),
        text.size(process.memory_bytes),
    )
    tip = process.command or NAMELESS_TIP
    colour = colours.of(process.model) if process.model else None
    return ProcessRow(process, cells, f"{LEFT_BEHIND_TIP}\n{tip}" if process.orphan else tip, colour)


def missing(sample: HardwareSample) -> str:
    """Why processes or their memory are not shown, or not all of them; empty when all is known."""
    reasons = [gpu.unavailable["processes"] for gpu in sample.gpus if "processes" in gpu.unavailable]
    return " ".join(dict.fromkeys(reasons))


def surroundings_note(sample: HardwareSample) -> Note | None:
    """What is to be known about this system."""
    if not sample.surroundings:
        return None
    return Note("About this computer", " ".join(sample.surroundings), "", "info", "info")


def refusal(process: GpuProcess | None) -> str:
    """Why a process cannot be stopped from here; empty when it can."""
    if process is None:
        return "Choose a program in the table first."
    if process.create_time is None:
        return NAMELESS_TIP
    if process.model is not None:
        return f"It works for {process.model}. Unload that model instead."
    if not process.own_user:
        return f"It belongs to {process.user or 'another user'}, who can stop it."
    return ""


def stop_title(process: GpuProcess) -> str:
    return f"Stop {process.name or NAMELESS} (PID {process.pid})?"


def stop_text(process: GpuProcess) -> str:
    """What will happen when it is stopped."""
    freed = f" {text.size(process.memory_bytes)} of GPU memory become free." if process.memory_bytes else ""
    left = " The program that started it is gone, so that nobody else will stop it." if process.orphan else ""
    return (
        "It is asked to end, with everything it has started; what still runs after a few seconds is ended by force. "
        f"What it has not saved is lost.{freed}{left}"
    )


def _tip(part: Share, total: int) -> str:
    line = f"{part.label}: {text.size(part.size)}, {100 * part.size / total:.0f} % of {text.size(total)}"
    return f"{line}\n{part.tip}" if part.tip else line


def _largest(held: dict[str, int]) -> list[tuple[str, int]]:
    return sorted(held.items(), key=lambda item: (-item[1], item[0]))
