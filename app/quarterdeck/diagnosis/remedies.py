"""Remedies with the numbers of the log: placeholders such as "{tokens:floor1024}" in texts and patches.

A placeholder names a group of the rule's patterns, or the ratio of two: "{free/total:floor0.01}". After a colon come
steps of arithmetic, from left to right: `floorX` and `ceilX` (to a multiple of X), `timesX`, `overX`, `plusX`,
`minusX`, and the limits `mostX` and `leastX`: "{free:over2:floor256}". Numbers may have thousands separators.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from string import Formatter

from pydantic import JsonValue

from quarterdeck.schemas.diagnosis import Remedy, RemedyKind

_STEP = re.compile(r"([a-z]+)(\d+(?:\.\d+)?)")
_NUMBER = re.compile(r"-?\d+(?:[,_]\d{3})*(?:\.\d+)?")

# So that 0.3 is three tenths, though 0.3 / 0.1 is a little less than 3.
_ROUNDING = 1e-9

_STEPS: dict[str, Callable[[float, float], float]] = {
    "floor": lambda value, step: math.floor(value / step + _ROUNDING) * step,
    "ceil": lambda value, step: math.ceil(value / step - _ROUNDING) * step,
    "times": lambda value, factor: value * factor,
    "over": lambda value, divisor: value / divisor,
    "plus": lambda value, more: value + more,
    "minus": lambda value, less: value - less,
    "most": min,
    "least": max,
}


class UnknownError(Exception):
    """A placeholder has no value, or none that the arithmetic can use."""


def names(*values: JsonValue) -> set[str]:
    """The placeholders in all texts of the values. Raises ValueError for a step that does not exist."""
    found: set[str] = set()
    for value in values:
        if isinstance(value, dict):
            found |= names(*value.values())
        elif isinstance(value, list):
            found |= names(*value)
        elif isinstance(value, str):
            for _, name, steps, _ in Formatter().parse(value):
                if name is not None:
                    _steps(steps or "")
                    found.update(name.split("/"))
    return found


def filled(text: str, values: Mapping[str, str]) -> str:
    """The text with the values in it. Raises UnknownError."""
    parts = []
    for literal, name, steps, _ in Formatter().parse(text):
        parts.append(literal)
        if name is not None:
            parts.append(_value(values, name, steps or ""))
    return "".join(parts)


def remedy(
    title: str, kind: RemedyKind, patch: Mapping[str, JsonValue] | None, command: str | None, values: Mapping[str, str]
) -> Remedy | None:
    """The remedy with the values in it; None where one is missing or makes no sense."""
    try:
        return Remedy(
            title=filled(title, values),
            kind=kind,
            patch=None if patch is None else {name: _patched(value, values) for name, value in patch.items()},
            command=None if command is None else filled(command, values),
        )
    except UnknownError:
        return None


def _patched(value: JsonValue, values: Mapping[str, str]) -> JsonValue:
    if isinstance(value, dict):
        return {name: _patched(inner, values) for name, inner in value.items()}
    if isinstance(value, list):
        return [_patched(inner, values) for inner in value]
    if not isinstance(value, str):
        return value
    parts = list(Formatter().parse(value))
    text = filled(value, values)
    alone = len(parts) == 1 and not parts[0][0] and parts[0][1] is not None
    return _as_number(text) if alone else text


def _as_number(text: str) -> JsonValue:
    if not _NUMBER.fullmatch(text):
        return text
    number = _number(text)
    return int(number) if number.is_integer() else number


def _value(values: Mapping[str, str], name: str, steps: str) -> str:
    found = [values.get(part, "").strip() for part in name.split("/")]
    if not all(found):
        raise UnknownError(name)
    if len(found) == 1 and not steps:
        return found[0]
    number, *divisors = map(_number, found)
    if not all(divisors):
        raise UnknownError(name)
    number /= math.prod(divisors)
    for step, operand in _steps(steps):
        number = _STEPS[step](number, operand)
    if number <= 0:
        raise UnknownError(name)
    return str(int(number)) if number.is_integer() else f"{number:.10g}"


def _number(text: str) -> float:
    if not _NUMBER.fullmatch(text):
        raise UnknownError(text)
    return float(text.replace(",", "").replace("_", ""))


def _steps(text: str) -> list[tuple[str, float]]:
    steps = []
    for part in filter(None, text.split(":")):
        match = _STEP.fullmatch(part)
        if match is None or match[1] not in _STEPS:
            raise ValueError(f"there is no step {part!r}; there are {', '.join(_STEPS)}, each with a number")
        if match[1] in ("floor", "ceil", "over") and not float(match[2]):
            raise ValueError(f"{part!r} divides by zero")
        steps.append((match[1], float(match[2])))
    return steps
