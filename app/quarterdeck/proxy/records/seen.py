"""What the bytes of an answer tell while they pass: the first token, the end, the counts. Nothing is decoded."""

from __future__ import annotations

import re
from time import perf_counter
from typing import Any, NamedTuple

from quarterdeck.proxy.dialects.base import Fields

TAIL_BYTES = 2048
HEAD_BYTES = 512
_OVERLAP = 40
_FIRST_TEXT = re.compile(rb'"(?:content|text|reasoning_content|reasoning|arguments|name)":\s*"[^"]')
_FIRST_WORD = re.compile(rb'"(?:content|response|thinking|name)":\s*"[^"]')
_TEXTS = ("content", "reasoning_content", "reasoning", "tool_calls")
_NUMBER = re.compile(rb"\s*:\s*(\d{1,15}(?:\.\d{1,15})?)")
_TEXT = re.compile(rb'\s*:\s*"')
_TRUE = re.compile(rb"\s*:\s*true")
_SOMETHING = re.compile(rb"\s*:\s*[^\sn]")
_NANOSECONDS = 1e9


class Figures(NamedTuple):
    """What an engine said of an answer; `pieces` are the parts of a stream that held text."""

    prompt_tokens: int | None
    completion_tokens: int | None
    tokens_per_second: float | None
    pieces: int


class Seen:
    """Looks at one answer on its way. `first` is the moment of its first text by `perf_counter`, 0 before it."""

    __slots__ = ("_chunk", "_ended", "_head", "_ndjson", "_pieces", "_stream", "_tail", "first")

    def __init__(self, stream: bool) -> None:
        self.first = 0.0
        self._stream = stream
        self._head = b""
        self._tail = b""
        self._ndjson = False
        self._ended = False
        self._pieces = 0
        self._chunk: Fields = {}

    def sse(self, data: bytes) -> None:
        """A part of an answer in OpenAI's words, streamed or whole."""
        if not self.first:
            self._begin(data, _FIRST_TEXT)
        else:
            self._pieces += data.count(b"data: {")
        self._tail = data[-TAIL_BYTES:] if len(data) >= TAIL_BYTES else (self._tail + data)[-TAIL_BYTES:]

    def ndjson(self, data: bytes) -> None:
        """A part of an answer in Ollama's words, streamed or whole."""
        self._ndjson = True
        if not self.first:
            self._begin(data, _FIRST_WORD)
        else:
            self._pieces += data.count(b"\n")
        self._tail = data[-TAIL_BYTES:] if len(data) >= TAIL_BYTES else (self._tail + data)[-TAIL_BYTES:]

    def chunk(self, chunk: Fields) -> None:
        """A chunk or a whole answer of the hub."""
        choices = chunk.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict):
                self._choice(choice)
        if not self._stream and not self.first:
            self.first = perf_counter()
        for name in ("usage", "timings"):
            if isinstance(chunk.get(name), dict):
                self._chunk[name] = chunk[name]
        self._ended |= "error" in chunk

    @property
    def ended(self) -> bool:
        """Whether the answer came to its end: it says so, gives the reason, or tells an error."""
        tail = self._tail
        if self._ended or not tail:
            return self._ended
        if self._ndjson:
            return _after(tail, b'"done"', _TRUE) is not None or _after(tail, b'"error"', _SOMETHING) is not None
        return (
            _after(tail, b'"finish_reason"', _TEXT) is not None
            or _after(tail, b'"error"', _SOMETHING) is not None
            or b"\ndata: [DONE]" in tail
            or tail.startswith(b"data: [DONE]")
        )

    @property
    def done(self) -> bool:
        """Whether the last that was seen of a stream in OpenAI's words is its [DONE]."""
        return self._tail.rstrip().endswith(b"[DONE]")

    @property
    def told_error(self) -> bytes | None:
        """The last line that tells of an error, as far as it is kept; None where none does."""
        tail = self._tail
        if _after(tail, b'"error"', _SOMETHING) is None:
            return None
        at = tail.rfind(b'"error"')
        return tail[tail.rfind(b"\n", 0, at) + 1 :].partition(b"\n")[0]

    def figures(self) -> Figures:
        """The counts that the engine gave; of Ollama's and llama.cpp's answers also their own speed."""
        if self._chunk:
            return self._of_chunks()
        if self._ndjson:
            return self._of_ollama()
        prompt, completion = self._count(b'"prompt_tokens"'), self._count(b'"completion_tokens"')
        rate = self._number(b'"predicted_per_second"')
        if completion is None and rate is not None:
            # llama.cpp tells its timings also where nobody asked for the usage.
            completion = self._count(b'"predicted_n"')
            prompt = _sum(self._count(b'"prompt_n"'), self._count(b'"cache_n"'))
        return Figures(prompt, completion, rate, self._pieces)

    def _begin(self, data: bytes, text: re.Pattern[bytes]) -> None:
        if not self._stream:
            self.first, self._head = perf_counter(), data[:HEAD_BYTES]
        elif text.search(self._tail[-_OVERLAP:] + data):
            self.first = perf_counter()
            self._pieces = 1

    def _choice(self, choice: Fields) -> None:
        said = choice.get("delta") or choice.get("message") or {}
        if choice.get("text") or (isinstance(said, dict) and any(said.get(name) for name in _TEXTS)):
            self._pieces += 1
            self.first = self.first or perf_counter()
        self._ended |= bool(choice.get("finish_reason"))

    def _of_chunks(self) -> Figures:
        usage, timings = self._chunk.get("usage", {}), self._chunk.get("timings", {})
        return Figures(
            _whole(usage.get("prompt_tokens")),
            _whole(usage.get("completion_tokens")),
            _real(timings.get("predicted_per_second")),
            self._pieces,
        )

    def _of_ollama(self) -> Figures:
        prompt, completion = self._count(b'"prompt_eval_count"'), self._count(b'"eval_count"')
        took = self._number(b'"eval_duration"')
        rate = completion * _NANOSECONDS / took if completion and took else None
        return Figures(prompt, completion, rate, self._pieces)

    def _count(self, key: bytes) -> int | None:
        number = self._number(key)
        return None if number is None else int(number)

    def _number(self, key: bytes) -> float | None:
        """The last number under `key`; some engines write the usage in front of a long answer."""
        found = _after(self._tail, key, _NUMBER) or _after(self._head, key, _NUMBER)
        return float(found[1]) if found else None


def _after(data: bytes, key: bytes, pattern: re.Pattern[bytes]) -> re.Match[bytes] | None:
    at = data.rfind(key)
    return None if at < 0 else pattern.match(data, at + len(key))


def _sum(one: int | None, other: int | None) -> int | None:
    return None if one is None else one + (other or 0)


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _real(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
