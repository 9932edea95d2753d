"""What a message says: texts and pictures, whether its content is one text or a list of parts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from quarterdeck.proxy.dialects.base import Fields

PICTURE = "image_url"
_BETWEEN = "\n\n"


def parts_of(message: Fields) -> list[Fields]:
    """The content as a list of parts; empty where nothing is said."""
    content = message.get("content")
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return content or []


def text_of(message: Fields) -> str:
    """All that is said in words."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    return _BETWEEN.join(part["text"] for part in content or () if part.get("type") == "text")


def pictures_in(message: Fields) -> list[Fields]:
    """The parts that are pictures."""
    content = message.get("content")
    return [part for part in content if part.get("type") == PICTURE] if isinstance(content, list) else []


def has_pictures(messages: Sequence[Fields]) -> bool:
    return any(
        part.get("type") == PICTURE
        for message in messages
        if isinstance(content := message.get("content"), list)
        for part in content
    )


def texts_of(messages: Sequence[Fields]) -> Iterator[str]:
    """Every text that the model will read, calls of tools included."""
    for message in messages:
        content = message.get("content")
        if isinstance(content, str):
            yield content
        elif content:
            yield from (part["text"] for part in content if part.get("type") == "text")
        for call in message.get("tool_calls") or ():
            yield str(call.get("function", ""))


def joined(first: Any, second: Any) -> Any:
    """Two contents as one: nothing is lost, and their order stays. Texts stay a text."""
    if not first or not second:
        return first or second or ""
    if isinstance(first, str) and isinstance(second, str):
        return first + _BETWEEN + second
    return parts_of({"content": first}) + parts_of({"content": second})
