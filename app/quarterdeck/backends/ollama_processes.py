"""Finding the processes in which an Ollama server runs a model. Blocking: call these in a thread."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import PurePath

import psutil

from quarterdeck.backends.listeners import pids_by_port

Runner = tuple[int, float]
"""Pid and create time (seconds since the epoch)."""


def runners(weights: str | None, server: int | None) -> list[Runner]:
    """The runners of the model with the blob `weights`.

    `server` is the pid of its server where it is known; else all processes are looked at. A runner names its blob on
    its command line; one that does not is taken when there is only one.
    """
    blob = PurePath(weights).name.replace(":", "-") if weights else None
    candidates = list(_children(server) if server is not None else _any_runners())
    named = [process for process, words in candidates if blob and any(word.endswith(blob) for word in words)]
    unnamed = [process for process, words in candidates if not any("sha256-" in word for word in words)]
    chosen = named or (unnamed if len(unnamed) == 1 and len(candidates) == 1 else [])
    return [runner for runner in map(_runner, chosen) if runner is not None]


def server_at(port: int) -> int | None:
    """The Ollama server that listens on a loopback port; None where the system does not tell, as with containers."""
    pid = pids_by_port().get(port)
    with contextlib.suppress(psutil.Error):
        if pid is not None and "ollama" in psutil.Process(pid).name():
            return pid
    return None


def _runner(process: psutil.Process) -> Runner | None:
    try:
        return process.pid, process.create_time()
    except psutil.Error:
        return None


def _children(server: int) -> Iterable[tuple[psutil.Process, list[str]]]:
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(server).children():
            with contextlib.suppress(psutil.Error):
                yield child, child.cmdline()


def _any_runners() -> Iterable[tuple[psutil.Process, list[str]]]:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            words = process.cmdline()
            program = PurePath(words[0]).name if words else ""
            if ("ollama" in program and "runner" in words[1:2]) or (
                "llama-server" in program and any("sha256-" in word for word in words)
            ):
                yield process, words
