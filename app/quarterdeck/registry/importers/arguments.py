"""Turns the command line of an engine into a load_config, by the engine's own table of options."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


class EngineOption(Protocol):
    """An option of an engine as its backend declares it; see `backends.options.Option`."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def choices(self) -> tuple[str, ...]: ...
    @property
    def also(self) -> tuple[str, ...]: ...
    @property
    def flag(self) -> str: ...
    @property
    def off(self) -> str: ...


Engines = Mapping[str, Sequence[EngineOption]]
"""The options of every backend by its name. Flags that none of them stands for become extra arguments."""

_EXTRA_ARGS = "extra_args"

# Other ways in which people write the flags of an engine.
_SHORT: Mapping[str, Mapping[str, str]] = {
    "llama-server": {
        "-c": "--ctx-size", "-ngl": "--n-gpu-layers", "-t": "--threads", "-tb": "--threads-batch",
        "-b": "--batch-size", "-ub": "--ubatch-size", "-np": "--parallel", "-fa": "--flash-attn",
        "-ctk": "--cache-type-k", "-ctv": "--cache-type-v", "-sm": "--split-mode", "-mg": "--main-gpu",
        "-ts": "--tensor-split", "-mm": "--mmproj", "-lv": "--verbosity", "-kvu": "--kv-unified",
        "--log-verbosity": "--verbosity",
    },
    "vllm": {
        "-tp": "--tensor-parallel-size", "-pp": "--pipeline-parallel-size", "-dp": "--data-parallel-size",
        "-q": "--quantization",
    },
}  # fmt: skip
_FIXED = {
    "--mlock": ("load_mode", "mlock"),
    "--no-mmap": ("load_mode", "none"),
}
# What Quarterdeck decides itself; each has a value behind it.
_OURS = ("--host", "--port", "--api-key", "--log-file", "--uds")
_PATHS = ("-m", "--model")
_REPOSITORIES = ("-hf", "-hfr", "--hf-repo")
_ALIASES = ("-a", "--alias", "--served-model-name")
_WITH_VALUE = (*_OURS, *_PATHS, *_REPOSITORIES, *_ALIASES)
_UNITS = {"k": 1000, "m": 1_000_000, "K": 1024, "M": 1024 * 1024}


@dataclass
class Arguments:
    """A command line taken apart. `extra` are the arguments that no option stands for."""

    path: str = ""
    served_name: str = ""
    repository: str = ""
    load_config: dict[str, Any] = field(default_factory=dict)
    extra: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)


def parse(arguments: Sequence[str], backend: str, engines: Engines) -> Arguments:
    """Take apart the arguments behind the program's name, as the engine `backend` understands them.

    Arguments without an option become `extra_args` where the engine has that, else they are dropped and named.
    """
    options = engines.get(backend, ())
    parser = _Parser(options, _SHORT.get(backend, {}))
    parsed = parser.run(arguments)
    if parsed.extra and any(option.name == _EXTRA_ARGS and option.kind == "texts" for option in options):
        parsed.load_config[_EXTRA_ARGS] = parsed.extra
    elif parsed.extra:
        parsed.dropped.append(" ".join(parsed.extra))
    return parsed


class _Parser:
    def __init__(self, options: Sequence[EngineOption], short: Mapping[str, str]) -> None:
        self._short = short
        self._names = {option.name for option in options}
        self._by: dict[str, tuple[EngineOption, bool]] = {}
        for option in options:
            names = (_dashed(name) for name in (option.name, *option.also))
            self._by |= dict.fromkeys(filter(None, (*names, option.flag)), (option, True))
            if option.off:
                self._by[option.off] = (option, False)

    def run(self, arguments: Sequence[str]) -> Arguments:
        parsed = Arguments()
        rest = [part for argument in arguments for part in self._split(argument)]
        while rest:
            self._step(parsed, rest)
        return parsed

    def _split(self, argument: str) -> list[str]:
        """`--flag=value` as two arguments, where the flag is one we know."""
        flag, equals, value = argument.partition("=")
        return [flag, value] if equals and (self._canonical(flag) in self._by or flag in _WITH_VALUE) else [argument]

    def _canonical(self, flag: str) -> str:
        flag = self._short.get(flag, flag)
        return flag.replace("_", "-") if flag.startswith("--") else flag

    def _step(self, parsed: Arguments, rest: list[str]) -> None:
        written = rest.pop(0)
        flag = self._canonical(written)
        if not _is_flag(written):
            self._word(parsed, written)
        elif flag in self._by:
            self._option(parsed, written, *self._by[flag], rest)
        elif flag in _FIXED and _FIXED[flag][0] in self._names:
            option, value = _FIXED[flag]
            parsed.load_config[option] = value
        elif flag in _WITH_VALUE and _has_value(rest):
            self._own(parsed, flag, rest.pop(0))
        else:
            parsed.extra.append(written)
            while _has_value(rest):
                parsed.extra.append(rest.pop(0))

    def _word(self, parsed: Arguments, word: str) -> None:
        if parsed.path or parsed.extra:
            parsed.extra.append(word)
        else:
            parsed.path = word

    def _own(self, parsed: Arguments, flag: str, value: str) -> None:
        if flag in _PATHS:
            parsed.path = value
        elif flag in _REPOSITORIES:
            parsed.repository = value
        elif flag in _ALIASES:
            parsed.served_name = value.partition(",")[0].strip()
        else:
            parsed.dropped.append(flag)

    def _option(self, parsed: Arguments, written: str, option: EngineOption, on: bool, rest: list[str]) -> None:
        config = parsed.load_config
        if option.kind == "switch":
            config[option.name] = on
        elif option.kind == "texts" and _has_value(rest):
            config[option.name] = [rest.pop(0) for _ in range(_values_ahead(rest))]
        elif option.kind == "choice" and "on" in option.choices and not (rest and rest[0].lower() in option.choices):
            config[option.name] = "on"
        elif not _has_value(rest):
            parsed.extra.append(written)
        elif (value := value_of(rest[0], option.kind)) is not None:
            rest.pop(0)
            config[option.name] = value
        else:
            parsed.extra += [written, rest.pop(0)]


def value_of(text: str, kind: str) -> Any:
    """The value that `text` stands for, None when it is not of that kind."""
    read = _READERS.get(kind)
    if read is None:
        return text.strip()
    try:
        return read(text.strip())
    except (ValueError, OverflowError, RecursionError):
        return None


def _integer(text: str) -> int:
    unit = _UNITS.get(text[-1:])
    return int(_finite(text[:-1]) * unit) if unit else int(text)


def _finite(text: str) -> float:
    number = float(text)
    json.dumps(number, allow_nan=False)
    return number


def _numbers(text: str) -> list[float]:
    return [_finite(part) for part in text.replace("/", ",").split(",")]


def _object(text: str) -> dict[str, Any] | None:
    value = json.loads(text)
    return value if isinstance(value, dict) else None


def _switch(text: str) -> bool | None:
    return {"true": True, "1": True, "false": False, "0": False}.get(text.lower())


_READERS: Mapping[str, Callable[[str], Any]] = {
    "integer": _integer, "number": _finite, "numbers": _numbers, "object": _object, "pairs": _object,
    "switch": _switch,
}  # fmt: skip


def _dashed(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _is_flag(text: str) -> bool:
    return len(text) > 1 and text.startswith("-") and not text[1:].replace(".", "", 1).isdigit()


def _has_value(rest: list[str]) -> bool:
    return bool(rest) and not _is_flag(rest[0])


def _values_ahead(rest: list[str]) -> int:
    return next((at for at, word in enumerate(rest) if _is_flag(word)), len(rest))
