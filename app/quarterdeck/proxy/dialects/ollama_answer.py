"""Answers of the hub in the words of Ollama's clients."""

from __future__ import annotations

import base64
import contextlib
import json
import struct
import time
from typing import Any

from quarterdeck.errors import AppError
from quarterdeck.proxy.dialects.base import Asked, Fields, Writer
from quarterdeck.proxy.dialects.ollama_words import arguments_object, ollama_logprobs
from quarterdeck.proxy.values import as_count, as_object, as_objects

_NS_PER_MS = 1_000_000
_LONGEST_MS = 10**12


def error_body(error: AppError) -> Fields:
    """The error as Ollama words it, with the code and details that programs may want."""
    return {"error": f"{error.sentence} {error.hint}".strip(), "code": error.code, **error.details}


def whole(asked: Asked, answer: Fields) -> Fields:
    """The whole answer to a chat or a prompt."""
    choice = _first(answer.get("choices"))
    message = as_object(choice.get("message")) or {"content": choice.get("text")}
    line = _Line(asked)
    calls = [call_of(index, each) for index, each in enumerate(as_objects(message.get("tool_calls")))]
    spoken = line.part(_words(message.get("content")), _reasoning(message), calls, choice.get("logprobs"))
    reason = answer.get("done_reason") or _done_reason(choice.get("finish_reason"))
    return spoken | _end(reason, answer) | durations(asked, answer, None)


def embeddings(asked: Asked, answer: Fields) -> Fields:
    """The vectors, in the form of the path that was asked: /api/embed or the older /api/embeddings."""
    entries = sorted(as_objects(answer.get("data")), key=lambda entry: as_count(entry.get("index")))
    vectors = [_vector(entry.get("embedding")) for entry in entries]
    if asked.kept["path"] == "/api/embeddings":
        return {"embedding": vectors[0] if vectors else []}
    timings = as_object(answer.get("timings"))
    return {
        "model": asked.kept["model"],
        "embeddings": vectors,
        "total_duration": _ns(timings.get("total_ms")) or time.perf_counter_ns() - asked.kept["started"],
        "load_duration": _ns(timings.get("load_ms")),
        "prompt_eval_count": as_count(as_object(answer.get("usage")).get("prompt_tokens")),
    }


