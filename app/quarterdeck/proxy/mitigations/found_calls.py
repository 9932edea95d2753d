"""Calls of tools that a model wrote as text, because its engine did not recognise them.

A text counts only if it is nothing but calls, and only of tools that the request offered: an answer that merely holds
an object with a name stays what it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import Any

from quarterdeck.proxy.dialects.base import Fields

_FENCES = ("```json", "```tool_call", "```tool_calls", "```xml")
_OPENED = re.compile(r"```(?:json|tool_calls?|xml)?[ \t]*\n")
_TAGGED = re.compile(r"<tool_call>\s*(.*?)\s*</tool_call>", re.DOTALL)
_FUNCTION = re.compile(r"<function=([^>\s]+)>\s*(.*?)\s*</function>", re.DOTALL)
_NAMED = re.compile(r"<name>\s*(.*?)\s*</name>\s*<arguments>\s*(.*?)\s*</arguments>", re.DOTALL)
_MARKS = ("[TOOL_CALLS]", "<|python_tag|>")
_CALL_KEYS = frozenset(("id", "type", "name", "function", "arguments", "parameters"))
_ARGUMENTS = ("arguments", "parameters")

_BEGINNINGS = (
    *(f'{before}{{"{key}"' for before in ("", "[") for key in (*_CALL_KEYS, "tool_calls")),
    "<tool_call>", "<function=", "<name>", *_MARKS,
)  # fmt: skip
_MOST_SIGNS = max(map(len, _BEGINNINGS))


def may_become_a_call(text: str) -> bool:
    """Whether a text that began like this may turn out to be nothing but calls."""
    text = text.lstrip()
    opened = _OPENED.match(text)
    if opened is None and text.startswith("`"):
        return any(each.startswith(text.rstrip(" \t")) for each in _FENCES)
    start = "".join(text[opened.end() if opened else 0 :][: 4 * _MOST_SIGNS].split())[:_MOST_SIGNS]
    return any(each.startswith(start) or start.startswith(each) for each in _BEGINNINGS)


def calls_in(text: str, offered: Collection[str]) -> list[Fields] | None:
    """The `function` objects of the calls that `text` is; None where it is anything else."""
    if not offered or not may_become_a_call(text):
        return None
    found = _parsed(text.strip())
    return found if found and all(call["name"] in offered for call in found) else None


def _parsed(text: str) -> list[Fields] | None:
    opened = _OPENED.match(text)
    if opened is not None:
        if not text.endswith("```"):
            return None
        text = text[opened.end() : -3].strip()
    for mark in _MARKS:
        text = text.removeprefix(mark).strip()
    for pattern in (_FUNCTION, _NAMED):
        if pattern.match(text):
            return _all(text, pattern)
    if _TAGGED.match(text):
        inner = [_from_json(match[1]) for match in _TAGGED.finditer(text)]
        rest = _TAGGED.sub("", text).strip()
        return None if rest or None in inner else [call for calls in inner if calls for call in calls]
    return _from_json(text)


def _all(text: str, pattern: re.Pattern[str]) -> list[Fields] | None:
    """Name and arguments of every match, if the text is nothing else."""
    if pattern.sub("", text).strip():
        return None
    calls = []
    for match in pattern.finditer(text):
        arguments = _loads(match[2])
        if not isinstance(arguments, dict):
            return None
        calls.append({"name": match[1], "arguments": json.dumps(arguments)})
    return calls


def _from_json(text: str) -> list[Fields] | None:
    value = _loads(text)
    if isinstance(value, dict) and value.keys() == {"tool_calls"}:
        value = value["tool_calls"]
    if not isinstance(value, list):
        value = [value]
    calls = [_call(each) for each in value]
    return [call for call in calls if call] if calls and None not in calls else None


def _call(value: Any) -> Fields | None:
    """{"name", "arguments"}, alone or under "function"."""
    if not isinstance(value, dict) or not value.keys() <= _CALL_KEYS:
        return None
    inner = value.get("function")
    if isinstance(inner, dict):
        return _call({key: each for key, each in inner.items() if key != "function"})
    name = inner if isinstance(inner, str) and "name" not in value else value.get("name")
    given = [value[key] for key in _ARGUMENTS if key in value]
    if not isinstance(name, str) or len(given) != 1:
        return None
    arguments = _loads(given[0]) if isinstance(given[0], str) else given[0]
    return {"name": name, "arguments": json.dumps(arguments)} if isinstance(arguments, dict) else None


def _loads(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
