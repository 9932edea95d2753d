"""Builds the messages of a chat in the hub's words, out of dialects that cut them up in another way."""

from __future__ import annotations

from typing import Any

from quarterdeck.proxy.dialects.base import HUB_EXTENSIONS, Asked, Fields

CARRIED_EXTRAS = HUB_EXTENSIONS | {"seed", "frequency_penalty", "presence_penalty", "logit_bias"}
"""Fields that a dialect does not have, and that its clients may add in the hub's words."""

USAGE_WANTED = {"include_usage": True}


def text_part(text: str) -> Fields:
    return {"type": "text", "text": text}


def image_part(url: str, detail: Any = None) -> Fields:
    return {"type": "image_url", "image_url": {"url": url} if detail is None else {"url": url, "detail": detail}}


def file_part(name: Any, data: str) -> Fields:
    return {"type": "file", "file": {"filename": name if isinstance(name, str) else "file", "file_data": data}}


def drop(asked: Asked, name: str) -> None:
    """Note that `name` is not carried, once."""
    if name not in asked.dropped:
        asked.dropped.append(name)


class Conversation:
    """The messages so far.

    A tool's result is a text in the hub; images in it go into the next message of the user.
    """

    def __init__(self) -> None:
        self._messages: list[Fields] = []
        self._images: list[Fields] = []

    def say(self, role: str, parts: list[Fields]) -> None:
        """A message of the user, or of the system."""
        if role == "user" and self._images:
            parts, self._images = [*self._images, *parts], []
        self._show_images()
        self._messages.append({"role": role, "content": _content(parts)})

    def result(self, call_id: str, parts: list[Fields]) -> None:
        """What a tool gave back."""
        texts = [part["text"] for part in parts if part["type"] == "text"]
        others = [part for part in parts if part["type"] != "text"]
        self._images += others
        text = "\n".join(texts) if texts or not others else "(image)"
        self._messages.append({"role": "tool", "tool_call_id": call_id, "content": text})

    def answer(self) -> Fields:
        """A new message of the assistant, to be filled by `add_text`, `add_reasoning` and `add_call`."""
        self._show_images()
        self._messages.append({"role": "assistant", "content": None})
        return self._messages[-1]

    def last_answer(self) -> Fields | None:
        """The message of the assistant, if it is the last one."""
        last = self._messages[-1] if self._messages else None
        return last if last is not None and last["role"] == "assistant" else None

    def messages(self) -> list[Fields]:
        """All messages, when nothing more is added."""
        self._show_images()
        for message in self._messages:
            if message["content"] is None and "tool_calls" not in message:
                message["content"] = ""
        return self._messages

    def _show_images(self) -> None:
        if self._images:
            images, self._images = self._images, []
            self._messages.append({"role": "user", "content": images})


def add_text(answer: Fields, text: str) -> None:
    answer["content"] = (answer["content"] or "") + text


def add_reasoning(answer: Fields, text: str) -> None:
    before = answer.get("reasoning_content")
    answer["reasoning_content"] = f"{before}\n{text}" if before else text


def add_call(answer: Fields, call_id: str, name: str, arguments: str) -> None:
    calls = answer.setdefault("tool_calls", [])
    calls.append({"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}})


def function_tool(name: str, tool: Fields, parameters: Any) -> Fields:
    """A function of the hub; description and strictness as `tool` has them."""
    function: Fields = {"name": name, "parameters": parameters}
    for key in ("description", "strict"):
        if tool.get(key) is not None:
            function[key] = tool[key]
    return {"type": "function", "function": function}


def _content(parts: list[Fields]) -> str | list[Fields]:
    if not parts:
        return ""
    # Many chat templates know texts only; a list is for what no text can say.
    return str(parts[0]["text"]) if len(parts) == 1 and parts[0]["type"] == "text" else parts
