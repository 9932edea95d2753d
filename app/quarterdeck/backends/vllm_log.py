"""Reading what vLLM prints: how far a load is, and which line tells why it failed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

LOOK_BACK = 400


class Step(NamedTuple):
    """A step of a load as people read it, and how far it is (0..1, None where nothing tells)."""

    words: str
    fraction: float | None = None


STARTING = Step("starting the engine")

# In the order in which a load goes through them; the first group is a percentage.
_STEPS = (
    (re.compile(r"Initializing a V\d LLM engine|Starting to load model"), "preparing the model"),
    (re.compile(r"Loading .*checkpoint shards:\s+(\d+)%"), "reading the model"),
    (re.compile(r"Loading weights took|Model loading took"), "placing the model"),
    (re.compile(r"torch\.compile (?:took|takes)|[Dd]ynamo bytecode transform|Compiling a graph|the compiled graph"),
     "compiling the model"),
    (re.compile(r"KV cache (?:memory|size)|GPU blocks:"), "setting up the KV cache"),
    (re.compile(r"Capturing (?:CUDA|ACL|HIP)[ -]?graph\w*(?:.*?(\d+)%)?", re.IGNORECASE), "capturing CUDA graphs"),
    (re.compile(r"Starting vLLM (?:API )?server|Application startup complete"), "opening the server"),
)  # fmt: skip

# What vLLM says after the cause, once per process that hears of it.
_AFTERMATH = re.compile(
    r"Engine core initialization failed|WorkerProc initialization failed|EngineCore (?:failed to start|encountered)|"
    r"EngineDeadError|See (?:stack trace|root cause)|Failed core proc|resource_tracker|nanobind|destroy_process_group|"
    r"CancelledError|KeyboardInterrupt|\d+ validation errors? for "
)
_PREFIX = re.compile(r"^(?:\([^)]*pid=\d+\) )?(?:ERROR [\d-]+ [\d:]+ \[[^]]+\] ?)?")
_CAUSE = re.compile(
    r"^(?:[a-z_][\w.]*\.)?(?:[A-Z]\w*(?:Error|Exception|Interrupt)|Exception): \S|^vllm.*: error: |^\s*Value error, \S"
)


class Progress:
    """Follows the lines of one load."""

    def __init__(self) -> None:
        self._step = STARTING
        self._reached = 0

    def read(self, lines: Sequence[str]) -> Step:
        """The step after these further lines; a load never goes back a step."""
        for line in lines:
            for number, (pattern, words) in enumerate(_STEPS, 1):
                match = pattern.search(line) if number >= self._reached else None
                if match:
                    percent = match.group(1) if pattern.groups else None
                    self._reached = number
                    self._step = Step(words, int(percent) / 100 if percent else None)
        return self._step


def blame(lines: Sequence[str]) -> str | None:
    """The line that names the cause: the first error of the last start, not one that only reports another."""
    recent = [_PREFIX.sub("", line) for line in lines[-LOOK_BACK:]]
    causes = (line for line in recent if _CAUSE.search(line) and not _AFTERMATH.search(line))
    found = next(causes, None) or next(reversed(recent), None)
    return found.strip() if found else None
