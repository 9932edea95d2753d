"""The paths under which clients ask models, straight from the server: nothing stands between them and the exchange."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from quarterdeck.errors import AppError
from quarterdeck.proxy.client import Client
from quarterdeck.proxy.dialects.anthropic import COUNT_TOKENS_PATH, AnthropicDialect, anthropic_error, count_tokens
from quarterdeck.proxy.dialects.base import Dialect
from quarterdeck.proxy.dialects.ollama import OllamaDialect
from quarterdeck.proxy.dialects.openai import OPENAI_PATHS, OpenAIDialect
from quarterdeck.proxy.dialects.responses import ResponsesDialect
from quarterdeck.proxy.exchange import Exchange
from quarterdeck.proxy.json_answer import JsonAnswer
from quarterdeck.proxy.reading import FORM_PATHS, read
from quarterdeck.proxy.records.record import RequestRecord
from quarterdeck.proxy.turn import Means

_OPENAI = OpenAIDialect()
_OLLAMA = OllamaDialect()
_ANTHROPIC = AnthropicDialect()

DIALECTS: dict[str, Dialect] = {
    **dict.fromkeys(OPENAI_PATHS, _OPENAI),
    **dict.fromkeys(FORM_PATHS, _OPENAI),
    **dict.fromkeys(("/api/chat", "/api/generate", "/api/embed", "/api/embeddings"), _OLLAMA),
    "/v1/messages": _ANTHROPIC,
    "/v1/responses": ResponsesDialect(),
}
"""The dialect of each path that is asked with POST."""


class Proxy:
    """Answers what is asked of models; `handles` tells what that is. Core loop only."""

    def __init__(self, means: Means) -> None:
        self._means = means

    @staticmethod
    def handles(scope: Scope) -> bool:
        return scope["type"] == "http" and scope["method"] == "POST" and scope["path"] in DIALECTS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await Exchange(self._means, DIALECTS[scope["path"]], Client(scope, receive, send)).run()

    def refused(self, scope: Scope, error: AppError) -> None:
        """Remember a request that was refused before it was read, so that people see why a client fails."""
        path, client = scope["path"], scope.get("client")
        asked = DIALECTS.get(path, _OLLAMA if path.startswith("/api/") else _OPENAI)
        record = RequestRecord(self._means.log, path=path, dialect=asked.name, client=client[0] if client else None)
        record.failed(error.status, error.sentence, error.code)
        record.finish(client_left=False)

    def routes(self) -> list[Route]:
        """The same paths for a framework, so that it knows and describes them."""

        async def ask(_request: Request) -> ASGIApp:
            """Answered by the model that is named, which is loaded if needed."""
            return self

        return [
            *(Route(path, ask, methods=["POST"]) for path in DIALECTS),
            Route(COUNT_TOKENS_PATH, self._count_tokens, methods=["POST"]),
        ]

    async def _count_tokens(self, request: Request) -> Response:
        """About how many tokens an Anthropic message would have; no model is asked."""
        try:
            fields, _asked = read(_ANTHROPIC, COUNT_TOKENS_PATH, "", await request.body())
            return JsonAnswer(count_tokens(fields))
        except AppError as error:
            return JsonAnswer(anthropic_error(error), status_code=error.status)
