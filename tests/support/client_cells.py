"""What clients are asked to do, what they tell, and whether that is an answer. Standard library only."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

PLAIN, STREAM, TOOLS, TOOL_STREAM, FORCED, SCHEMA, IMAGE, EMBEDDINGS = FEATURES = (
    "plain", "stream", "tools", "tools, stream", "forced tool", "schema", "image", "embeddings",
)  # fmt: skip

OPENAI, RESPONSES, OLLAMA, ANTHROPIC = "chat", "responses", "ollama", "anthropic"

TOOL_NAME = "look"
TOOL_DESCRIPTION = "Tells what is to be seen."
_PLACES = ["sky", "sea"]
PARAMETERS: dict[str, Any] = {
    "type": "object", "properties": {"at": {"type": "string", "enum": _PLACES}}, "required": ["at"],
    "additionalProperties": False,
}  # fmt: skip
FUNCTION = {"name": TOOL_NAME, "description": TOOL_DESCRIPTION, "parameters": PARAMETERS}
COLOURS = ("blue", "red")
TEXTS = ["The sea is blue.", "Bread is baked."]

_CALL = f'<tool_call>\n{{"name": "{TOOL_NAME}", "arguments": {{"at": "sky"}}}}\n</tool_call>'
_SHORT, _WHOLE = 4, 40
_STOPPED = ("stop", "end_turn", "stop_sequence", "completed")
_CUT = ("length", "max_tokens", "max_output_tokens")
_CALLED = ("tool_calls", "tool_use", "function_call")


def schema_of(colours: tuple[str, ...]) -> dict[str, Any]:
    colour = {"type": "string", "enum": list(colours)}
    return {
        "title": "Answer", "type": "object", "properties": {"colour": colour}, "required": ["colour"],
        "additionalProperties": False,
    }  # fmt: skip


def _picture() -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    row = b"\0" + b"\xff\0\0" * 8
    head = struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(row * 8)) + chunk(b"IEND", b"")


PICTURE = base64.b64encode(_picture()).decode()
PICTURE_URL = f"data:image/png;base64,{PICTURE}"


@dataclass(frozen=True)
class Question:
    """What a client shall ask; every client has its own words for it. `limit` is in tokens."""

    model: str
    feature: str = PLAIN
    words: str = ""
    temperature: float = 0
    limit: int = 0
    seed: int | None = None
    stop: str | None = None
    colours: tuple[str, ...] = COLOURS

    @property
    def said(self) -> str:
        # A small model calls nothing of its own accord, but it repeats.
        return self.words or (f"Repeat this: {_CALL}" if self.has_tools else "What colour is the sky?")

    @property
    def most(self) -> int:
        return self.limit or (_WHOLE if self.has_tools or self.feature == SCHEMA else _SHORT)

    @property
    def streams(self) -> bool:
        return self.feature in (STREAM, TOOL_STREAM)

    @property
    def has_tools(self) -> bool:
        return self.feature in (TOOLS, TOOL_STREAM, FORCED)

    @property
    def schema(self) -> dict[str, Any]:
        return schema_of(self.colours)


@dataclass
class Said:
    """What a client got. `calls`: name and arguments; `usage`: tokens of the prompt and of the answer.

    `finish` is in the words of the dialect; None where the client does not tell, as are other things it does not tell.
    """

    text: str = ""
    calls: list[tuple[str, Any]] = field(default_factory=list)
    vectors: list[list[float]] = field(default_factory=list)
    usage: tuple[int, int] | None = None
    finish: str | None = None
    pieces: int = 0
    warning: str | None = None


class RefusalError(Exception):
    """A client was refused, as it tells it. `status` and `code` are None where it does not."""

    def __init__(self, status: int | None, code: str | None, sentence: str) -> None:
        super().__init__(f"{status} {code}: {sentence}")
        self.status, self.code, self.sentence = status, code, sentence


class RealClient(ABC):
    """One client as it is, speaking one dialect. `cannot`: the features that it, or its dialect, has no words for."""

    name: ClassVar[str]
    dialect: ClassVar[str]
    cannot: ClassVar[frozenset[str]] = frozenset()
    tells_finish: ClassVar[bool] = True
    fewest: ClassVar[int] = 0
    """Tokens that the client lets a model write at least, whatever it is told."""
    loses_usage: ClassVar[frozenset[str]] = frozenset()
    schema_words: ClassVar[str] = ""
    """What to say where the client asks for a schema in another way than by its dialect's word for it."""

    def __init__(self, url: str) -> None:
        self.url = url

    @abstractmethod
    def ask(self, question: Question) -> Said:
        """Raises RefusalError."""

    @abstractmethod
    def close(self) -> None:
        """Leave nothing open."""


def ending(finish: str | None) -> str:
    """Why an answer ended, whatever the dialect calls it: stop, length or calls."""
    for name, words in (("stop", _STOPPED), ("length", _CUT), ("calls", _CALLED)):
        if finish in words:
            return name
    raise AssertionError(f"the answer ended with {finish!r}")


def judge(kind: type[RealClient], question: Question, said: Said) -> str:
    """In short what the answer is; an AssertionError where it is none."""
    if question.feature == EMBEDDINGS:
        return _judge_vectors(said.vectors)
    if said.usage is not None or question.feature not in kind.loses_usage:
        _judge_usage(question, said.usage)
    if question.streams and not said.calls:
        assert said.pieces > 1, "the stream came in one piece"
    if said.calls:
        _judge_calls(question, said)
        ends, answer = ("calls", "stop"), "ok (call)"
    elif question.feature == SCHEMA:
        told = json.loads(said.text)
        assert set(told) == {"colour"}
        assert told["colour"] in question.colours
        ends, answer = ("stop",), "ok"
    else:
        assert said.text.strip(), "neither a text nor a call"
        ends, answer = ("stop", "length"), "ok (text)" if question.has_tools else "ok"
    assert not kind.tells_finish or ending(said.finish) in ends, f"it ended with {said.finish}"
    return answer


def _judge_usage(question: Question, usage: tuple[int, int] | None) -> None:
    assert usage is not None, "no usage"
    prompt, answer = usage
    assert prompt > 0, "the prompt has no tokens"
    assert 0 < answer <= question.most, f"{answer} tokens, and {question.most} were allowed"


def _judge_vectors(vectors: list[list[float]]) -> str:
    assert len(vectors) == len(TEXTS)
    first, second = vectors
    assert len(first) == len(second) > 10
    assert first != second
    assert all(isinstance(number, float) for number in first)
    return "ok"


def _judge_calls(question: Question, said: Said) -> None:
    assert question.has_tools, "a call, and no tool was offered"
    for name, arguments in said.calls:
        assert name == TOOL_NAME
        assert isinstance(arguments, Mapping)
        if question.feature == FORCED:
            assert arguments["at"] in _PLACES
