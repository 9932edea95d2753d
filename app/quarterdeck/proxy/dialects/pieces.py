"""Takes answers of the hub apart: what was thought, said and called, piece by piece."""

from __future__ import annotations

import json
import secrets
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from quarterdeck.errors import AppError
from quarterdeck.proxy.dialects.base import Fields, Writer

Kind = Literal["reasoning", "text", "refusal", "call"]


@dataclass(eq=False, slots=True)
class Call:
    """A call of a tool; `arguments` are JSON as a text, as far as they have come."""

    id: str
    name: str
    arguments: str = ""


@dataclass(slots=True)
class Piece:
    """A bit of the answer. `text` may be empty where a call begins; `logprobs` are those of this text."""

    kind: Kind
    text: str
    call: Call | None = None
    logprobs: list[Any] = field(default_factory=list)


class Pieces:
    """Reads the chunks of one answer, or a whole one, and keeps how it ended.

    `finish` is the hub's finish_reason, `stopped_by` the stop sequence where the engine names it, `usage` the hub's.
    Shapes that no engine should send are passed over.
    """

    def __init__(self) -> None:
        self.finish: str | None = None
        self.stopped_by: str | None = None
        self.usage: Fields = {}
        self._calls: dict[int, Call] = {}

    def take(self, chunk: Fields) -> Iterator[Piece]:
        """The pieces of a chunk, in order."""
        if isinstance(chunk.get("usage"), dict):
            self.usage = chunk["usage"]
        for choice in _objects(chunk.get("choices")):
            if choice.get("index", 0) == 0:
                yield from self._choice(choice, choice.get("delta"))

    def take_whole(self, answer: Fields) -> list[Piece]:
        """The pieces of an answer that is not streamed."""
        if isinstance(answer.get("usage"), dict):
            self.usage = answer["usage"]
        choices = _objects(answer.get("choices"))
        return list(self._choice(choices[0], choices[0].get("message"))) if choices else []

    def _choice(self, choice: Fields, said: Any) -> Iterator[Piece]:
        self.finish = _text(choice.get("finish_reason")) or self.finish
        self.stopped_by = _text(choice.get("stop_reason")) or self.stopped_by
        if not isinstance(said, dict):
            return
        if thought := _text(said.get("reasoning_content")) or _text(said.get("reasoning")):
            yield Piece("reasoning", thought)
        if text := _text(said.get("content")):
            logprobs = choice.get("logprobs")
            yield Piece("text", text, logprobs=_objects(logprobs.get("content")) if isinstance(logprobs, dict) else [])
        if refusal := _text(said.get("refusal")):
            yield Piece("refusal", refusal)
        for position, call in enumerate(_objects(said.get("tool_calls"))):
            yield from self._call(call, position)

    def _call(self, delta: Fields, position: int) -> Iterator[Piece]:
        index = delta["index"] if isinstance(delta.get("index"), int) else position
        function = delta["function"] if isinstance(delta.get("function"), dict) else {}
        call_id, name = _text(delta.get("id")), _text(function.get("name"))
        arguments = function.get("arguments")
        text = _text(arguments) if not isinstance(arguments, dict) else json.dumps(arguments)
        call = self._calls.get(index)
        # Some engines give every call the same index; another id with a name is another call.
        if call is None or (call_id and name and call.name and call_id != call.id):
            call = self._calls[index] = Call(call_id or f"call_{secrets.token_hex(12)}", "")
        call.arguments += text
        if not call.name:
            if name:
                call.name = name
                yield Piece("call", call.arguments, call)
        elif text:
            yield Piece("call", text, call)


class BlockWriter(Writer):
    """A writer for dialects that tell an answer as blocks, one after the other: each is opened, filled and closed."""

    def __init__(self) -> None:
        self._said = Pieces()
        self._started = False
        self._kind: Kind | None = None
        self._call: Call | None = None
        self._done: set[Call] = set()

    def write(self, chunk: Fields) -> bytes:
        told = [] if self._started else [self._begin()]
        for piece in self._said.take(chunk):
            if self._kind != piece.kind or self._call is not piece.call:
                told += [self._leave(), self._enter(piece)]
            if piece.text:
                told.append(self._fill(piece))
        return b"".join(told)

    def end(self) -> bytes:
        begun = b"" if self._started else self._begin()
        return begun + self._leave() + self._finish()

    def _begin(self) -> bytes:
        self._started = True
        return self._start()

    def _enter(self, piece: Piece) -> bytes:
        if piece.call in self._done:
            raise AppError(
                "upstream_error",
                "The engine mixed the pieces of two tool calls.",
                "Send the request again.",
                status=502,
            )
        self._kind, self._call = piece.kind, piece.call
        return self._open(piece.kind, piece.call)

    def _leave(self) -> bytes:
        if self._kind is None:
            return b""
        if self._call is not None:
            self._done.add(self._call)
        closing = self._close(self._kind, self._call)
        self._kind = self._call = None
        return closing

    @abstractmethod
    def _start(self) -> bytes:
        """What comes before everything else."""

    @abstractmethod
    def _open(self, kind: Kind, call: Call | None) -> bytes:
        """A block begins."""

    @abstractmethod
    def _fill(self, piece: Piece) -> bytes:
        """More of the open block."""

    @abstractmethod
    def _close(self, kind: Kind, call: Call | None) -> bytes:
        """The open block ends."""

    @abstractmethod
    def _finish(self) -> bytes:
        """What comes after the last block."""


def named_event(value: Fields) -> bytes:
    """One server-sent event under the name of its type."""
    return f"event: {value['type']}\ndata: {json.dumps(value, separators=(',', ':'))}\n\n".encode()


def count(value: Any) -> int:
    """A number of tokens; 0 where none is told."""
    return value if isinstance(value, int) and value > 0 else 0


def detail(usage: Fields, group: str, name: str) -> int:
    """A number of tokens out of a group of `usage`, such as prompt_tokens_details.cached_tokens."""
    details = usage.get(group)
    return count(details.get(name)) if isinstance(details, dict) else 0


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _objects(value: Any) -> list[Fields]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
