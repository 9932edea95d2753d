"""Loads a model with the real engine and reads what it prints of its memory, for comparison with the estimate."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quarterdeck.backends.buffers import Buffers, parse_buffers
from quarterdeck.backends.process import free_port
from quarterdeck.hardware.fit.llama import Need, llama_need
from quarterdeck.hardware.fit.options import EMBEDDED, llama_options
from quarterdeck.registry.shapes import shape_of

PARTS = ("weights", "repacked", "kv_cache", "state", "compute", "output")
_PATIENCE = 20.0
# From this level on the engine prints the sizes of its buffers.
_VERBOSITY = 4


@dataclass(frozen=True)
class Load:
    """One load: what was predicted and what the engine printed."""

    predicted: Need
    printed: Buffers

    @property
    def error(self) -> float:
        """Of the total, as a share of what was printed."""
        return self.predicted.total_bytes / self.printed.total_bytes - 1


def load(path: Path, load_config: Mapping[str, Any]) -> Load:
    """Load `path` into main memory. Raises RuntimeError with the engine's last lines when that fails."""
    lines = engine_lines(path, load_config)
    printed = parse_buffers(lines)
    if printed is None:
        raise RuntimeError("\n".join(lines[-15:]))
    options = llama_options(load_config, EMBEDDED)
    return Load(llama_need(shape_of(path), options, gpu_layers=0), printed)


def engine_lines(path: Path, load_config: Mapping[str, Any]) -> list[str]:
    """What the engine prints until the model serves, or until it gives up."""
    config = {"verbosity": _VERBOSITY, "warmup": False, **load_config}
    command = [
        sys.executable, "-m", "quarterdeck.backends.embedded_worker", "--model", str(path), "--port", str(free_port()),
        "--alias", "made", "--parent", str(os.getpid()), "--config", json.dumps(config),
    ]  # fmt: skip
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    ) as engine:
        guard = threading.Timer(_PATIENCE, engine.kill)
        guard.start()
        lines: list[str] = []
        serving = sized = False
        try:
            for line in engine.stdout or ():
                lines.append(line.rstrip())
                # The engine writes its log from a thread of its own, so that either line may be the last.
                serving = serving or line.startswith("serving ")
                sized = sized or "compute buffer size" in line
                if serving and sized:
                    break
        finally:
            guard.cancel()
            engine.kill()
    return lines
