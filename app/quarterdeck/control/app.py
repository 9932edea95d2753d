"""The whole HTTP application: control API, proxy and health behind one guard."""

from __future__ import annotations

import time
from collections.abc import Sequence

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from quarterdeck import __version__
from quarterdeck.control import backends, errors, looking, models, openapi, orchestrate, servers, system
from quarterdeck.control.security import Guard
from quarterdeck.control.services import Services


def build_app(services: Services, *, token: str, proxy_routes: Sequence[Route]) -> ASGIApp:
    """The ASGI application that both listeners serve."""
    app = FastAPI(title="Quarterdeck", version=__version__, docs_url=None, redoc_url=None)
    errors.install(app)
    for room in (models, orchestrate, system, backends, servers, looking):
        app.include_router(room.router(services))
    others = [*_health(services), *proxy_routes]
    app.router.routes.extend(others)
    openapi.describe(app, others)
    cors = CORSMiddleware(
        app,
        allow_origins=services.preferences.current.allowed_origins,
        allow_methods=["*"],
        allow_headers=["*"],
        expose_headers=["x-quarterdeck-route", "x-request-id"],
    )
    return Guard(
        cors,
        token=token,
        allowed_hosts=lambda: services.preferences.current.allowed_hosts,
        allowed_origins=lambda: services.preferences.current.allowed_origins,
    )


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
