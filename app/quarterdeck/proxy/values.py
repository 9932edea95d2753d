"""What a backend says is not to be trusted: a value, or nothing of its kind."""

from __future__ import annotations

import json
from typing import Any


def parsed(text: bytes) -> Any:
    """The JSON value; bytes that are no UTF-8 become U+FFFD. Raises ValueError or RecursionError."""
    try:
        return json.loads(text)
    except UnicodeDecodeError:
        return json.loads(text.decode("utf-8", "replace"))


def as_object(value: object) -> dict[str, Any]:
    """The value where it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def as_objects(value: object) -> list[dict[str, Any]]:
    """The objects of a list; none where it is no list."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def as_list(value: object) -> list[Any]:
    """The value where it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def as_count(value: object) -> int:
    """The value where it is a whole number of a sane size, 0 and up; else 0."""
    return value if isinstance(value, int) and 0 <= value < 2**63 else 0
