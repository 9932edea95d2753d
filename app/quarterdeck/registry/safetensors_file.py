"""Reads the headers of safetensors files and the JSON files beside them, trusting none of them."""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from quarterdeck.errors import AppError
from quarterdeck.registry.file_kind import HEAD_BYTES, describe

LONGEST_HEADER = 100 << 20
LONGEST_JSON = 64 << 20
MOST_VALUES = 1 << 50
_AGAIN = "Download the file again."

# Bits of one value by dtype; others are sized by their place in the file.
BITS: Mapping[str, int] = {
    "F64": 64, "I64": 64, "U64": 64, "F32": 32, "I32": 32, "U32": 32, "F16": 16, "BF16": 16, "I16": 16, "U16": 16,
    "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "I8": 8, "U8": 8, "BOOL": 8, "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4,
}  # fmt: skip


class TensorEntry(NamedTuple):
    """One tensor of a safetensors file; `bytes` as stored."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    bytes: int


def read_tensors(path: Path) -> list[TensorEntry]:
    """The tensor table of the file (blocking). Raises AppError saying what is wrong with the file."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            head = file.read(HEAD_BYTES)
            length = _header_length(path.name, head, size)
            file.seek(8)
            raw = file.read(length)
    except OSError as error:
        raise _unreadable(path, error) from None
    try:
        table = json.loads(raw)
    except (ValueError, RecursionError):
        raise _damaged(path.name, "it is not valid JSON") from None
    if not isinstance(table, dict):
        raise _damaged(path.name, "it is not a table")
    tensors = [_entry(path.name, name, entry) for name, entry in table.items() if name != "__metadata__"]
    expected = 8 + length + max((end for _, end in tensors), default=0)
    if expected > size:
        raise AppError(
            "truncated_file",
            f"“{path.name}” is incomplete: its header promises {expected:,} bytes, but the file has only {size:,}.",
            "The download was interrupted or is still running. Wait for it, or download the file again.",
        )
    return [tensor for tensor, _ in tensors]


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file (blocking). Raises AppError saying what is wrong with the file."""
    try:
        if path.stat().st_size > LONGEST_JSON:
            raise AppError("bad_json_file", f"“{path.name}” is far too large for what it should be.", _AGAIN)
        raw = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from None
    if not raw:
        raise AppError("bad_json_file", f"“{path.name}” is empty.", _AGAIN)
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError) as error:
        looks_like, hint = describe(raw[:HEAD_BYTES])
        if looks_like in ("a web page", "a Git LFS pointer", "a file of zeros"):
            raise AppError("bad_json_file", f"“{path.name}” is {looks_like}, not JSON.", hint) from None
        raise AppError("bad_json_file", f"“{path.name}” is not valid JSON: {_reason(error)}.", _AGAIN) from None
    if not isinstance(value, dict):
        raise AppError("bad_json_file", f"“{path.name}” does not hold a JSON object.", _AGAIN)
    return value


def is_there(path: Path) -> bool:
    """Whether `path` is an ordinary file; a link whose target is gone is not."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (OSError, ValueError):
        return False


def _header_length(name: str, head: bytes, size: int) -> int:
    if size == 0:
        raise AppError("empty_file", f"“{name}” is empty.", _AGAIN)
    length = int.from_bytes(head[:8], "little")
    if head[8:9] != b"{" or length > LONGEST_HEADER or length < 2:
        looks_like, hint = describe(head)
        known = looks_like in ("a web page", "a Git LFS pointer", "a file of zeros")
        if known or head.startswith(b"GGUF"):
            seems = looks_like if known else "a GGUF file with the wrong name"
            raise AppError("not_safetensors", f"“{name}” is {seems}, not safetensors.", hint if known else "Rename it.")
        raise _damaged(name, "it does not begin as it should")
    if 8 + length > size:
        raise AppError(
            "truncated_header",
            f"“{name}” ends after {size:,} bytes, in the middle of its header.",
            "The download was interrupted. Download the file again.",
        )
    return length


def _entry(file: str, name: str, entry: object) -> tuple[TensorEntry, int]:
    """The tensor and where it ends."""
    match entry:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [int(begin), int(end)]}:
            sizes = tuple(size for size in shape if isinstance(size, int) and not isinstance(size, bool) and size >= 0)
            right = len(sizes) == len(shape) and 0 <= begin <= end
            values = math.prod(sizes) if right else 0
            if right and values <= MOST_VALUES and end <= MOST_VALUES and _matches(dtype, values, end - begin):
                return TensorEntry(name, dtype, sizes, end - begin), end
    raise _damaged(file, f"what it says about the tensor “{name[:80]}” cannot be true")


def _matches(dtype: str, values: int, size: int) -> bool:
    bits = BITS.get(dtype)
    return bits is None or math.ceil(values * bits / 8) == size


def _damaged(name: str, why: str) -> AppError:
    return AppError(
        "corrupt_header", f"The header of “{name}” is damaged: {why}.", "Download the file again, or convert it anew."
    )


def _unreadable(path: Path, error: OSError) -> AppError:
    if isinstance(error, FileNotFoundError):
        return AppError("file_missing", f"There is no file “{path.name}” in “{path.parent}”.", "Download it again.")
    return AppError(
        "file_unreadable",
        f"“{path.name}” cannot be read: {error.strerror or error}.",
        "Check who owns the file and its permissions, and that its drive is connected.",
    )


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg.lower()} in line {error.lineno}, column {error.colno}"
    return "it is nested too deeply" if isinstance(error, RecursionError) else "it is not text"
