"""Answers of OpenAI-like backends, each with its own habits, in the hub's words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from quarterdeck.proxy.dialects.base import Asked, Fields
from quarterdeck.proxy.upstreams.base import Reader
from quarterdeck.proxy.upstreams.errors import error_within, upstream_error
from quarterdeck.proxy.upstreams.lines import Lines
from quarterdeck.proxy.values import as_object, as_objects, parsed
from quarterdeck.schemas.requests import Operation

_FINISH = {"function_call": "tool_calls", "eos": "stop", "eos_token": "stop", "stop_sequence": "stop", "": None}


def whole(asked: Asked, body: Fields) -> Fields:
    """A whole answer. Raises AppError when it tells of an error."""
    if (error := error_within(body)) is not None:
        raise error
    if asked.operation is Operation.EMBEDDINGS:
        return _embeddings(asked, body)
    for choice in _choices(body):
        _finish(choice)
        message = choice.get("message")
        if isinstance(message, dict):
            _reasoning(message)
            _old_call(message)
    return body


class OpenAIReader(Reader):
    """Reads server-sent events."""

    def __init__(self) -> None:
        self._lines = Lines()
        self._part = b""
        self._finished = False
        self._done = False
        self._calls = -1

    def feed(self, data: bytes) -> Iterator[Fields]:
        for line in self._lines.feed(data):
            if self._done:
                break
            if line.startswith(b"data:"):
                chunk = self._data(line[5:].strip())
                if chunk is not None:
                    yield chunk
            elif line.startswith((b"{", b"error:")):
                # Some servers break off their stream with an error that is no event.
                self._bare(line.removeprefix(b"error:"))
            elif not line:
                self._part = b""

    def _data(self, text: bytes) -> Fields | None:
        """The chunk in one line of data, if it is whole; else it goes on in the next line."""
        if text == b"[DONE]":
            self._done = True
            return None
        text = self._part + b"\n" + text if self._part else text
        try:
            chunk = parsed(text)
        except (ValueError, RecursionError):
            self._part = text
            return None
        self._part = b""
        return self._chunk(chunk) if isinstance(chunk, dict) else None

    def _bare(self, text: bytes) -> None:
        try:
            body = parsed(text)
        except (ValueError, RecursionError):
            return
        if isinstance(body, dict):
            error = error_within(body) or (upstream_error(502, text) if "message" in body else None)
            if error is not None:
                raise error

    def _chunk(self, chunk: Fields) -> Fields:
        if (error := error_within(chunk)) is not None:
            raise error
        for choice in _choices(chunk):
            _finish(choice)
            self._finished = self._finished or choice.get("finish_reason") is not None
            delta = choice.get("delta")
            if isinstance(delta, dict):
                _reasoning(delta)
                _old_call(delta)
                self._number(delta.get("tool_calls"))
        return chunk

    def _number(self, calls: Any) -> None:
        """Every delta of a call has the number of its call; a delta without one opens a call when it has a name."""
        for call in as_objects(calls):
            if not isinstance(call.get("index"), int):
                opens = bool(as_object(call.get("function")).get("name"))
                call["index"] = max(self._calls + 1 if opens else self._calls, 0)
            self._calls = max(self._calls, call["index"])

    @property
    def ended(self) -> bool:
        """Some servers end after the reason for the end, without a [DONE]."""
        return self._done or self._finished


def _choices(body: Fields) -> list[Fields]:
    choices = body.get("choices")
    if not isinstance(choices, list):
        body["choices"] = choices = []
    return as_objects(choices)


def _finish(choice: Fields) -> None:
    reason = choice.get("finish_reason")
    if isinstance(reason, str) and reason in _FINISH:
        choice["finish_reason"] = _FINISH[reason]


def _reasoning(message: Fields) -> None:
    """vLLM and Ollama say `reasoning`, llama.cpp and others `reasoning_content`, the hub's word."""
    if "reasoning" in message:
        reasoning = message.pop("reasoning")
        if isinstance(reasoning, str) and not message.get("reasoning_content"):
            message["reasoning_content"] = reasoning


def _old_call(message: Fields) -> None:
    """The older `function_call`, which some servers send as null in every answer."""
    call = message.pop("function_call", None)
    if isinstance(call, dict) and not message.get("tool_calls"):
        message["tool_calls"] = [{"index": 0, "id": "call_0", "type": "function", "function": call}]


def _embeddings(asked: Asked, body: Fields) -> Fields:
    """Servers of embeddings that answer in words of their own: `embeddings`, or one `embedding`."""
    if isinstance(body.get("data"), list):
        return body
    vectors = body.get("embeddings")
    if not isinstance(vectors, list):
        vectors = [body["embedding"]] if isinstance(body.get("embedding"), list) else []
    data = [
        {"index": index, **vector} if isinstance(vector, dict) else {"index": index, "embedding": vector}
        for index, vector in enumerate(vectors)
    ]
    usage = body.get("usage") or {"prompt_tokens": 0, "total_tokens": 0}
    return {
        "object": "list",
        "data": [{"object": "embedding", **each} for each in data],
        "model": body.get("model") or asked.model,
        "usage": usage,
    }
