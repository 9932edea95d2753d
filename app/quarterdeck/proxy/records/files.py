"""Lines appended to a file that is followed by a new one when it is full: `name`, then `name.1`, the oldest last."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from io import FileIO
from pathlib import Path

OWNER_ONLY = 0o600


def append_lines(path: Path, lines: Iterable[bytes], *, max_bytes: int, keep: int) -> None:
    """Append `lines`, each of which ends with a line break; blocks. Raises OSError.

    No file grows beyond `max_bytes` unless a single line does; `keep` earlier files stay. The file is opened anew each
    time, so that it may be moved or removed by others.
    """
    waiting = list(lines)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    while waiting:
        _append(path, waiting, max_bytes)
        if waiting:
            rotate(path, keep)


def rotate(path: Path, keep: int) -> None:
    """Move `path` to `path.1`, that to `path.2` and so on; what is older than `keep` files is removed."""
    for old in path.parent.glob(f"{_literal(path.name)}.*"):
        ending = old.name[len(path.name) + 1 :]
        if ending.isascii() and ending.isdigit() and int(ending) >= max(keep, 1):
            old.unlink(missing_ok=True)
    if not keep:
        path.unlink(missing_ok=True)
        return
    free = next(number for number in range(1, keep + 1) if not _numbered(path, number).exists())
    for number in range(free, 1, -1):
        with contextlib.suppress(FileNotFoundError):
            _numbered(path, number - 1).replace(_numbered(path, number))
    with contextlib.suppress(FileNotFoundError):
        path.replace(_numbered(path, 1))


def _append(path: Path, waiting: list[bytes], max_bytes: int) -> None:
    """Take from `waiting` what fits and append it; into an empty file at least one line."""
    with open(path, "a+b", buffering=0, opener=_for_owner) as stream:
        size = stream.seek(0, os.SEEK_END)
        taken: list[bytes] = []
        if size and not _ends_line(stream, size):
            # A full disk or a crash left half a line.
            taken.append(b"\n")
            size += 1
        count = 0
        for line in waiting:
            if size and size + len(line) > max_bytes:
                break
            size += len(line)
            count += 1
        data = b"".join((*taken, *waiting[:count])) if count else b""
        while data:
            data = data[stream.write(data) or 0 :]
        del waiting[:count]


def _ends_line(stream: FileIO, size: int) -> bool:
    stream.seek(size - 1)
    return stream.read(1) == b"\n"


def _for_owner(path: str, flags: int) -> int:
    return os.open(path, flags, OWNER_ONLY)


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")


def _literal(name: str) -> str:
    return "".join(f"[{each}]" if each in "*?[" else each for each in name)
