"""`/api/orchestrate`: what the Load, Unload and Cancel buttons do."""

from __future__ import annotations

from fastapi import APIRouter

from quarterdeck.control.load_configs import check_load_config
from quarterdeck.control.services import Services
from quarterdeck.control.strict import StrictRoute
from quarterdeck.schemas.models import LoadRequest, LoadResult, ModelName


def router(services: Services) -> APIRouter:
    """Routes that answer when the work is done; a caller that leaves does not stop it."""
    routes = APIRouter(prefix="/api/orchestrate", tags=["orchestrate"], route_class=StrictRoute)
    scheduler = services.scheduler

    @routes.post("/load")
    async def load(request: LoadRequest) -> LoadResult:
        if request.load_config is not None:
            check_load_config(services, scheduler.catalog.get(request.model_name).backend, request.load_config)
        return await scheduler.load(request.model_name, force=request.force_load, load_config=request.load_config)

    @routes.post("/unload")
    async def unload(which: ModelName | None = None) -> dict[str, str]:
        name = await scheduler.unload(which.model_name if which else None)
        return {"message": f"{name} is unloaded.", "model_name": name}

    @routes.post("/cancel")
    async def cancel(which: ModelName | None = None) -> dict[str, str]:
        await scheduler.cancel(which.model_name if which else None)
        return {"message": "The load was cancelled."}

    return routes
