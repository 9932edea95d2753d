"""Start commands of servers, from the setting “Start commands” (autostart_map)."""

from __future__ import annotations

import json
from typing import Any

from quarterdeck.errors import AppError


def commands(text: str) -> dict[str, list[str]]:
    """The command by model name. Raises AppError `bad_setting` naming what is wrong."""
    if not text.strip():
        return {}
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        comma_form = ":" in text and "{" not in text
        why = "The form “backend:service” is not supported" if comma_form else "It is not valid JSON"
        raise _bad(why) from None
    if not isinstance(parsed, dict):
        raise _bad("It is not a JSON object")
    return {name: _command(name, entry) for name, entry in parsed.items()}


def _command(name: str, entry: Any) -> list[str]:
    words = entry.get("command") if isinstance(entry, dict) else None
    if not isinstance(words, list) or not words or not all(isinstance(word, str) and word for word in words):
        raise _bad(f"The command of “{name}” must be a list of texts")
    return words


def _bad(why: str) -> AppError:
    return AppError(
        "bad_setting",
        f"“Start commands” cannot be used: {why[0].lower()}{why[1:]}.",
        'Write it as {"model name": {"command": ["program", "argument"]}}.',
    )
