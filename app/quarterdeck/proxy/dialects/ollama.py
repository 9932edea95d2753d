"""The dialect of Ollama's clients: /api/chat, /api/generate, /api/embed and /api/embeddings."""

from __future__ import annotations

from typing import ClassVar

from quarterdeck.errors import AppError
from quarterdeck.proxy.dialects.base import Asked, Dialect, Fields, Writer
from quarterdeck.proxy.dialects.ollama_answer import OllamaWriter, embeddings, error_body, whole
from quarterdeck.proxy.dialects.ollama_request import PATHS, read
from quarterdeck.schemas.requests import Operation


class OllamaDialect(Dialect):
    """Streams unless the client says otherwise, as lines of JSON.

    A prompt of /api/generate becomes a chat of one turn, so that any backend puts it through the model's template.
    """

    name: ClassVar[str] = "ollama"
    stream_type: ClassVar[str] = "application/x-ndjson"
    keep_alive: ClassVar[bytes | None] = None
    paths: ClassVar[tuple[str, ...]] = PATHS

    def read(self, path: str, fields: Fields) -> Asked:
        return read(path, fields)

    def answer(self, asked: Asked, answer: Fields) -> Fields:
        return embeddings(asked, answer) if asked.operation is Operation.EMBEDDINGS else whole(asked, answer)

    def writer(self, asked: Asked) -> Writer:
        return OllamaWriter(asked)

    def error(self, error: AppError) -> Fields:
        return error_body(error)
