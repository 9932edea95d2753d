"""Reads a model that may be split over several GGUF files."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from quarterdeck.errors import AppError
from quarterdeck.registry.gguf import GgufHeader, read_header

_PART = re.compile(r"^(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf$")


def read_model(path: Path) -> GgufHeader:
    """The header of a model that an engine can load, with the sums over all its parts (blocking).

    Raises AppError as `read_header` does, and when the file is not the model itself or a part of it is missing.
    """
    named = _PART.match(path.name)
    if named and int(named["number"]) > 1:
        first = f"{named['stem']}-00001-of-{named['count']}.gguf"
        raise AppError(
            "not_first_part",
            f"“{path.name}” is part {int(named['number'])} of {int(named['count'])} of a model.",
            f"Choose the first part, “{first}”; the others are found beside it.",
        )
    header = read_header(path)
    if header.kind != "model":
        what = {"mmproj": "the image projector of a model", "adapter": "an adapter for a model"}.get(header.kind)
        raise AppError(
            "not_a_model",
            f"“{path.name}” is {what or 'an addition to a model'}, not a model.",
            "Add the model itself; this file belongs into its load_config.",
        )
    if header.parts == 1 or named is None:
        return header
    rest = [_part(path, named, number) for number in range(2, header.parts + 1)]
    return replace(
        header,
        parameter_count=header.parameter_count + sum(part.parameter_count for part in rest),
        tensor_count=header.tensor_count + sum(part.tensor_count for part in rest),
        size_bytes=header.size_bytes + sum(part.size_bytes for part in rest),
        expected_size=header.expected_size + sum(part.expected_size for part in rest),
        tensors=header.tensors + tuple(tensor for part in rest for tensor in part.tensors),
        quantization=header.quantization or next((part.quantization for part in rest if part.quantization), None),
    )


def _part(first: Path, named: re.Match[str], number: int) -> GgufHeader:
    path = first.with_name(f"{named['stem']}-{number:05d}-of-{named['count']}.gguf")
    if not path.exists():
        raise AppError(
            "part_missing",
            f"Part {number} of the model, “{path.name}”, is missing in “{path.parent}”.",
            "Download the missing part into the same folder.",
        )
    return read_header(path)
