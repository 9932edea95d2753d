"""The labelled logs of the tests, and other forms in which people have the same log."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

FOLDER = Path(__file__).parents[1] / "diagnosis"

OTHER = "logs/ollama/healthy"

_PARAPHRASES = [
    (re.compile(r"\b\d{1,2}:\d\d:\d\d(?:[.,]\d+)?"), "23:59:58.123"),
    (re.compile(r"\bpid=\d+"), "pid=31337"),
    (re.compile(r"\b0x[0-9a-f]{6,}\b"), "0x7ffdeadbeef0"),
    (re.compile(r"\b([\w-]+\.(?:py|go|cpp|cu|rs)):\d+\b"), r"\1:4711"),
    (re.compile(r"(?<![\w.])/(?:home|opt|usr|root|srv)/[\w.-]+/"), "/mnt/big disk/"),
    (re.compile(r"\b(?:127\.0\.0\.1|localhost):(?=[2-9]\d{4}\b)"), "10.9.8.7:"),
]

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


@cache
def labelled_logs() -> list[LabelledLog]:
    """All logs of the folders with a labels.yaml: those written for the tests, and the recorded ones."""
    found = []
    for labels in sorted((*FOLDER.glob("logs/*/labels.yaml"), *FOLDER.glob("recorded/labels.yaml"))):
        table = yaml.safe_load(labels.read_text(encoding="utf-8"))
        # Either a list of cases, or a mapping from the log to its class.
        cases = [{"log": log, "class": each} for log, each in table.items()] if isinstance(table, dict) else table
        for case in cases:
            path = labels.parent / f"{case['log'].removesuffix('.log')}.log"
            lines = tuple(path.read_text(encoding="utf-8").splitlines())
            name = f"{labels.parent.relative_to(FOLDER)}/{path.stem}"
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


def _beside_another_service(lines: list[str]) -> list[str]:
    """Two containers in one log; the other one is well."""
    chance = random.Random(11)
    other = [line for log in labelled_logs() if log.name == OTHER for line in log.lines]
    mixed = [
        each
        for line in lines
        for each in (f"web-1     | {chance.choice(other)}" * chance.randint(0, 1), f"llm-1 | {line}")
    ]
    return [line for line in mixed if line]


def _told_otherwise(lines: list[str]) -> list[str]:
    """Other times, processes, addresses, places in sources and folders, as another version or machine would write."""
    for pattern, other in _PARAPHRASES:
        lines = [pattern.sub(other, line) for line in lines]
    return lines


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
    "beside another service": _beside_another_service,
    "told otherwise": _told_otherwise,
}
