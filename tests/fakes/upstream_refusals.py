"""The ways in which an upstream refuses, fails or falls silent, by name."""

from __future__ import annotations

import asyncio
import json

from faulty_upstream import Talk, behaviour, three
from upstream_words import native_line, openai_event

FLOOD_LIMIT = 512 * 1024 * 1024
UPSTREAM_KEY = "sk-upstream-key-0123456789"

# -- errors


@behaviour
async def status_400_with_key(talk: Talk) -> None:
    """It repeats the headers that it got, as debugging servers do."""
    said = f"bad request; your headers: {talk.asked.headers.get('authorization')}"
    await talk.answer(json.dumps({"error": {"message": said, "type": "invalid_request_error"}}).encode(), status=400)


@behaviour
async def status_401(talk: Talk) -> None:
    said = f"Incorrect API key provided: {UPSTREAM_KEY}."
    await talk.answer(
        _error(talk, said, code="invalid_api_key"), "application/json", "WWW-Authenticate: Bearer", status=401
    )


@behaviour
async def status_403(talk: Talk) -> None:
    await talk.answer(_error(talk, "Country not supported"), status=403)


@behaviour
async def status_404_model(talk: Talk) -> None:
    await talk.answer(_error(talk, "model 'served' not found", code="model_not_found"), status=404)


@behaviour
async def status_413(talk: Talk) -> None:
    await talk.answer(b"<html><title>413 Request Entity Too Large</title></html>", "text/html", status=413)


@behaviour
async def status_429(talk: Talk) -> None:
    await talk.answer(_error(talk, "Rate limit reached"), "application/json", "Retry-After: 17", status=429)


@behaviour
async def status_500_text(talk: Talk) -> None:
    await talk.answer(b"Internal Server Error", "text/plain", status=500)


@behaviour
async def status_503(talk: Talk) -> None:
    await talk.answer(b"Loading model", "text/plain", "Retry-After: 5", status=503)


@behaviour
async def context_window(talk: Talk) -> None:
    said = "This model's maximum context length is 2048 tokens"
    await talk.answer(_error(talk, said, code="context_length_exceeded"), status=400)


@behaviour
async def content_filter(talk: Talk) -> None:
    await talk.answer(_error(talk, "Flagged by the content policy", code="content_filter"), status=400)


@behaviour
async def json_error_under_200(talk: Talk) -> None:
    await talk.answer(_error(talk, "CUDA out of memory"))


@behaviour
async def error_event(talk: Talk) -> None:
    """The first event of the stream, where a stream is asked for."""
    if not talk.stream:
        await talk.answer(_error(talk, "CUDA out of memory"))
        return
    await talk.begin()
    await talk.chunk(_event(talk, "CUDA out of memory"))
    await talk.last()


@behaviour
async def error_event_later(talk: Talk) -> None:
    if not talk.stream:
        await talk.answer(_error(talk, "CUDA out of memory"))
        return
    await three(talk)
    await talk.chunk(_event(talk, "CUDA out of memory"))
    await talk.last()


# -- silence


@behaviour
async def silent_before_headers(talk: Talk) -> None:
    await talk.hang()


@behaviour
async def silent_after_headers(talk: Talk) -> None:
    await talk.begin()
    await talk.hang()


@behaviour
async def silent_after_3_tokens(talk: Talk) -> None:
    await three(talk)
    await talk.hang()


@behaviour
async def never_ends(talk: Talk) -> None:
    await talk.begin()
    while True:
        for part in talk.pieces[1:-2] if talk.stream else [b" "]:
            await talk.chunk(part)
        await asyncio.sleep(0.01)


@behaviour
async def flood(talk: Talk) -> None:
    """A stream as fast as it is taken; `blocked` is set when it is taken no longer."""
    await talk.begin()
    block = (openai_event if talk.stream_type == "text/event-stream" else _native_event)({"content": "x" * 65_536})
    try:
        while talk.server.sent < FLOOD_LIMIT:
            sending = asyncio.ensure_future(talk.chunk(block))
            done, _ = await asyncio.wait({sending}, timeout=0.5)
            if not done:
                talk.server.blocked.set()
            await sending
            talk.server.sent += len(block)
    except ConnectionError:
        talk.server.left.release()
        raise


def _native_event(delta: dict[str, str]) -> bytes:
    return native_line(delta["content"])


def _error(talk: Talk, message: str, *, code: str | None = None) -> bytes:
    if talk.asked.path.startswith("/api/"):
        return json.dumps({"error": message}).encode()
    return json.dumps({"error": {"message": message, "type": "server_error", "param": None, "code": code}}).encode()


def _event(talk: Talk, message: str) -> bytes:
    error = _error(talk, message)
    return error + b"\n" if talk.asked.path.startswith("/api/") else b"data: " + error + b"\n\n"
