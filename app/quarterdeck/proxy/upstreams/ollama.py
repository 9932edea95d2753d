"""Ollama's own API as an upstream: it carries what Ollama's OpenAI interface loses."""

from __future__ import annotations

from collections.abc import Collection
from typing import ClassVar

from quarterdeck.proxy.dialects.base import Asked, Fields
from quarterdeck.proxy.upstreams import ollama_request
from quarterdeck.proxy.upstreams.base import Question, Reader, Upstream
from quarterdeck.proxy.upstreams.ollama_answer import OllamaReader, whole
from quarterdeck.schemas.backends import BackendKind


class OllamaUpstream(Upstream):
    """Chats go to /api/chat, texts to be continued to /api/generate (without a template), vectors to /api/embed.

    A request that came in at /api/generate goes there again. The hub's answer has `timings` in milliseconds like
    llama.cpp's, with `load_ms` and `total_ms` besides.
    """

    name: ClassVar[str] = "ollama"

    def ask(self, asked: Asked, kind: BackendKind, served_id: str) -> Question:
        return ollama_request.ask(asked, served_id)

    def answer(self, asked: Asked, body: Fields) -> Fields:
        return whole(asked, body)

    def reader(self, asked: Asked) -> Reader:
        return OllamaReader(asked)

    def needed_for(self, asked: Asked) -> Collection[str]:
        return ollama_request.needed_for(asked)
