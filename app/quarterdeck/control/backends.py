"""`/api/backends`: state, start, stop, restart, reload and logs."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from quarterdeck.control.services import Services
from quarterdeck.control.strict import StrictRoute
from quarterdeck.schemas.backends import BackendView, LogLine


def router(services: Services) -> APIRouter:
    """Routes of the backends. Names may contain slashes."""
    routes = APIRouter(prefix="/api/backends", tags=["backends"], route_class=StrictRoute)
    landscape = services.landscape

    @routes.get("")
    async def list_backends() -> list[BackendView]:
        await services.servers.catch_up()
        return landscape.views()

    @routes.post("/{name:path}/restart")
    async def restart(name: str) -> BackendView:
        return await landscape.act(name, "restart")

    @routes.post("/{name:path}/stop")
    async def stop(name: str) -> BackendView:
        return await landscape.act(name, "stop")

    @routes.post("/{name:path}/start")
    async def start(name: str) -> BackendView:
        return await landscape.act(name, "start")

    @routes.post("/{name:path}/reload")
    async def reload(name: str) -> BackendView:
        """Let an engine read its configuration again; the models that it offers now are taken over."""
        view = await landscape.act(name, "reload")
        await services.discovery.scan()
        return view

    @routes.get("/{name:path}/logs")
    async def logs(name: str, tail: Annotated[int, Query(ge=0, le=100_000)] = 1000) -> list[LogLine]:
        """The newest lines of an engine, of a server as its owner keeps them, or our own (`quarterdeck`)."""
        if name in services.logs and not landscape.is_kept_elsewhere(name):
            return services.logs[name].tail(tail)
        return await services.servers.logs(landscape.view(name).name, tail)

    return routes
