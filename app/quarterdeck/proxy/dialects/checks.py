"""What must be right about a request before it can be converted: the shapes, not the values."""

from __future__ import annotations

import json
from typing import Any

from quarterdeck.errors import AppError
from quarterdeck.proxy.dialects.base import Fields


def invalid(where: str, why: str) -> AppError:
    """The error for a field (`messages[2].content`) and what it must be."""
    return AppError("invalid_request", f"The field “{where}” {why}.", details={"param": where})


def model_named(fields: Fields) -> str:
    """The model's name. Raises AppError `model_required`."""
    model = fields.get("model")
    if not isinstance(model, str) or not model:
        raise AppError(
            "model_required", "The field “model” is missing or not a text.", "Name a model that GET /v1/models lists."
        )
    return model


def objects(value: Any, where: str) -> list[Fields]:
    """`value` as a list of objects; none where it is null. Raises AppError."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise invalid(where, "must be a list")
    for index, item in enumerate(value):
        if not isinstance(item, dict):
            raise invalid(f"{where}[{index}]", "must be an object")
    return value


def as_json(value: Any, where: str) -> str:
    """`value` as JSON. Raises AppError where it is nested deeper than can be written."""
    try:
        return json.dumps(value)
    except RecursionError:
        raise invalid(where, "is nested too deeply") from None


def text_of(item: Fields, name: str, where: str) -> str:
    """The text under `name` in `item`, which stands at `where`. Raises AppError."""
    value = item.get(name)
    if not isinstance(value, str):
        raise invalid(f"{where}.{name}", "must be a text")
    return value


def check_messages(fields: Fields) -> None:
    """Raises AppError unless `messages` are messages of OpenAI's chat, as far as conversions rely on it."""
    if "messages" not in fields:
        raise invalid("messages", "is missing")
    if not isinstance(fields["messages"], list):
        raise invalid("messages", "must be a list")
    for index, message in enumerate(objects(fields["messages"], "messages")):
        if not isinstance(message.get("role"), str):
            raise invalid(f"messages[{index}].role", "must be a text")
        content = message.get("content")
        if content is not None and not isinstance(content, str):
            _check_parts(content, f"messages[{index}].content")
        if message.get("tool_calls") is not None:
            _check_calls(message["tool_calls"], f"messages[{index}].tool_calls")


def check_tools(fields: Fields) -> None:
    """Raises AppError unless `tools`, where given, are objects whose functions have names."""
    for index, tool in enumerate(objects(fields.get("tools"), "tools")):
        if tool.get("type", "function") == "function":
            function = tool.get("function")
            if not isinstance(function, dict) or not isinstance(function.get("name"), str):
                raise invalid(f"tools[{index}].function", "must be an object with a name")


def _check_parts(content: Any, where: str) -> None:
    for index, part in enumerate(objects(content, where)):
        kind = part.get("type")
        if kind is not None and not isinstance(kind, str):
            raise invalid(f"{where}[{index}].type", "must be a text")
        if kind == "text" and not isinstance(part.get("text"), str):
            raise invalid(f"{where}[{index}].text", "must be a text")
        if kind == "image_url":
            image = part.get("image_url")
            if not isinstance(image.get("url") if isinstance(image, dict) else image, str):
                raise invalid(f"{where}[{index}].image_url", "must be an object with a url")


def _check_calls(calls: Any, where: str) -> None:
    for index, call in enumerate(objects(calls, where)):
        if call.get("type", "function") == "function":
            function = call.get("function")
            if not isinstance(function, dict) or not isinstance(function.get("name"), str):
                raise invalid(f"{where}[{index}].function", "must be an object with a name")
