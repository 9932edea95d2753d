"""`/api/models`: the registry, statuses and the journal."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Response

from quarterdeck.control.load_configs import check_load_config
from quarterdeck.control.services import Services
from quarterdeck.control.strict import StrictRoute
from quarterdeck.proxy.mitigations import check_policy, describe
from quarterdeck.registry import sources
from quarterdeck.schemas.backends import BackendKind
from quarterdeck.schemas.models import AttemptView, ConfigPatch, ModelCreate, ModelView
from quarterdeck.schemas.requests import MitigationView


def router(services: Services) -> APIRouter:
    """Routes of the registry. Names may contain slashes, so the longer paths come first."""
    routes = APIRouter(prefix="/api/models", tags=["models"], route_class=StrictRoute)
    catalog = services.scheduler.catalog

    @routes.get("")
    async def list_models() -> list[ModelView]:
        return catalog.all()

    @routes.post("", status_code=201)
    async def add_model(new: ModelCreate) -> ModelView:
        if new.load_config is not None:
            check_load_config(services, await _engine_for(new), new.load_config)
        return await services.discovery.look_up(await catalog.add(new))

    @routes.get("/{name:path}/attempts")
    async def list_attempts(name: str) -> list[AttemptView]:
        return await catalog.journal.attempts(catalog.get(name).name)

    @routes.get("/{name:path}/mitigations")
    async def list_mitigations(name: str) -> list[MitigationView]:
        """What is changed in requests for the model, in the order in which it is done."""
        described = await describe(catalog.get(name), services.preferences.current)
        return [MitigationView(title=each.title, sentence=each.sentence, on=each.on) for each in described]

    @routes.post("/{name:path}/lock")
    async def lock_model(name: str) -> ModelView:
        await catalog.registry.lock(catalog.get(name).name)
        return await catalog.refresh(catalog.get(name).name)

    @routes.post("/{name:path}/unlock")
    async def unlock_model(name: str) -> ModelView:
        await catalog.registry.unlock(catalog.get(name).name)
        return await catalog.refresh(catalog.get(name).name)

    @routes.post("/{name:path}/verify")
    async def verify_model(name: str) -> ModelView:
        """Compare the model's files with those it is held to; reads all of them."""
        await catalog.registry.verify(catalog.get(name).name)
        return await catalog.refresh(catalog.get(name).name)

    @routes.patch("/{name:path}/config")
    async def patch_config(name: str, patch: ConfigPatch) -> ModelView:
        if patch.load_config is not None:
            check_load_config(services, catalog.get(name).backend, patch.load_config)
        if patch.client_policy is not None:
            check_policy(patch.client_policy)
        view = await catalog.patch(name, patch)
        if patch.compatibility_status is not None or patch.load_config is not None:
            services.scheduler.forgive(view.name)
        services.scheduler.update()
        return view

    @routes.get("/{name:path}")
    async def get_model(name: str) -> ModelView:
        return catalog.get(name)

    @routes.delete("/{name:path}", status_code=204)
    async def remove_model(name: str) -> Response:
        await catalog.remove(name)
        return Response(status_code=204)

    return routes


async def _engine_for(new: ModelCreate) -> str:
    """The engine that a model is given; where none is named, its files or its server decide."""
    if new.backend:
        return new.backend
    if new.url is not None:
        return BackendKind.OPENAI_COMPATIBLE
    return await asyncio.to_thread(lambda: sources.backend_for(sources.local_path(new), ""))
