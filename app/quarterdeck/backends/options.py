"""Tables of engine options: what a load_config may hold, how a value is checked and how it becomes arguments."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from quarterdeck.errors import ConfigError

Kind = Literal["integer", "number", "text", "switch", "choice", "numbers", "path", "texts", "object", "pairs"]
"""`texts` is a list of texts, `object` any JSON object, `pairs` an object whose values are texts."""


@dataclass(frozen=True, slots=True)
class Option:
    """One option. `also` lists other names it is known by; limits are inclusive.

    `flag` is how the engine's command line names it, and `off` how it names a switch that is off; "" where nothing
    stands for that.
    """

    name: str
    kind: Kind
    text: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    flag: str = ""
    off: str = ""


EXTRA_ARGS = Option("extra_args", "texts", "Further arguments for the engine, one text each, passed on as they are.")


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


def arguments(options: Sequence[Option], config: Mapping[str, Any]) -> list[str]:
    """The command line for a checked config, in the order of the table; `extra_args` come last."""
    words: list[str] = []
    for option in options:
        if option.name in config and (option.flag or option.off):
            words += _words(option, config[option.name])
    return [*words, *config.get(EXTRA_ARGS.name, ())]


def check_extra_args(options: Sequence[Option], config: Mapping[str, Any], *, ours: Sequence[str]) -> None:
    """Refuse further arguments that repeat an option of the config, or name what Quarterdeck sets itself (`ours`).

    Raises ConfigError.
    """
    for argument in config.get(EXTRA_ARGS.name, ()):
        flag = argument.partition("=")[0]
        if flag in ours:
            raise ConfigError(
                "bad_load_config", f"“{flag}” cannot be among the “extra_args”.", "Quarterdeck sets it itself.",
                option=EXTRA_ARGS.name,
            )  # fmt: skip
        twice = [each.name for each in options if each.name in config and flag in (each.flag, each.off) and flag]
        if twice:
            raise ConfigError(
                "bad_load_config",
                f"“{flag}” is given twice: under “extra_args” and as “{twice[0]}”.",
                "Keep one of them.",
                option=EXTRA_ARGS.name,
            )


def _words(option: Option, value: Any) -> list[str]:
    match option.kind:
        case "switch":
            word = option.flag if value else option.off
            return [word] if word else []
        case "numbers":
            return [option.flag, ",".join(f"{part:g}" for part in value)]
        case "texts":
            return [option.flag, *value] if value else []
        case "object" | "pairs":
            return [option.flag, json.dumps(value, sort_keys=True)]
        case _:
            return [option.flag, str(value)]


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
    match option.kind:
        case "switch":
            right = isinstance(value, bool)
        case "integer":
            right = isinstance(value, int) and not isinstance(value, bool)
        case "number":
            right = _is_number(value)
        case "numbers":
            right = isinstance(value, list) and all(map(_is_number, value))
        case "texts":
            right = isinstance(value, list) and _are_texts(value)
        case "object":
            right = isinstance(value, dict)
        case "pairs":
            right = isinstance(value, dict) and _are_texts(value.values())
        case _:
            right = isinstance(value, str)
    return right


def _are_texts(values: Iterable[Any]) -> bool:
    """Texts that a process can be given: the system ends each at its first NUL."""
    return all(isinstance(value, str) and "\0" not in value for value in values)


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
        "texts": "a list of texts",
        "object": "an object",
        "pairs": "an object whose values are texts",
    }[option.kind]
    if option.minimum is not None and option.maximum is not None:
        return f"{words} from {option.minimum} to {option.maximum}"
    return f"{words} of at least {option.minimum}" if option.minimum is not None else words
