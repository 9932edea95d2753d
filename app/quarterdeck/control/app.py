"""The whole HTTP application: control API, clients' API and health behind one guard."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import FastAPI
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from quarterdeck import __version__
from quarterdeck.control import (
    backends,
    connect,
    diagnosis,
    doctor,
    errors,
    keys,
    known_issues,
    looking,
    models,
    openapi,
    orchestrate,
    problems,
    report,
    requests,
    routing,
    servers,
    snippets,
    system,
)
from quarterdeck.control.security import Guard
from quarterdeck.control.services import Services
from quarterdeck.proxy.access.access import Access
from quarterdeck.proxy.ollama_routes import BLOBS, OLLAMA_PATHS
from quarterdeck.proxy.routes import Proxy

_ROOMS = (
    models,
    orchestrate,
    system,
    backends,
    servers,
    looking,
    keys,
    snippets,
    requests,
    routing,
    connect,
    problems,
    doctor,
)


def build_app(services: Services, *, access: Access, proxy: Proxy, client_routes: Sequence[Route]) -> ASGIApp:
    """The ASGI application that both listeners serve."""
    app = FastAPI(title="Quarterdeck", version=__version__, docs_url=None, redoc_url=None)
    errors.install(app)
    for room in _ROOMS:
        app.include_router(room.router(services))
    app.include_router(diagnosis.router())
    app.include_router(known_issues.router(services.known_issues))
    app.include_router(report.router(services.reporter))
    others = [*client_routes, *proxy.routes()]
    app.router.routes.extend(others)
    openapi.describe(app, others)

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        # What is asked of models passes no framework: at thousands of requests a second its layers would be the price.
        await (proxy if proxy.handles(scope) else app)(scope, receive, send)

    return Guard(
        serve,
        access=access,
        settings=lambda: services.preferences.current,
        ollama_paths=[*OLLAMA_PATHS, BLOBS + "{digest}"],
        refused=proxy.refused,
    )
