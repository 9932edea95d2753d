"""Requests that only ask whether a model is there: they are answered from what is known and never load it."""

from __future__ import annotations

import math
import time
import uuid
from datetime import UTC, datetime

from quarterdeck.proxy.dialects.base import Asked, Fields
from quarterdeck.scheduling import refusals
from quarterdeck.schemas.models import ModelView, Status
from quarterdeck.schemas.requests import Operation

_TRIVIAL = frozenset(
    {
        "", "a", "hello", "hello there", "hello world", "hey", "hi", "hi there", "health", "health check",
        "healthcheck", "health_check", "ok", "ping", "say hi", "say hello", "say ok", "test", "testing",
        "this is a test", "who are you", "are you there",
        # What LiteLLM sends.
        "test from litellm", "hey how's it going", "what's 1 + 1",
    }
)  # fmt: skip
_SIGNS = " \t\r\n.!?…"
_LONGEST = 32
_ANSWER = "OK"


def is_probe(asked: Asked) -> bool:
    """Whether a request is for one token about nothing, as health checks send it.

    Only known words count: one token of a question such as “Is 7 prime?” is an answer.
    """
    fields = asked.fields
    limit = fields.get("max_tokens")
    if limit is None:
        limit = fields.get("max_completion_tokens")
    if limit != 1 or fields.get("tools") or fields.get("response_format") or fields.get("logprobs"):
        return False
    text = _text(asked)
    return text is not None and len(text) <= _LONGEST and text.strip(_SIGNS).lower() in _TRIVIAL


def probe_answer(asked: Asked, view: ModelView) -> Fields:
    """A whole answer of the hub that says that the model is there.

    Raises AppError where a request would be refused: `incompatible` (409) and `cooling_down` (503).
    """
    if view.status is Status.INCOMPATIBLE:
        raise refusals.incompatible(view.name, view.notes)
    if view.cooldown_until is not None:
        seconds = (view.cooldown_until - datetime.now(UTC)).total_seconds()
        raise refusals.cooling_down(view.name, max(1, math.ceil(seconds)))
    chat = asked.operation is Operation.CHAT
    said: Fields = {"message": {"role": "assistant", "content": _ANSWER}} if chat else {"text": _ANSWER}
    return {
        "id": f"{'chatcmpl' if chat else 'cmpl'}-{uuid.uuid4().hex}",
        "object": "chat.completion" if chat else "text_completion",
        "created": int(time.time()),
        "model": asked.model,
        "choices": [{"index": 0, **said, "logprobs": None, "finish_reason": "length"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }


def _text(asked: Asked) -> str | None:
    """The only text of a request; None for a conversation, pictures and anything else that is more than one."""
    if asked.operation is Operation.COMPLETION:
        prompt = asked.fields.get("prompt")
        return prompt if isinstance(prompt, str) else None
    if asked.operation is not Operation.CHAT:
        return None
    messages = asked.fields.get("messages")
    if not isinstance(messages, list) or len(messages) != 1 or not isinstance(messages[0], dict):
        return None
    content = messages[0].get("content")
    if isinstance(content, list) and len(content) == 1 and isinstance(content[0], dict):
        content = content[0].get("text")
    return content if isinstance(content, str) else None
