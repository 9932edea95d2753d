"""What an upstream says to a chat when all goes well: in OpenAI's words and in Ollama's, whole and in pieces."""

from __future__ import annotations

import json
from typing import Any

WORDS = ("Three", " small", " hérons", " fly", " home.")
TEXT = "".join(WORDS)

_ABOUT = {"id": "chatcmpl-fault", "created": 1795226694, "model": "served"}
_USAGE = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
_FIGURES = {"total_duration": 900, "load_duration": 100, "prompt_eval_count": 7, "eval_count": 5, "eval_duration": 500}


def _dump(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def openai_event(delta: dict[str, Any], finish: str | None = None) -> bytes:
    """One chunk of a chat as a server-sent event."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return b"data: " + _dump({**_ABOUT, "object": "chat.completion.chunk", "choices": [choice]}) + b"\n\n"


def native_line(said: str, **end: Any) -> bytes:
    """One line of Ollama's chat."""
    message = {"role": "assistant", "content": said}
    about = {"model": "served", "created_at": "2026-11-21T10:00:00Z"}
    return _dump({**about, "message": message, "done": bool(end), **end}) + b"\n"


DONE = b"data: [DONE]\n\n"
OPENAI_EVENTS = [
    openai_event({"role": "assistant", "content": ""}),
    *(openai_event({"content": word}) for word in WORDS),
    openai_event({}, "stop"),
    DONE,
]
OPENAI_WHOLE = _dump(
    {
        **_ABOUT,
        "object": "chat.completion",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}],
        "usage": _USAGE,
    }
)
NATIVE_LINES = [*map(native_line, WORDS), native_line("", done_reason="stop", **_FIGURES)]
NATIVE_WHOLE = native_line(TEXT, done_reason="stop", **_FIGURES).strip()
