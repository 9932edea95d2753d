"""Answers of Ollama's own API in the hub's words."""

from __future__ import annotations

import base64
import json
import secrets
import struct
import time
from collections.abc import Iterator
from typing import Any

from quarterdeck.proxy.dialects.base import Asked, Fields
from quarterdeck.proxy.dialects.ollama_words import hub_logprobs
from quarterdeck.proxy.upstreams.base import Reader
from quarterdeck.proxy.upstreams.errors import error_within
from quarterdeck.proxy.upstreams.lines import Lines
from quarterdeck.proxy.values import as_count, as_object, as_objects, parsed
from quarterdeck.schemas.backends import BackendKind
from quarterdeck.schemas.requests import Operation

_NS_PER_MS = 1_000_000


def whole(asked: Asked, body: Fields) -> Fields:
    """A whole answer. Raises AppError when it tells of an error."""
    if (error := error_within(body, BackendKind.OLLAMA)) is not None:
        raise error
    if asked.operation is Operation.EMBEDDINGS:
        return _embeddings(asked, body)
    chunks = _Chunks(asked)
    choice: Fields = {"index": 0}
    delta = chunks.delta(body)
    if asked.operation is Operation.CHAT:
        choice["message"] = {"role": "assistant", **delta, "content": delta.get("content") or ""}
    else:
        choice["text"] = delta.get("content") or ""
    choice["logprobs"] = chunks.logprobs(body)
    choice["finish_reason"] = chunks.finish(body)
    return {**chunks.head(whole=True), "choices": [choice], **_figures(body)}


class OllamaReader(Reader):
    """Reads lines of JSON from /api/chat and /api/generate."""

    def __init__(self, asked: Asked) -> None:
        self._lines = Lines()
        self._chunks = _Chunks(asked)
        self._ended = False

    def feed(self, data: bytes) -> Iterator[Fields]:
        for line in self._lines.feed(data):
            if self._ended or not line.strip():
                continue
            try:
                body = parsed(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(body, dict):
                yield from self._read(body)

    def _read(self, body: Fields) -> list[Fields]:
        if (error := error_within(body, BackendKind.OLLAMA)) is not None:
            raise error
        chunks = self._chunks
        if not body.get("done"):
            return [chunks.chunk(body, None)] if "message" in body or "response" in body else []
        self._ended = True
        return [chunks.chunk(body, chunks.finish(body)), {**chunks.head(), "choices": [], **_figures(body)}]

    @property
    def ended(self) -> bool:
        return self._ended


class _Chunks:
    """Makes the chunks of one answer, which share their id; counts its calls, whose own numbers are not reliable."""

    def __init__(self, asked: Asked) -> None:
        self._is_chat = asked.operation is Operation.CHAT
        self._model = asked.model
        self._id = ("chatcmpl-" if self._is_chat else "cmpl-") + secrets.token_hex(12)
        self._created = int(time.time())
        self._calls = 0
        self._begun = False

    def head(self, *, whole: bool = False) -> Fields:
        kind = "text_completion" if not self._is_chat else "chat.completion" if whole else "chat.completion.chunk"
        return {
            "id": self._id,
            "object": kind,
            "created": self._created,
            "model": self._model,
            "system_fingerprint": "fp_ollama",
        }

    def chunk(self, body: Fields, finish: str | None) -> Fields:
        delta = self.delta(body)
        choice: Fields = {"index": 0}
        if not self._is_chat:
            choice["text"] = delta.get("content") or ""
        elif self._begun:
            choice["delta"] = delta
        else:
            choice["delta"] = {"role": "assistant", "content": "", **delta}
            self._begun = True
        choice |= {"logprobs": self.logprobs(body), "finish_reason": finish}
        return {**self.head(), "choices": [choice]}

    def delta(self, body: Fields) -> Fields:
        """What one line says, of a chat or of a prompt."""
        message = body.get("message")
        if not isinstance(message, dict):
            message = {"content": body.get("response"), **body}
        delta: Fields = {}
        if message.get("content"):
            delta["content"] = message["content"]
        if message.get("thinking"):
            delta["reasoning_content"] = message["thinking"]
        if calls := as_objects(message.get("tool_calls")):
            delta["tool_calls"] = [self._call(each) for each in calls]
        return delta

    def _call(self, call: Fields) -> Fields:
        function = as_object(call.get("function"))
        arguments = function.get("arguments")
        index, self._calls = self._calls, self._calls + 1
        return {
            "index": index,
            "id": call.get("id") or f"call_{secrets.token_hex(6)}",
            "type": "function",
            "function": {
                "name": function.get("name") or "",
                "arguments": arguments if isinstance(arguments, str) else json.dumps(arguments or {}),
            },
        }

    def finish(self, body: Fields) -> str:
        if self._calls:
            return "tool_calls"
        return "length" if body.get("done_reason") == "length" else "stop"

    def logprobs(self, body: Fields) -> Fields | None:
        return hub_logprobs(body.get("logprobs"), chat=self._is_chat)


def _figures(body: Fields) -> Fields:
    """Usage and timings (milliseconds), with what only Ollama's own clients need again."""
    prompt, answer = as_count(body.get("prompt_eval_count")), as_count(body.get("eval_count"))
    figures: Fields = {
        "usage": {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer},
        "timings": {
            "prompt_n": prompt,
            "predicted_n": answer,
            **_times(body, prompt_ms="prompt_eval_duration", predicted_ms="eval_duration"),
            **_times(body, load_ms="load_duration", total_ms="total_duration"),
        },
    }
    if body.get("context"):
        figures["context"] = body["context"]
    if body.get("done_reason") in ("load", "unload"):
        figures["done_reason"] = body["done_reason"]
    return figures


def _times(body: Fields, **names: str) -> Fields:
    return {ours: as_count(body[theirs]) / _NS_PER_MS for ours, theirs in names.items() if theirs in body}


def _embeddings(asked: Asked, body: Fields) -> Fields:
    vectors = body.get("embeddings")
    if not isinstance(vectors, list):
        vectors = [body["embedding"]] if isinstance(body.get("embedding"), list) else []
    packed = asked.fields.get("encoding_format") == "base64"
    tokens = as_count(body.get("prompt_eval_count"))
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": _packed(vector) if packed else vector}
            for index, vector in enumerate(vectors)
            if isinstance(vector, list)
        ],
        "model": asked.model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        "timings": _times(body, load_ms="load_duration", total_ms="total_duration"),
    }


def _packed(vector: list[Any]) -> str | list[Any]:
    try:
        return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
    except (struct.error, OverflowError):
        return vector
