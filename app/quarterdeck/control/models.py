"""`/api/models`: the registry, statuses and the journal."""

from __future__ import annotations

from fastapi import APIRouter, Response

from quarterdeck.control.load_configs import check_load_config
from quarterdeck.control.services import Services
from quarterdeck.schemas.models import AttemptView, ConfigPatch, ModelCreate, ModelView


def router(services: Services) -> APIRouter:
    """Routes of the registry. Names may contain slashes, so the longer paths come first."""
    routes = APIRouter(prefix="/api/models", tags=["models"])
    catalog = services.scheduler.catalog

    @routes.get("")
    async def list_models() -> list[ModelView]:
        return catalog.all()

    @routes.post("", status_code=201)
    async def add_model(new: ModelCreate) -> ModelView:
        if new.load_config is not None:
            check_load_config(services, new.backend or "embedded", new.load_config)
        return await catalog.add(new)

    @routes.get("/{name:path}/attempts")
    async def list_attempts(name: str) -> list[AttemptView]:
        return await catalog.journal.attempts(catalog.get(name).name)

    @routes.patch("/{name:path}/config")
    async def patch_config(name: str, patch: ConfigPatch) -> ModelView:
        if patch.load_config is not None:
            check_load_config(services, catalog.get(name).backend, patch.load_config)
        return await catalog.patch(name, patch)

    @routes.get("/{name:path}")
    async def get_model(name: str) -> ModelView:
        return catalog.get(name)

    @routes.delete("/{name:path}", status_code=204)
    async def remove_model(name: str) -> Response:
        await catalog.remove(name)
        return Response(status_code=204)

    return routes
