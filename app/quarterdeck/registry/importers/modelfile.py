"""Reads an Ollama Modelfile."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from quarterdeck.registry.importers.arguments import EngineOption, Engines, value_of
from quarterdeck.registry.importers.plan import ImportPlan, PlannedModel
from quarterdeck.registry.importers.texts import wrong

FORMAT = "modelfile"
TITLE = "Ollama Modelfile"

_FROM = re.compile(r"^[ \t]*FROM[ \t]+\S", re.IGNORECASE | re.MULTILINE)
_DROPPED = {
    "TEMPLATE": "the template", "SYSTEM": "the system prompt", "ADAPTER": "the adapter", "LICENSE": "the license",
    "MESSAGE": "example messages", "REQUIRES": "the required version", "RENDERER": "the renderer",
    "PARSER": "the parser",
}  # fmt: skip
_COMMANDS: tuple[str, ...] = ("FROM", "PARAMETER", *_DROPPED)
_QUOTES = ('"""', '"')
_FILES = (".gguf", ".bin")


def is_modelfile(text: str) -> bool:
    return _FROM.search(text) is not None


def read(text: str, name: str, engines: Engines) -> ImportPlan:
    """`name` is that of the file, or its path. Raises ConfigError with line and column."""
    source = ""
    dropped: dict[str, None] = {}
    parameters: list[tuple[str, str]] = []
    for line, command, value in _commands(text):
        if command == "FROM":
            if source:
                raise wrong("there is a second FROM", line, 1, "A Modelfile has one model.")
            source = value
        elif command == "PARAMETER":
            parameter, _, rest = value.partition(" ")
            parameters.append((parameter.strip(), _unquoted(rest.strip())))
        else:
            dropped[_DROPPED[command]] = None
    if not source:
        raise wrong("there is no FROM, which names the model", 1, 1)
    entry = _planned(source, name)
    config = _load_config(parameters, engines.get(entry.values["backend"], ()), dropped)
    if config:
        entry.values["load_config"] = config
    entry.dropped = list(dropped)
    return ImportPlan(FORMAT, TITLE, [entry])


def _planned(source: str, name: str) -> PlannedModel:
    is_path = source.startswith(("/", ".", "~")) or source.lower().endswith(_FILES)
    called = _called(name)
    if not is_path:
        entry = PlannedModel(called or source)
        entry.values = {"backend": "ollama", "served_name": source}
        return entry
    path = os.path.expanduser(source)  # noqa: PTH111 (no error for an unknown ~user)
    entry = PlannedModel(called or Path(source).stem, {"backend": "embedded"})
    folder = Path(name).parent
    if os.path.isabs(path) or folder.is_absolute():  # noqa: PTH117
        entry.values["path"] = os.path.normpath(folder / path)
        if not path.lower().endswith(".gguf") and "sha256-" not in path:
            entry.values["backend"] = "vllm"
    else:
        entry.problem = f"“{source}” is relative to the folder of the Modelfile; import the file by its path."
    return entry


def _called(name: str) -> str:
    """The model's name from that of the file: `Modelfile.coder`, `coder.Modelfile` or `coder.modelfile`."""
    stem = re.sub(r"^modelfile[._-]?|[._-]?modelfile(\.txt)?$", "", Path(name).name, flags=re.IGNORECASE)
    return "" if stem in ("text", ".txt") else stem


def _load_config(parameters: list[tuple[str, str]], options: Any, dropped: dict[str, None]) -> dict[str, Any]:
    """Parameters that belong to loading; sampling values are not kept with a model yet."""
    known: dict[str, EngineOption] = {name: option for option in options for name in (option.name, *option.also)}
    # Ollama's names for what llama.cpp calls otherwise.
    meant = {"num_ctx": "n_ctx", "num_gpu": "n_gpu_layers", "num_thread": "n_threads", "num_batch": "n_batch"}
    config: dict[str, Any] = {}
    for parameter, text in parameters:
        option = known.get(parameter) or known.get(meant.get(parameter, ""))
        value = None if option is None else value_of(text, option.kind)
        if option is None or value is None:
            dropped[f"the parameter {parameter}"] = None
        else:
            config[option.name] = value
    return config


def _commands(text: str) -> Iterator[tuple[int, str, str]]:
    """Line, command and value of every instruction. Raises ConfigError for what is none."""
    lines = text.splitlines()
    number = 0
    while number < len(lines):
        line, start = lines[number].strip(), number + 1
        number += 1
        if not line or line.startswith("#"):
            continue
        command, _, value = line.partition(" ")
        if command.upper() not in _COMMANDS:
            shown = command if len(command) <= 40 else f"{command[:39]}…"
            raise wrong(f"“{shown}” is no instruction of a Modelfile", start, 1, f"It knows {', '.join(_COMMANDS)}.")
        value = value.strip()
        quote = next((each for each in _QUOTES if _opens(value, each)), None)
        if quote is not None:
            value, number = _quoted(lines, value, quote, number, start)
        yield start, command.upper(), value


def _opens(value: str, quote: str) -> bool:
    """Whether a text begins in quotes here; a parameter's text may follow its name."""
    at = value.find(quote)
    return at >= 0 and (at == 0 or value[at - 1] == " ") and value.count(quote) == 1


def _quoted(lines: list[str], value: str, quote: str, number: int, start: int) -> tuple[str, int]:
    """A text in quotes over several lines, and the number of the line behind it."""
    while number < len(lines):
        value += "\n" + lines[number]
        number += 1
        if quote in lines[number - 1]:
            return value, number
    raise wrong("the text that begins here is not closed", start, 1, f"Add the missing {quote}.")


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) >= 2 and text[0] == text[-1] == '"' else text
