"""Writes small GGUF files for tests."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from typing import NamedTuple

# name of the type: (number, values per block, bytes per block)
TENSOR_TYPES = {"F32": (0, 1, 4), "F16": (1, 1, 2), "Q4_1": (3, 32, 20), "Q8_0": (8, 32, 34), "Q4_K": (12, 256, 144)}


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
    """One key-value pair; lists are arrays of texts or of 32-bit numbers."""
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
    pairs: dict[str, object] = {} if architecture is None else {"general.architecture": architecture}
    pairs.update(facts or {})
    infos, data = b"", b""
    for tensor in tensors:
        data += b"\0" * (-len(data) % alignment)
        number = TENSOR_TYPES[tensor.type][0]
        dimensions = len(tensor.shape)
        infos += text(tensor.name) + struct.pack(f"<I{dimensions}QIQ", dimensions, *tensor.shape, number, len(data))
        data += b"\0" * tensor.size
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(pairs))
    head += b"".join(pair(key, value) for key, value in pairs.items()) + infos
    return head + b"\0" * (-len(head) % alignment if tensors else 0) + data


CHAT_FACTS: dict[str, object] = {
    "general.name": "Tiny Chat",
    "general.file_type": 7,
    "llama.context_length": 2048,
    "tokenizer.ggml.tokens": ["<s>", "</s>", "a", "b"],
    "tokenizer.ggml.scores": [0.0, 0.0, -1.0, -2.0],
    "tokenizer.chat_template": "{% for m in messages %}{{ m['content'] }}{% endfor %}",
}
