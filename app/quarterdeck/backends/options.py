"""Tables of engine options: what a load_config may hold and how a value is checked."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from quarterdeck.errors import ConfigError

Kind = Literal["integer", "number", "text", "switch", "choice", "numbers", "path"]


@dataclass(frozen=True, slots=True)
class Option:
    """One option. `also` lists other names it is known by; limits are inclusive."""

    name: str
    kind: Kind
    text: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    also: tuple[str, ...] = ()


def check(options: Sequence[Option], load_config: Mapping[str, Any], *, backend: str) -> dict[str, Any]:
    """The config under canonical names. Raises ConfigError naming the option, the reason and what is allowed."""
    known = {alias: option for option in options for alias in (option.name, *option.also)}
    checked: dict[str, Any] = {}
    for key, value in load_config.items():
        option = known.get(key)
        if option is None:
            raise _unknown(key, known, backend)
        if option.name in checked:
            raise ConfigError(
                "bad_load_config",
                f"The option “{option.name}” is given twice, once as “{key}”.",
                "Keep one of them.",
                option=key,
            )
        checked[option.name] = _value(option, key, value)
    return checked


def _unknown(key: str, known: Mapping[str, Option], backend: str) -> ConfigError:
    near = difflib.get_close_matches(key, known, n=1)
    advice = f"Did you mean “{near[0]}”? " if near else ""
    return ConfigError(
        "unknown_option",
        f"{backend} has no option “{key}”.",
        f"{advice}Remove it, or put engine settings that Quarterdeck does not know under “extra_args”.",
        option=key,
    )


def _value(option: Option, key: str, value: Any) -> Any:
    if not _right_type(option, value):
        raise ConfigError(
            "bad_load_config", f"“{key}” must be {_expected(option)}, not {value!r}.", option.text, option=key
        )
    if option.kind == "choice" and value not in option.choices:
        raise ConfigError(
            "bad_load_config", f"“{key}” must be {_expected(option)}, not {value!r}.", option.text, option=key
        )
    numeric = isinstance(value, int | float) and not isinstance(value, bool)
    too_small = numeric and option.minimum is not None and value < option.minimum
    too_big = numeric and option.maximum is not None and value > option.maximum
    if too_small or too_big:
        raise ConfigError(
            "bad_load_config", f"“{key}” must be {_expected(option)}, not {value}.", option.text, option=key
        )
    return value


def _right_type(option: Option, value: Any) -> bool:
    if option.kind == "switch":
        return isinstance(value, bool)
    if isinstance(value, bool):
        return False
    if option.kind == "integer":
        return isinstance(value, int)
    if option.kind == "number":
        return _is_number(value)
    if option.kind == "numbers":
        return isinstance(value, list) and all(map(_is_number, value))
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _expected(option: Option) -> str:
    if option.kind == "choice":
        return "one of " + ", ".join(option.choices)
    words = {
        "integer": "a whole number",
        "number": "a number",
        "text": "text in quotes",
        "switch": "true or false",
        "numbers": "a list of numbers",
        "path": "a path in quotes",
    }[option.kind]
    if option.minimum is not None and option.maximum is not None:
        return f"{words} from {option.minimum} to {option.maximum}"
    return f"{words} of at least {option.minimum}" if option.minimum is not None else words
