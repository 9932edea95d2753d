"""Writes small GGUF files for tests."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

# name of the type: (number, values per block, bytes per block)
TENSOR_TYPES = {
    "F32": (0, 1, 4),
    "F16": (1, 1, 2),
    "Q4_0": (2, 32, 18),
    "Q4_1": (3, 32, 20),
    "Q8_0": (8, 32, 34),
    "Q4_K": (12, 256, 144),
    "Q6_K": (14, 256, 210),
}


class Tensor(NamedTuple):
    """A tensor that is filled with zeros."""

    name: str
    shape: tuple[int, ...]
    type: str = "F32"

    @property
    def size(self) -> int:
        _, block, size = TENSOR_TYPES[self.type]
        return math.ceil(math.prod(self.shape) / block) * size


def text(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(data)) + data


def pair(key: str, value: object) -> bytes:
    """One key-value pair; lists are arrays of texts, of switches, or of 32-bit numbers (whole where all are)."""
    start = text(key)
    match value:
        case bool():
            return start + struct.pack("<I?", 7, value)
        case int():
            return start + struct.pack("<II", 4, value)
        case float():
            return start + struct.pack("<If", 6, value)
        case str():
            return start + struct.pack("<I", 8) + text(value)
        case list() if value and isinstance(value[0], str):
            return start + struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(text, value))
        case list() if value and all(isinstance(item, bool) for item in value):
            return start + struct.pack(f"<IIQ{len(value)}?", 9, 7, len(value), *value)
        case list() if value and all(isinstance(item, int) for item in value):
            return start + struct.pack(f"<IIQ{len(value)}i", 9, 5, len(value), *value)
        case list():
            return start + struct.pack(f"<IIQ{len(value)}f", 9, 6, len(value), *value)
    raise TypeError(type(value))


def gguf_bytes(
    facts: Mapping[str, object] | None = None,
    tensors: Sequence[Tensor] = (Tensor("token_embd.weight", (64, 32), "F32"),),
    *,
    architecture: str | None = "llama",
    version: int = 3,
    alignment: int = 32,
) -> bytes:
    """A whole file. `facts` are further key-value pairs; an architecture of None leaves that key out."""
    head, size = gguf_head(facts, tensors, architecture=architecture, version=version, alignment=alignment)
    return head + b"\0" * size


def write_sparse(
    path: Path,
    facts: Mapping[str, object],
    tensors: Sequence[Tensor],
    *,
    architecture: str,
) -> Path:
    """Write a whole file whose weights are a hole, so that even a large one costs no room on the disk."""
    head, size = gguf_head(facts, tensors, architecture=architecture)
    with path.open("wb") as file:
        file.write(head)
        file.truncate(len(head) + size)
    return path


def gguf_head(
    facts: Mapping[str, object] | None,
    tensors: Sequence[Tensor],
    *,
    architecture: str | None,
    version: int = 3,
    alignment: int = 32,
) -> tuple[bytes, int]:
    """What stands before the weights, and how many bytes these take."""
    pairs: dict[str, object] = {} if architecture is None else {"general.architecture": architecture}
    pairs.update(facts or {})
    infos, size = b"", 0
    for tensor in tensors:
        size += -size % alignment
        number = TENSOR_TYPES[tensor.type][0]
        dimensions = len(tensor.shape)
        infos += text(tensor.name) + struct.pack(f"<I{dimensions}QIQ", dimensions, *tensor.shape, number, size)
        size += tensor.size
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(pairs))
    head += b"".join(pair(key, value) for key, value in pairs.items()) + infos
    return head + b"\0" * (-len(head) % alignment if tensors else 0), size


CHAT_FACTS: dict[str, object] = {
    "general.name": "Tiny Chat",
    "general.file_type": 7,
    "llama.context_length": 2048,
    "tokenizer.ggml.tokens": ["<s>", "</s>", "a", "b"],
    "tokenizer.ggml.scores": [0.0, 0.0, -1.0, -2.0],
    "tokenizer.chat_template": "{% for m in messages %}{{ m['content'] }}{% endfor %}",
}
