"""The items of a response: messages, reasoning and calls, with the names of their events."""

from __future__ import annotations

import secrets
from typing import Any, NamedTuple

from quarterdeck.proxy.dialects.base import Fields
from quarterdeck.proxy.dialects.pieces import Call, Piece


class Form(NamedTuple):
    """How an item holds its text: the kinds of the item and of its one part, and the names of their events."""

    item: str
    part_type: str
    key: str
    counter: str
    part: str
    text: str


_CONTENT = "response.content_part"
_MESSAGE = Form("message", "output_text", "text", "content_index", _CONTENT, "response.output_text")

FORMS = {
    "text": _MESSAGE,
    "refusal": Form("message", "refusal", "refusal", "content_index", _CONTENT, "response.refusal"),
    "reasoning": Form("reasoning", "reasoning_text", "text", "content_index", _CONTENT, "response.reasoning_text"),
    "summary": Form(
        "reasoning", "summary_text", "text", "summary_index", "response.reasoning_summary_part",
        "response.reasoning_summary_text",
    ),
}  # fmt: skip
"""By the kind of the piece; thoughts are a `summary` for clients that asked for one."""

_PREFIXES = {"message": "msg", "reasoning": "rs"}


class Item:
    """One item while it grows. `form` is None for a call."""

    def __init__(self, form: Form | None, call: Call | None) -> None:
        self.form = form
        self.id = f"{_PREFIXES[form.item] if form else 'fc'}_{secrets.token_hex(12)}"
        self.event = form.text if form else "response.function_call_arguments"
        self.logprobs: list[Any] = []
        self._call = call
        self._texts: list[str] = []

    @property
    def text(self) -> str:
        """What the item says so far; of a call, its arguments."""
        return "".join(self._texts)

    def add(self, piece: Piece) -> None:
        self._texts.append(piece.text)
        self.logprobs += piece.logprobs

    def begun(self) -> Fields:
        """The item before anything is in it."""
        return self._shape("in_progress", [], "")

    def done(self, status: str) -> Fields:
        """The item with all that is in it."""
        text = self.text
        return self._shape(status, [self.part(text)] if self.form else [], text)

    def part(self, text: str) -> Fields:
        """The one part of the item."""
        assert self.form is not None
        part: Fields = {"type": self.form.part_type, self.form.key: text}
        if self.form is _MESSAGE:
            part |= {"annotations": [], "logprobs": list(self.logprobs)}
        return part

    def _shape(self, status: str, parts: list[Fields], arguments: str) -> Fields:
        item: Fields = {"id": self.id, "status": status}
        if self.form is None:
            assert self._call is not None
            call = {"call_id": self._call.id, "name": self._call.name, "arguments": arguments}
            return {**item, "type": "function_call", **call}
        item["type"] = self.form.item
        if self.form.item == "message":
            return {**item, "role": "assistant", "content": parts}
        if self.form.part_type == "summary_text":
            return {**item, "summary": parts}
        return {**item, "summary": [], "content": parts}
