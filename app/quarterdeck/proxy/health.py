"""Whether Quarterdeck is alive: answered at once, without a key and without asking anybody."""

from __future__ import annotations

import time

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from quarterdeck import __version__

OLLAMA_LINE = "Ollama is running"
_OWN_LINE = "Quarterdeck is running\n"


def health_routes(started_at: float) -> list[Route]:
    """For `/`, `/health`, `/v1/health` and `/version`; `started_at` is a moment of time.monotonic."""

    async def health(_request: Request) -> Response:
        """Whether Quarterdeck is alive, and since when."""
        return JSONResponse({"status": "ok", "uptime_seconds": round(time.monotonic() - started_at, 3)})

    async def version(_request: Request) -> Response:
        """The version of Quarterdeck."""
        return JSONResponse({"version": __version__})

    return [
        Route("/health", health, methods=["GET"]),
        Route("/v1/health", health, methods=["GET"]),
        Route("/version", version, methods=["GET"]),
        Route("/", _root, methods=["GET"]),
    ]


async def _root(request: Request) -> Response:
    """The line by which Ollama's clients know their server; people with a browser read who really answers."""
    is_browser = "text/html" in request.headers.get("accept", "")
    return PlainTextResponse(_OWN_LINE if is_browser else OLLAMA_LINE, headers={"vary": "accept"})
