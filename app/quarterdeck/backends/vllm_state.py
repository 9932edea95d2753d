"""The file that tells other programs which vLLM runs here, and tells us what an earlier run left behind. Blocking."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from quarterdeck.backends.base import EngineRecord
from quarterdeck.backends.listeners import listens
from quarterdeck.processes import SAME_START

PROGRAM = "vllm"


@dataclass(frozen=True, slots=True)
class VllmState:
    """What the file says. `started_at` is the create time of the process, in seconds since the epoch."""

    logical_name: str
    served_model_id: str
    port: int
    pid: int
    started_at: float


def write_state(path: Path, state: VllmState) -> None:
    """Replace the file; a reader sees the old one or the new one, whole. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, prefix=path.name, delete=False) as part:
        json.dump(asdict(state), part, indent=2)
    Path(part.name).replace(path)


def read_state(path: Path) -> VllmState | None:
    """What the file says, None when there is none or it makes no sense."""
    try:
        return _parsed(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def remove_state(path: Path, pid: int | None = None) -> None:
    """Remove the file; with `pid` only where it still speaks of that process."""
    state = read_state(path)
    if pid is None or state is None or state.pid == pid:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def tidy_state(path: Path) -> EngineRecord | None:
    """The vLLM of an earlier run that the file names and that still runs as the file says.

    A file that speaks of a dead process, of another program, or of another port than that process listens on is wrong
    and is removed.
    """
    state = read_state(path)
    record = _running(state) if state else None
    if record is None:
        remove_state(path)
    return record


def _parsed(data: Any) -> VllmState:
    return VllmState(
        str(data["logical_name"]), str(data["served_model_id"]), int(data["port"]), int(data["pid"]),
        float(data["started_at"]),
    )  # fmt: skip


def _running(state: VllmState) -> EngineRecord | None:
    try:
        process = psutil.Process(state.pid)
        created = process.create_time()
        # Other programs write the time at which they started it, which is a little later.
        is_later = created > state.started_at + SAME_START
        is_vllm = any(PROGRAM in Path(word).name.lower() for word in process.cmdline()[:4])
    except psutil.Error:
        return None
    ours = is_vllm and not is_later and state.pid != os.getpid() and listens(state.pid, created, state.port)
    return EngineRecord(state.pid, created, state.port) if ours else None