class OllamaWriter(Writer):
    """Writes a stream as lines of JSON. Calls come as deltas and go as a whole, as Ollama's clients expect."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._line = _Line(asked)
        self._calls: dict[int, Fields] = {}
        self._open: list[Fields] = []
        self._reason: str | None = None
        self._figures: Fields = {}
        self._first_token: int | None = None

    def write(self, chunk: Fields) -> bytes:
        self._figures.update(
            {name: chunk[name] for name in ("usage", "timings", "context", "done_reason") if chunk.get(name)}
        )
        choice = _first(chunk.get("choices"))
        if not choice or choice.get("index"):
            return b""
        delta = as_object(choice.get("delta")) or {"content": choice.get("text")}
        for each in as_objects(delta.get("tool_calls")):
            self._collect(each)
        if not choice.get("finish_reason"):
            return self._spoken(delta, [], choice.get("logprobs"))
        self._reason = _done_reason(choice["finish_reason"])
        return self._spoken(delta, self._collected(), choice.get("logprobs"))

    def _spoken(self, delta: Fields, calls: list[Fields], logprobs: Any) -> bytes:
        words, thinking = _words(delta.get("content")), _reasoning(delta)
        if not (words or thinking or calls or logprobs):
            return b""
        if self._first_token is None:
            self._first_token = time.perf_counter_ns()
        return _dump(self._line.part(words, thinking, calls, logprobs) | {"done": False})

    def _collect(self, delta: Fields) -> None:
        index, key = as_count(delta.get("index")), delta.get("id")
        call = self._calls.get(index)
        if call is None or (key and call["id"] and key != call["id"]):
            call = self._calls[index] = {"id": None, "function": {"name": "", "arguments": ""}}
            self._open.append(call)
        function = as_object(delta.get("function"))
        call["id"] = call["id"] or key
        call["function"]["name"] += str(function.get("name") or "")
        arguments = function.get("arguments") or ""
        call["function"]["arguments"] += arguments if isinstance(arguments, str) else json.dumps(arguments)

    def _collected(self) -> list[Fields]:
        """The calls that are whole, when the answer is."""
        calls = [call_of(index, call) for index, call in enumerate(self._open)]
        self._open, self._calls = [], {}
        return calls

    def end(self) -> bytes:
        late = self._spoken({}, self._collected(), None)
        reason = self._figures.get("done_reason") or self._reason or "stop"
        last = self._line.part("", None, [], None) | _end(reason, self._figures)
        return late + _dump(last | durations(self._asked, self._figures, self._first_token))

    def error(self, error: AppError) -> bytes:
        return _dump(error_body(error))


class _Line:
    """One answer or a part of it, for a chat or for a prompt."""

    def __init__(self, asked: Asked) -> None:
        self._model = asked.kept["model"]
        self._is_chat = asked.kept["path"] == "/api/chat"

    def part(self, words: str, thinking: str | None, calls: list[Fields], logprobs: Any) -> Fields:
        line: Fields = {"model": self._model, "created_at": _now()}
        said: Fields = {"role": "assistant", "content": words} if self._is_chat else {"response": words}
        if thinking:
            said["thinking"] = thinking
        if calls:
            said["tool_calls"] = calls
        line |= {"message": said} if self._is_chat else said
        if entries := ollama_logprobs(logprobs):
            line["logprobs"] = entries
        return line


def call_of(index: int, call: Fields) -> Fields:
    """A call of the hub as Ollama writes it, with its arguments as an object."""
    function = as_object(call.get("function"))
    named = {"name": function.get("name") or "", "arguments": arguments_object(function.get("arguments"))}
    return ({"id": call["id"]} if call.get("id") else {}) | {"function": {"index": index, **named}}


def durations(asked: Asked, answer: Fields, first_token: int | None) -> Fields:
    """Token counts, and times in nanoseconds: the backend's own, else as measured here.

    `first_token` is when it was written; without it the whole time counts as that of the answer's tokens.
    """
    usage, timings = as_object(answer.get("usage")), as_object(answer.get("timings"))
    now, started = time.perf_counter_ns(), asked.kept["started"]
    total = _ns(timings.get("total_ms")) or now - started
    if timings.get("predicted_ms") is not None:
        reading, writing = _ns(timings.get("prompt_ms")), _ns(timings["predicted_ms"])
        load = _ns(timings["load_ms"]) if "load_ms" in timings else max(0, total - reading - writing)
    else:
        reading = first_token - started if first_token is not None else 0
        load, writing = 0, total - reading
    return {
        "total_duration": total,
        "load_duration": load,
        "prompt_eval_count": as_count(usage.get("prompt_tokens")) or as_count(timings.get("prompt_n")),
        "prompt_eval_duration": reading,
        "eval_count": as_count(usage.get("completion_tokens")) or as_count(timings.get("predicted_n")),
        "eval_duration": writing,
    }


def _end(reason: str, answer: Fields) -> Fields:
    context = {"context": answer["context"]} if answer.get("context") else {}
    return {"done": True, "done_reason": reason, **context}


def _first(choices: Any) -> Fields:
    return as_object(choices[0]) if isinstance(choices, list) and choices else {}


def _words(content: Any) -> str:
    """What is said; some servers answer with a list of parts."""
    if isinstance(content, str):
        return content
    return "".join(part["text"] for part in as_objects(content) if isinstance(part.get("text"), str))


def _reasoning(message: Fields) -> str | None:
    thoughts = message.get("reasoning_content") or message.get("reasoning")
    return thoughts if isinstance(thoughts, str) else None


def _done_reason(finish: str | None) -> str:
    return "length" if finish == "length" else "stop"


def _vector(value: Any) -> list[float]:
    """A vector that may have come as base64 of little-endian floats of four bytes."""
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            raw = base64.b64decode(value)
            return list(struct.unpack(f"<{len(raw) // 4}f", raw[: len(raw) // 4 * 4]))
    return value if isinstance(value, list) else []


def _ns(milliseconds: Any) -> int:
    sane = isinstance(milliseconds, int | float) and 0 <= milliseconds < _LONGEST_MS
    return round(milliseconds * _NS_PER_MS) if sane else 0


def _now() -> str:
    seconds, rest = divmod(time.time_ns(), 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest:09d}Z"


def _dump(line: Fields) -> bytes:
    return json.dumps(line, separators=(",", ":")).encode() + b"\n"
