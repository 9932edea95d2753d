"""Hashes of a model's files: what a version lock compares. Blocking."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from quarterdeck.errors import AppError

Files = Mapping[str, Mapping[str, Any]]
"""By name: `size` in bytes, `mtime_ns` and `sha256`."""

_FIRST_PART = re.compile(r"^(?P<stem>.+)-00001-of-(?P<count>\d{5})\.gguf$")
_MOST_PARTS = 4096
_PIECE = 4 << 20
_LARGEST_SMALL_FILE = 256 << 20
_LONGEST_HEADER = 100 << 20
_TEXTS = (".json", ".jinja", ".txt", ".model", ".py", ".tiktoken")


class HashingStopped(Exception):  # noqa: N818 - reads as the event it is
    """Somebody asked to stop."""


class Hashing:
    """Reads all that counts of a model. `progress` is told the share that is done, 0..1, from another thread."""

    def __init__(self, progress: Callable[[float], None] | None, is_stopped: Callable[[], bool]) -> None:
        self._progress = progress
        self._is_stopped = is_stopped
        self._total = 1
        self._done = 0

    def files(self, path: Path) -> dict[str, dict[str, Any]]:
        """The files of the model at `path`. Raises AppError `file_missing` or `file_unreadable`, HashingStopped."""
        try:
            wanted = _folder_files(path) if path.is_dir() else _parts(path)
            if not wanted:
                raise FileNotFoundError(str(path))
            self._total = max(1, sum(_length(each) for each in wanted))
            return {each.name: self._one(each) for each in wanted}
        except OSError as error:
            raise _unreadable(path, error) from None

    def _one(self, path: Path) -> dict[str, Any]:
        digest = hashlib.sha256()
        with path.open("rb") as file:
            stat = os.fstat(file.fileno())
            left = _header_length(file) if _is_weights(path) else stat.st_size
            while left > 0 and (piece := file.read(min(_PIECE, left))):
                if self._is_stopped():
                    raise HashingStopped
                digest.update(piece)
                left -= len(piece)
                self._step(len(piece))
        return {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "sha256": digest.hexdigest()}

    def _step(self, size: int) -> None:
        self._done += size
        if self._progress is not None:
            self._progress(min(1.0, self._done / self._total))


def whole(files: Files) -> str:
    """One hash for all files; that of a single file is the file's own SHA-256, as others print it."""
    if len(files) == 1:
        return str(next(iter(files.values()))["sha256"])
    lines = [[name, each.get("size"), each["sha256"]] for name, each in sorted(files.items())]
    return hashlib.sha256(json.dumps(lines).encode()).hexdigest()


def touched(path: Path, files: Files) -> list[str]:
    """The files that are no longer as they were verified, by size and time of change alone; cheap."""
    folder = path if path.is_dir() else path.parent
    names = {each.name for each in (_folder_files(path) if path.is_dir() else [])}
    found = sorted(names - files.keys())
    for name, each in files.items():
        try:
            stat = (folder / name).stat()
        except OSError:
            found.append(name)
            continue
        if (stat.st_size, stat.st_mtime_ns) != (each.get("size"), each.get("mtime_ns")):
            found.append(name)
    return found


def difference(expected: Files | None, present: Files) -> str:
    """What differs, in words."""
    if not expected:
        return "its content is not the expected one"
    gone, new = sorted(expected.keys() - present.keys()), sorted(present.keys() - expected.keys())
    size = [each for each in present if each in expected and present[each].get("size") != expected[each].get("size")]
    content = [
        each
        for each in present
        if each in expected and each not in size and present[each]["sha256"] != expected[each]["sha256"]
    ]
    parts = [
        f"{', '.join(f'“{name}”' for name in names[:3])}{' and more' if len(names) > 3 else ''} {what}"
        for names, what in (
            (gone, "is gone"), (new, "is new"), (size, "has another size"), (content, "has another content"),
        )
        if names
    ]  # fmt: skip
    return "; ".join(parts) or "its content is not the expected one"


def violation(name: str, what: str) -> AppError:
    """The error for a model that is not the one that was locked."""
    return AppError(
        "version_lock_violation",
        f"“{name}” is locked to its version, but {what}.",
        "Put the earlier files back, or unlock the model and lock it again as it is now.",
        status=409,
    )


def _folder_files(folder: Path) -> list[Path]:
    """Configuration, index and weights; of weights only headers and sizes count, since they are many gigabytes."""
    wanted = (each for each in sorted(folder.iterdir()) if each.is_file())
    return [each for each in wanted if _is_weights(each) or _is_small_text(each)]


def _parts(path: Path) -> list[Path]:
    named = _FIRST_PART.match(path.name)
    if named is None:
        return [path]
    numbers = range(1, min(int(named["count"]), _MOST_PARTS) + 1)
    return [path.with_name(f"{named['stem']}-{number:05d}-of-{named['count']}.gguf") for number in numbers]


def _is_weights(path: Path) -> bool:
    return path.suffix == ".safetensors"


def _is_small_text(path: Path) -> bool:
    return path.suffix in _TEXTS and path.stat().st_size <= _LARGEST_SMALL_FILE


def _length(path: Path) -> int:
    return min(path.stat().st_size, 1 << 20) if _is_weights(path) else path.stat().st_size


def _header_length(file: BinaryIO) -> int:
    length = int.from_bytes(file.read(8), "little")
    file.seek(0)
    return 8 + min(length, _LONGEST_HEADER)


def _unreadable(path: Path, error: OSError) -> AppError:
    if isinstance(error, FileNotFoundError):
        return AppError(
            "file_missing", f"“{path}” is not there.", "Put it back, or remove the model from the list.", status=409
        )
    return AppError(
        "file_unreadable",
        f"“{path}” cannot be read: {error.strerror or error}.",
        "Check who owns it and its permissions.",
        status=409,
    )
