"""The labelled logs of the tests, and other forms in which people have the same log."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yaml

FOLDER = Path(__file__).parents[1] / "diagnosis" / "logs"

NOISE = [
    "INFO 11-21 10:11:12 [metrics.py:100] Avg prompt throughput: 0.0 tokens/s, Running: 0 reqs, Waiting: 0 reqs",
    '[GIN] 2026/11/21 - 07:22:30 | 200 |      48.4µs |       127.0.0.1 | GET      "/api/ps"',
    "llama_model_loader: - kv   3:                      llama.block_count u32              = 30",
    "Loading safetensors checkpoint shards:  50% Completed | 1/2 [00:01<00:01,  1.00s/it]",
    "DEBUG:httpcore.connection:close.started",
    "Nov 21 10:11:12 box systemd[1]: Started Daily apt upgrade and clean activities.",
]


@dataclass(frozen=True)
class LabelledLog:
    """A log, who wrote it, and the class of its failure; `none` for a healthy one."""

    name: str
    service: str
    failure_class: str
    lines: tuple[str, ...]


def labelled_logs() -> list[LabelledLog]:
    """All logs of the folders with a labels.yaml."""
    found = []
    for labels in sorted(FOLDER.glob("*/labels.yaml")):
        table = yaml.safe_load(labels.read_text(encoding="utf-8"))
        # Either a list of cases, or a mapping from the log to its class.
        cases = [{"log": log, "class": each} for log, each in table.items()] if isinstance(table, dict) else table
        for case in cases:
            path = labels.parent / f"{case['log'].removesuffix('.log')}.log"
            lines = tuple(path.read_text(encoding="utf-8").splitlines())
            name = f"{labels.parent.name}/{path.stem}"
            found.append(LabelledLog(name, case.get("service", ""), case["class"], lines))
    return found


def _prefixed(form: str) -> Callable[[list[str]], list[str]]:
    return lambda lines: [form.format(number % 60) + line for number, line in enumerate(lines)]


def _coloured(lines: list[str]) -> list[str]:
    return [f"\x1b[1;3{number % 8}m{line[:3]}\x1b[0m{line[3:]}\x1b[K" for number, line in enumerate(lines)]


def _colours_copied(lines: list[str]) -> list[str]:
    return [f"[0;36m{line}[0;0m" for line in lines]


def _among_noise(lines: list[str]) -> list[str]:
    chance = random.Random(7)
    return [each for line in lines for each in (*chance.sample(NOISE, chance.randint(0, 3)), line)]


def _two_workers(lines: list[str]) -> list[str]:
    return [f"(Worker_TP{worker} pid=9{worker}) {line}" for line in lines for worker in (0, 1)]


VARIANTS: dict[str, Callable[[list[str]], list[str]]] = {
    "compose": _prefixed("engine-1  | "),
    "journal": _prefixed("Nov 21 10:11:{:02d} box engine[4321]: "),
    "kubernetes": _prefixed("2026-11-21T10:11:{:02d}.123456789Z stderr F "),
    "timestamps": _prefixed("2026-11-21 10:11:{:02d},123 "),
    "worker": _prefixed("(EngineCore_DP0 pid=77) "),
    "coloured": _coloured,
    "colours copied": _colours_copied,
    "windows": lambda lines: [f"{line}\r" for line in lines],
    "upper case": lambda lines: [line.upper() for line in lines],
    "lower case": lambda lines: [line.lower() for line in lines],
    "indented": lambda lines: [f"    {line}" for line in lines],
    "quoted": lambda lines: [f"> {line}" for line in lines],
    "nulls": lambda lines: [line.replace(" ", " \0") for line in lines],
    "long after": lambda lines: [*NOISE * 100, *lines],
    "twice": lambda lines: [*lines, *lines],
    "two workers": _two_workers,
    "among noise": _among_noise,
}
