"""Reads JSON and YAML of other programs, with the line and column of every mistake."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from typing import Any

import yaml

from quarterdeck.errors import ConfigError

LONGEST_TEXT = 16 * 1024 * 1024
DEEPEST = 60


def read_json(text: str) -> Any:
    """Raises ConfigError `bad_import` with line and column."""
    try:
        return json.loads(text.removeprefix("\ufeff"), parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise wrong(f"{_sentence(error.msg)}", error.lineno, error.colno) from None
    except (RecursionError, ValueError) as error:
        raise wrong(f"{_sentence(str(error) or 'it is nested too deeply')}") from None


def read_yaml(text: str) -> Any:
    """Raises ConfigError `bad_import` with line and column, also when a key is given twice."""
    try:
        return yaml.load(text.removeprefix("\ufeff"), Loader=_Loader)  # noqa: S506 - a safe loader of ours
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = _sentence(error.problem or error.context or "it is not valid")
        raise wrong(what, mark.line + 1 if mark else 0, mark.column + 1 if mark else 0) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise wrong("there is a character that YAML does not allow", line, 1) from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise wrong(_sentence(str(error).partition("\n")[0] or "it is nested too deeply")) from None


def wrong(what: str, line: int = 0, column: int = 0, hint: str = "") -> ConfigError:
    """The error for a text that cannot be read."""
    where = f"Line {line}, column {column}: " if line else "The text cannot be read: "
    return ConfigError(
        "bad_import", f"{where}{what}.", hint or "Correct it there; nothing was changed.", line=line, column=column
    )


def mapping(value: object) -> Mapping[str, Any]:
    """`value` if it is a mapping, with its keys as texts; else an empty one."""
    return {str(key): each for key, each in value.items()} if isinstance(value, Mapping) else {}


def word(value: object) -> str:
    """`value` as a word: a text without spaces around it, a number as text, nothing for all else."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    return str(value).strip()


def words(value: object) -> list[str]:
    """`value` as a list of words; a single word is a list of one."""
    items = value if isinstance(value, list) else [value]
    return [found for item in items if (found := word(item))]


def positive(value: object) -> int | None:
    """A whole number above zero, also when it is written as text."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value.strip()[:18])
    return value if isinstance(value, int) and 0 < value < 1 << 62 else None


def _sentence(text: str) -> str:
    text = text.strip().rstrip(".:")
    return text[:1].lower() + text[1:]


def _refuse_constant(name: str) -> None:
    raise ValueError(f"“{name}” is not a number that JSON knows")


class _Loader(yaml.SafeLoader):
    """Safe, and strict about keys that are given twice: the second would silently replace the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        met: set[Hashable] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable) and key in met:
                raise yaml.constructor.ConstructorError(None, None, f"“{key}” is given twice", key_node.start_mark)
            if isinstance(key, Hashable):
                met.add(key)
        return super().construct_mapping(node, deep)


def _text_of_date(loader: yaml.SafeLoader, node: yaml.Node) -> str:
    """Dates stay as they are written: names and tags may look like one."""
    return str(node.value)


_Loader.add_constructor("tag:yaml.org,2002:timestamp", _text_of_date)
