"""`/api/estimate`, `/api/import`, `/api/follows`, `/api/scan`, `/api/absences`: what is known before any load."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from quarterdeck.control.load_configs import check_load_config
from quarterdeck.control.services import Services
from quarterdeck.control.strict import StrictRoute
from quarterdeck.errors import AppError
from quarterdeck.registry.importers import ImportPlan
from quarterdeck.registry.imports import read_text
from quarterdeck.registry.models import Registry
from quarterdeck.registry.sources import absolute
from quarterdeck.schemas.backends import ServerCreate
from quarterdeck.schemas.discovery import Absence, FollowedFile, ImportPreview, ImportRequest, ScanResult
from quarterdeck.schemas.estimate import Estimate, EstimateRequest
from quarterdeck.schemas.jsontext import parse_load_config


class ScanRequest(BaseModel):
    """Folders to look into besides the known ones."""

    model_config = ConfigDict(extra="forbid")

    folders: list[str] = Field(default_factory=list)


def router(services: Services) -> APIRouter:
    """Routes that look; only an import with `apply` and a scan change the registry."""
    routes = APIRouter(prefix="/api", tags=["looking"], route_class=StrictRoute)

    @routes.post("/estimate")
    async def estimate(request: EstimateRequest) -> Estimate:
        return await _estimate(services, request)

    @routes.post("/import")
    async def import_models(request: ImportRequest) -> ImportPreview:
        return await _import(services, request)

    @routes.get("/follows")
    async def followed_files() -> list[FollowedFile]:
        """The imported files that are read again when they change."""
        return await services.follower.files()

    @routes.delete("/follows", status_code=204)
    async def unfollow(path: str) -> Response:
        """Follow a file no longer; its models stay."""
        await services.follower.unfollow(Path(path))
        return Response(status_code=204)

    @routes.post("/scan")
    async def scan(request: ScanRequest | None = None) -> ScanResult:
        folders = request.folders if request else []
        return await services.discovery.scan([Path(folder) for folder in folders])

    @routes.get("/absences")
    async def absences() -> list[Absence]:
        return await services.scheduler.catalog.registry.absences()

    return routes


async def _estimate(services: Services, request: EstimateRequest) -> Estimate:
    if (request.model_name is None) == (request.path is None):
        raise AppError("bad_request", "Give either a model or a file.", "Send model_name or path.")
    if request.path is not None:
        path = Path(request.path)
        is_folder = await asyncio.to_thread(path.is_dir)
        backend = request.backend or ("vllm" if is_folder else "embedded")
        return await services.estimator.estimate_file(path, backend, _config(services, request, backend, "{}"))
    view = services.scheduler.catalog.get(request.model_name or "")
    config = _config(services, request, view.backend, view.load_config)
    return await services.estimator.estimate(view, config, freed_bytes=services.scheduler.evictable_bytes(view.name))


def _config(services: Services, request: EstimateRequest, backend: str, stored: str) -> dict[str, Any]:
    """The load_config in question, with the fields of the request over it under the engine's own names."""
    given = stored if request.load_config is None else request.load_config
    check_load_config(services, backend, given)
    engine = services.scheduler.backends.get(backend)
    if engine is None:
        raise AppError(
            "unknown_backend",
            f"There is no backend named “{backend}”.",
            f"Choose one of these: {', '.join(services.scheduler.backends)}.",
        )
    config = engine.check_config(parse_load_config(given))
    options = {word: option.name for option in engine.options for word in (option.name, *option.also)}
    said: dict[str, Any] = {}
    unsaid: dict[str, Any] = {}
    for field, words in _FIELDS.items():
        if (value := getattr(request, field)) is not None:
            mine = [options[word] for word in words if word in options]
            said |= dict.fromkeys(mine, value)
            # Ollama has these for the whole server only; an estimate can do without the option.
            unsaid |= {} if mine else {field: value}
    return {**config, **engine.check_config(said), **unsaid}


_FIELDS = {
    "n_ctx": ("n_ctx",),
    "parallel": ("n_parallel",),
    "kv_type": ("cache_type_k", "cache_type_v", "kv_cache_dtype"),
}
"""The fields of a request, and what the options of engines call them."""


async def _import(services: Services, request: ImportRequest) -> ImportPreview:
    """Read, preview and, when asked, apply; servers that the text names become known too."""
    if request.follow and request.path is None:
        raise AppError("bad_request", "Only a file can be followed.", "Send the path of the file.")
    registry = services.scheduler.catalog.registry
    plan = await asyncio.to_thread(_plan, registry, request)
    done = await registry.import_plan(plan, request.names, request.apply)
    if not request.apply:
        return done
    for url in done.servers:
        await _add_server(services, url, done)
    if request.follow and request.path is not None:
        await services.follower.follow(Path(request.path), request.format)
    await services.scheduler.catalog.reload()
    services.scheduler.update()
    return done


async def _add_server(services: Services, url: str, done: ImportPreview) -> None:
    try:
        await services.servers.add(ServerCreate(url=url))
    except AppError as error:
        done.warnings.append(error.sentence)


def _plan(registry: Registry, request: ImportRequest) -> ImportPlan:
    if (request.path is None) == (request.text is None):
        raise AppError("bad_request", "Give either a file or a text.", "Send path or text.")
    if request.path is None:
        return registry.read_import(request.text or "", name="text", format=request.format)
    path = absolute(request.path)
    return registry.read_import(read_text(path), name=str(path), format=request.format)
