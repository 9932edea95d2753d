"""The OpenAI dialect. Its words are the hub's, so that requests and answers go through as they are."""

from __future__ import annotations

import json
import math
from typing import Any

from quarterdeck.errors import AppError
from quarterdeck.proxy.dialects.base import Asked, Dialect, Fields, Writer
from quarterdeck.proxy.dialects.checks import check_messages, check_tools, invalid, model_named
from quarterdeck.schemas.requests import Operation

OPENAI_PATHS = {
    "/v1/chat/completions": Operation.CHAT,
    "/v1/completions": Operation.COMPLETION,
    "/v1/embeddings": Operation.EMBEDDINGS,
    "/v1/rerank": Operation.RERANK,
    "/v1/reranking": Operation.RERANK,
    "/rerank": Operation.RERANK,
    "/v1/images/generations": Operation.IMAGES,
    "/v1/audio/speech": Operation.SPEECH,
}

# Only these are answered as events; a speech that comes in pieces is audio, into which no comment may be written.
_STREAMED = frozenset((Operation.CHAT, Operation.COMPLETION))

# Our codes that have a name of their own among OpenAI's.
_CODES = {
    "unknown_model": "model_not_found",
    "unauthorized": "invalid_api_key",
    "rate_limited": "rate_limit_exceeded",
}

DONE = b"data: [DONE]\n\n"


def openai_error(error: AppError) -> Fields:
    """The OpenAI error object; `hint` and our details ride along, clients ignore what they do not know."""
    kind = "invalid_request_error" if error.status < 500 else "server_error"
    return {
        "error": {
            "message": f"{error.sentence} {error.hint}".strip(),
            "type": kind,
            "param": "model" if error.code == "unknown_model" else None,
            "code": _CODES.get(error.code, error.code),
            "hint": error.hint,
            **error.details,
        }
    }


def retry_after(error: AppError) -> dict[str, str]:
    """The header that tells clients when to come back, for errors that pass."""
    seconds = error.details.get("retry_after")
    return {"Retry-After": str(math.ceil(seconds))} if isinstance(seconds, int | float) else {}


def sse(value: Any) -> bytes:
    """One server-sent event without a name."""
    return b"data: " + json.dumps(value, separators=(",", ":")).encode() + b"\n\n"


class OpenAIDialect(Dialect):
    """Clients of OpenAI's API."""

    name = "openai"

    def read(self, path: str, fields: Fields) -> Asked:
        operation = OPENAI_PATHS[path]
        model_named(fields)
        stream = fields.get("stream")
        if stream is not None and not isinstance(stream, bool):
            raise invalid("stream", "must be true or false")
        if operation is Operation.CHAT:
            check_messages(fields)
            check_tools(fields)
        asked = Asked(operation, fields, stream is True and operation in _STREAMED)
        options = fields.get("stream_options")
        if isinstance(options, dict) and options.get("include_usage") is True:
            asked.kept["usage"] = True
        return asked

    def answer(self, asked: Asked, answer: Fields) -> Fields:
        return answer

    def writer(self, asked: Asked) -> Writer:
        return OpenAIWriter(wants_usage="usage" in asked.kept)

    def error(self, error: AppError) -> Fields:
        return openai_error(error)


class OpenAIWriter(Writer):
    """Writes chunks as they are. Usage is told at the end, in a chunk without choices, if the client asked for it."""

    def __init__(self, *, wants_usage: bool) -> None:
        self._wants_usage = wants_usage
        self._usage: Fields | None = None

    def write(self, chunk: Fields) -> bytes:
        if chunk.get("usage") is None:
            return sse(chunk)
        self._usage = {**chunk, "choices": []}
        if not chunk.get("choices"):
            return b""
        return sse({key: value for key, value in chunk.items() if key != "usage"})

    def end(self) -> bytes:
        return sse(self._usage) + DONE if self._wants_usage and self._usage else DONE

    def error(self, error: AppError) -> bytes:
        return sse(openai_error(error)) + DONE
