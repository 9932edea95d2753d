"""The dialect of Anthropic's Messages API."""

from __future__ import annotations

import json
import secrets
from typing import Any

from quarterdeck.errors import AppError
from quarterdeck.proxy.dialects.anthropic_request import read_request
from quarterdeck.proxy.dialects.base import Asked, Dialect, Fields, Writer
from quarterdeck.proxy.dialects.checks import as_json
from quarterdeck.proxy.dialects.pieces import BlockWriter, Call, Kind, Piece, Pieces, count, detail, named_event

ANTHROPIC_PATHS = ("/v1/messages",)
COUNT_TOKENS_PATH = "/v1/messages/count_tokens"

# Clients send thoughts back only where they are signed.
_SIGNATURE = "quarterdeck"

_LETTERS_PER_TOKEN = 4
_TOKENS_PER_MESSAGE = 4
_TOKENS_PER_IMAGE = 1000

_STOP_REASONS = {
    "stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "function_call": "tool_use",
    "content_filter": "refusal",
}  # fmt: skip
_ERROR_TYPES = {
    401: "authentication_error", 403: "permission_error", 404: "not_found_error", 413: "request_too_large",
    429: "rate_limit_error", 503: "overloaded_error", 504: "timeout_error", 529: "overloaded_error",
}  # fmt: skip


def anthropic_error(error: AppError) -> Fields:
    """The error object of the Messages API; code, hint and details ride along."""
    kind = _ERROR_TYPES.get(error.status, "invalid_request_error" if error.status < 500 else "api_error")
    message = f"{error.sentence} {error.hint}".strip()
    return {
        "type": "error",
        "error": {**error.details, "type": kind, "message": message, "code": error.code, "hint": error.hint},
    }


def count_tokens(fields: Fields) -> Fields:
    """The answer for COUNT_TOKENS_PATH: about how many tokens the request has, told from its length.

    Raises AppError (400) for what is no request of the Messages API.
    """
    asked = read_request(fields)
    messages = asked.fields["messages"]
    size, images = 0, 0
    for message in messages:
        content = message["content"]
        parts = content if isinstance(content, list) else []
        texts = [part for part in parts if part["type"] != "image_url"]
        images += len(parts) - len(texts)
        size += len(as_json({**message, "content": texts} if parts else message, "messages"))
    size += len(as_json(asked.fields.get("tools", ""), "tools"))
    tokens = size // _LETTERS_PER_TOKEN + _TOKENS_PER_MESSAGE * len(messages) + _TOKENS_PER_IMAGE * images
    return {"input_tokens": max(tokens, 1)}


class AnthropicDialect(Dialect):
    """Clients of Anthropic's Messages API."""

    name = "anthropic"

    def read(self, path: str, fields: Fields) -> Asked:
        return read_request(fields)

    def answer(self, asked: Asked, answer: Fields) -> Fields:
        said = Pieces()
        content = [_block(piece) for piece in said.take_whole(answer) if not _is_hidden(piece.kind, asked)]
        stop_reason, stop_sequence = _stop(asked, said, any(block["type"] == "tool_use" for block in content))
        message = _message(asked, content)
        return message | {"stop_reason": stop_reason, "stop_sequence": stop_sequence, "usage": _usage(said.usage)}

    def writer(self, asked: Asked) -> Writer:
        return AnthropicWriter(asked)

    def error(self, error: AppError) -> Fields:
        return anthropic_error(error)


class AnthropicWriter(BlockWriter):
    """Writes the events of a message: message_start, blocks, message_delta, message_stop."""

    def __init__(self, asked: Asked) -> None:
        super().__init__()
        self._asked = asked
        self._index = -1
        self._called = False

    def error(self, error: AppError) -> bytes:
        return named_event(anthropic_error(error))

    def _start(self) -> bytes:
        message = {**_message(self._asked, []), "stop_reason": None, "stop_sequence": None, "usage": _usage({})}
        return named_event({"type": "message_start", "message": message})

    def _open(self, kind: Kind, call: Call | None) -> bytes:
        if _is_hidden(kind, self._asked):
            return b""
        self._index += 1
        block: Fields
        if call is not None:
            self._called = True
            block = {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}
        elif kind == "reasoning":
            block = {"type": "thinking", "thinking": "", "signature": ""}
        else:
            block = {"type": "text", "text": ""}
        return named_event({"type": "content_block_start", "index": self._index, "content_block": block})

    def _fill(self, piece: Piece) -> bytes:
        if _is_hidden(piece.kind, self._asked):
            return b""
        match piece.kind:
            case "call":
                return self._delta({"type": "input_json_delta", "partial_json": piece.text})
            case "reasoning":
                return self._delta({"type": "thinking_delta", "thinking": piece.text})
            case _:
                return self._delta({"type": "text_delta", "text": piece.text})

    def _close(self, kind: Kind, call: Call | None) -> bytes:
        if _is_hidden(kind, self._asked):
            return b""
        signed = self._delta({"type": "signature_delta", "signature": _SIGNATURE}) if kind == "reasoning" else b""
        return signed + named_event({"type": "content_block_stop", "index": self._index})

    def _finish(self) -> bytes:
        stop_reason, stop_sequence = _stop(self._asked, self._said, self._called)
        delta = {"stop_reason": stop_reason, "stop_sequence": stop_sequence}
        last = {"type": "message_delta", "delta": delta, "usage": _usage(self._said.usage)}
        return named_event(last) + named_event({"type": "message_stop"})

    def _delta(self, delta: Fields) -> bytes:
        return named_event({"type": "content_block_delta", "index": self._index, "delta": delta})


def _message(asked: Asked, content: list[Fields]) -> Fields:
    identity = f"msg_{secrets.token_hex(12)}"
    return {"id": identity, "type": "message", "role": "assistant", "model": asked.model, "content": content}


def _block(piece: Piece) -> Fields:
    if piece.call is not None:
        return {"type": "tool_use", "id": piece.call.id, "name": piece.call.name, "input": _input(piece.text)}
    if piece.kind == "reasoning":
        return {"type": "thinking", "thinking": piece.text, "signature": _SIGNATURE}
    return {"type": "text", "text": piece.text}


def _input(arguments: str) -> Any:
    """The arguments of a call as an object. What is none is handed over as a text, for the client to refuse."""
    try:
        value = json.loads(arguments or "{}")
    except (ValueError, RecursionError):
        value = None
    return value if isinstance(value, dict) else {"arguments": arguments}


def _stop(asked: Asked, said: Pieces, called: bool) -> tuple[str, str | None]:
    """Why the answer ended, and the stop sequence that ended it."""
    if called and said.finish not in ("length", "content_filter"):
        return "tool_use", None
    if said.finish == "stop" and said.stopped_by in (asked.fields.get("stop") or ()):
        return "stop_sequence", said.stopped_by
    return _STOP_REASONS.get(said.finish or "stop", "end_turn"), None


def _usage(usage: Fields) -> Fields:
    cached = detail(usage, "prompt_tokens_details", "cached_tokens")
    return {
        "input_tokens": max(count(usage.get("prompt_tokens")) - cached, 0),
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": cached,
        "output_tokens": count(usage.get("completion_tokens")),
    }


def _is_hidden(kind: Kind, asked: Asked) -> bool:
    return kind == "reasoning" and "hide_thinking" in asked.kept
