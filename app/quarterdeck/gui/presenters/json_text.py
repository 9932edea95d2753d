"""What the configuration editor knows of its text: the first mistake, its neat form, where an option stands."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from quarterdeck.errors import AppError, ConfigError
from quarterdeck.schemas.jsontext import parse_object, to_text

_QUOTED = re.compile(r"[“\"]([^”\"]+)[”\"]")


class Problem(NamedTuple):
    """A mistake in words; `line` and `column` count from 1, 0 where the place is not known."""

    sentence: str
    hint: str = ""
    line: int = 0
    column: int = 0

    @property
    def words(self) -> str:
        return f"{self.sentence} {self.hint}".strip()


class Example(NamedTuple):
    """An option that a person can add with one click."""

    title: str
    options: dict[str, Any]


EXAMPLES = (
    Example("Context of 4,096 tokens", {"n_ctx": 4096}),
    Example("Context of 16,384 tokens", {"n_ctx": 16384}),
    Example("Two processor threads", {"n_threads": 2}),
    Example("Keep everything off the GPU", {"n_gpu_layers": 0}),
    Example("Put all layers on the GPU", {"n_gpu_layers": 999}),
)


def find_problem(text: str) -> Problem | None:
    """The first mistake of a configuration text, None when it is a JSON object."""
    try:
        parse_object(text)
    except ConfigError as error:
        return Problem(error.sentence, error.hint, error.line, error.column)
    return None


def neat(text: str) -> str:
    """The same object, indented. Raises ConfigError when the text is not an object."""
    return to_text(parse_object(text))


def shown(load_config: str) -> str:
    """A stored configuration as the editor shows it: indented, or as it is when it cannot be read."""
    try:
        return neat(load_config)
    except ConfigError:
        return load_config


def same(left: str, right: str) -> bool:
    """Whether two texts mean the same configuration."""
    if left == right:
        return True
    try:
        # Dumped, because True == 1 and 1 == 1.0 in Python and not for an engine.
        return json.dumps(parse_object(left), sort_keys=True) == json.dumps(parse_object(right), sort_keys=True)
    except ConfigError:
        return False


def with_options(text: str, options: dict[str, Any]) -> str:
    """The text with `options` added or replaced. Raises ConfigError when the text is not an object."""
    return to_text(parse_object(text) | options)


def refusal(error: AppError, text: str) -> Problem:
    """The core's answer to a configuration, with the place in `text` that it speaks of where that can be told."""
    line, column = _number(error.details.get("line")), _number(error.details.get("column"))
    if not line:
        places = (_place_of(option, text) for option in _QUOTED.findall(error.sentence))
        line, column = next((place for place in places if place[0]), (0, 0))
    return Problem(error.sentence, error.hint, line, column)


def _place_of(option: str, text: str) -> tuple[int, int]:
    match = re.search(re.escape(json.dumps(option, ensure_ascii=False)) + r"\s*:", text)
    if match is None:
        return 0, 0
    before = text[: match.start()]
    return before.count("\n") + 1, match.start() - (before.rfind("\n") + 1) + 1


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0
