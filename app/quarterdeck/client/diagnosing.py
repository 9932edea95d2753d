"""The command `diagnose`: reads a log here, without a core, and prints what it tells."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from quarterdeck.client.output import note, out
from quarterdeck.errors import AppError
from quarterdeck.schemas.diagnosis import Diagnosis, Remedy, RemedyKind

Reader = Callable[[BinaryIO, str, Callable[[int], None]], Diagnosis]
"""Reads a stream that a service wrote; tells the bytes read so far."""

SILENT_SECONDS = 2.0


def run(arguments: argparse.Namespace, read: Reader) -> int:
    """Diagnose the file, or standard input for `-`. Raises AppError when it cannot be read."""
    with contextlib.ExitStack() as stack:
        found = read(_opened(arguments.file, stack), arguments.service, _Progress().on_read)
    out(found.model_dump_json(indent=2) if arguments.json else page(found))
    return 0


def _opened(file: str, stack: contextlib.ExitStack) -> BinaryIO:
    if file == "-":
        if sys.stdin.isatty():
            note("Paste the log, then press Ctrl+D on a line of its own.")
        return sys.stdin.buffer
    path = Path(file).expanduser()
    try:
        if path.is_dir():
            raise IsADirectoryError(21, "It is a folder", file)
        return stack.enter_context(path.open("rb"))
    except OSError as error:
        raise AppError(
            "file_unreadable",
            f"The log “{file}” cannot be read: {error.strerror}.",
            "Give the path of a log file, or - to read standard input.",
        ) from error


class _Progress:
    """Says on a terminal how far a long log is read."""

    def __init__(self) -> None:
        self._next = time.monotonic() + SILENT_SECONDS

    def on_read(self, done: int) -> None:
        if time.monotonic() >= self._next and sys.stderr.isatty():
            note(f"Read {done / 1e6:.0f} MB …")
            self._next += SILENT_SECONDS


def page(found: Diagnosis) -> str:
    """A diagnosis for people: what happened, why, the lines that prove it, what to do."""
    parts = [f"{found.title}\n{found.why}"]
    if found.evidence:
        width = len(str(max(evidence.line for evidence in found.evidence)))
        lines = [f"  {evidence.line:>{width}} │ {evidence.text}" for evidence in found.evidence]
        parts.append("\n".join(["In the log:", *lines]))
    if found.remedies:
        parts.append("\n".join(["What helps:", *(f"  • {_remedy(remedy)}" for remedy in found.remedies)]))
    if found.known_issue:
        parts.append(f"This is a known issue: quarterdeck known-issues show {found.known_issue}")
    if found.kind == "failure":
        parts.append(f"How sure: {_sureness(found.confidence)}.")
    return "\n\n".join(parts)


def _remedy(remedy: Remedy) -> str:
    if remedy.command:
        return f"{remedy.title}:\n      {remedy.command}"
    if remedy.patch:
        where = "load_config" if remedy.kind is RemedyKind.LOAD_CONFIG else "settings"
        changes = ", ".join(
            f"{name} = {'(removed)' if value is None else value}" for name, value in remedy.patch.items()
        )
        return f"{remedy.title}\n      {where}: {changes}"
    return remedy.title


def _sureness(confidence: float) -> str:
    if confidence >= 0.85:
        return "very"
    return "fairly" if confidence >= 0.6 else "a guess"
