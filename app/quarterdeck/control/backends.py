"""`/api/backends`: state, start, stop, restart and logs."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from quarterdeck.control.services import Services
from quarterdeck.errors import AppError
from quarterdeck.schemas.backends import BackendView, LogLine


def router(services: Services) -> APIRouter:
    """Routes of the backends."""
    routes = APIRouter(prefix="/api/backends", tags=["backends"])
    scheduler = services.scheduler

    @routes.get("")
    async def list_backends() -> list[BackendView]:
        return backend_views(services)

    @routes.post("/{name}/restart")
    async def restart(name: str) -> BackendView:
        await scheduler.restart(name)
        return scheduler.backend_view(name)

    @routes.post("/{name}/stop")
    async def stop(name: str) -> BackendView:
        await scheduler.stop(name)
        return scheduler.backend_view(name)

    @routes.post("/{name}/start")
    async def start(name: str) -> BackendView:
        await scheduler.start(name)
        return scheduler.backend_view(name)

    @routes.get("/{name}/logs")
    async def logs(name: str, tail: Annotated[int, Query(ge=0, le=100_000)] = 1000) -> list[LogLine]:
        if name not in services.logs:
            raise AppError(
                "unknown_backend", f"There is no log named “{name}”.", f"Known: {', '.join(services.logs)}.", status=404
            )
        return services.logs[name].tail(tail)

    return routes


def backend_views(services: Services) -> list[BackendView]:
    return [services.scheduler.backend_view(name) for name in services.scheduler.backends]
