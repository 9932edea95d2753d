"""Requests of Ollama's clients without a question: they load a model, or with a `keep_alive` of 0 unload it."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from quarterdeck.proxy.dialects.base import Asked, Fields
from quarterdeck.proxy.ollama_state import stamp
from quarterdeck.scheduling.scheduler import Scheduler

_NOTHING = re.compile(r"[+-]?(?:0+|(?:0*\.?0+(?:ns|us|µs|μs|ms|s|m|h))+)")


def only_loads(asked: Asked) -> bool:
    """Whether a request asks the model nothing; always false for other clients than Ollama's."""
    path = asked.kept.get("path")
    fields = asked.fields
    if path == "/api/chat":
        return not fields["messages"]
    if path == "/api/generate":
        if "prompt" in fields:
            return not fields["prompt"]
        return all(message["role"] == "system" for message in fields["messages"])
    return path in ("/api/embed", "/api/embeddings") and not fields["input"]


async def load_or_unload(scheduler: Scheduler, asked: Asked, name: str, *, force: bool = False) -> Fields:
    """Do what a request that `only_loads` wants of the model `name`; the answer in Ollama's words, never a stream.

    A model that others use or that is pinned stays. Raises AppError as `Scheduler.lease`.
    """
    if unloads(asked.fields.get("keep_alive")):
        loaded = scheduler.loaded.get(name)
        # No await between the look and the unload, or a request could come in and be cut off.
        if loaded is not None and not loaded.instance.active_requests and not scheduler.catalog.get(name).pinned:
            await scheduler.unload(name)
        return _answer(asked, "unload")
    async with scheduler.lease(name, force=force):
        return _answer(asked, "load")


def unloads(keep_alive: object) -> bool:
    """Whether a `keep_alive`, seconds or a text such as 5m, is no time at all."""
    if isinstance(keep_alive, str):
        return _NOTHING.fullmatch(keep_alive) is not None
    return isinstance(keep_alive, int | float) and not isinstance(keep_alive, bool) and 0 <= keep_alive < 1


def _answer(asked: Asked, reason: str) -> Fields:
    path, model = asked.kept["path"], asked.model
    if path == "/api/embeddings":
        return {"embedding": []}
    if path == "/api/embed":
        return {"model": model, "embeddings": []}
    begin = {"model": model, "created_at": stamp(datetime.now(UTC))}
    if path == "/api/chat":
        return {**begin, "message": {"role": "assistant", "content": ""}, "done_reason": reason, "done": True}
    return {**begin, "response": "", "done": True, "done_reason": reason}
