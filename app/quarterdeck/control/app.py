"""The whole HTTP application: control API, proxy and health behind one guard."""

from __future__ import annotations

import time
from collections.abc import Sequence

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from quarterdeck import __version__
from quarterdeck.control import backends, errors, keys, looking, models, openapi, orchestrate, servers, snippets, system
from quarterdeck.control.security import Guard
from quarterdeck.control.services import Services
from quarterdeck.proxy.access.access import Access


def build_app(services: Services, *, access: Access, proxy_routes: Sequence[Route]) -> ASGIApp:
    """The ASGI application that both listeners serve."""
    app = FastAPI(title="Quarterdeck", version=__version__, docs_url=None, redoc_url=None)
    errors.install(app)
    for room in (models, orchestrate, system, backends, servers, looking, keys, snippets):
        app.include_router(room.router(services))
    others = [*_health(services), *proxy_routes]
    app.router.routes.extend(others)
    openapi.describe(app, others)
    return Guard(app, access=access, settings=lambda: services.preferences.current)


def _health(services: Services) -> list[Route]:
    async def health(_request: Request) -> Response:
        """Whether Quarterdeck is alive, and since when."""
        return JSONResponse({"status": "ok", "uptime_seconds": round(time.monotonic() - services.started_at, 3)})

    async def version(_request: Request) -> Response:
        """The version of Quarterdeck."""
        return JSONResponse({"version": __version__})

    async def root(_request: Request) -> Response:
        """A line of text that says that Quarterdeck is running."""
        return Response("Quarterdeck is running\n", media_type="text/plain")

    return [
        Route("/health", health, methods=["GET"]),
        Route("/v1/health", health, methods=["GET"]),
        Route("/version", version, methods=["GET"]),
        Route("/", root, methods=["GET"]),
    ]
