"""`/api/estimate`, `/api/import`, `/api/scan`, `/api/absences`: what can be known before anything is loaded."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from quarterdeck.control.load_configs import check_load_config
from quarterdeck.control.services import Services
from quarterdeck.errors import AppError
from quarterdeck.registry.importers import ImportPlan
from quarterdeck.registry.models import Registry
from quarterdeck.schemas.backends import ServerCreate
from quarterdeck.schemas.discovery import Absence, ImportPreview, ImportRequest, ScanResult
from quarterdeck.schemas.estimate import Estimate, EstimateRequest
from quarterdeck.schemas.jsontext import parse_load_config

LARGEST_IMPORT = 16 * 1024 * 1024


class ScanRequest(BaseModel):
    """Folders to look into besides the known ones."""

    model_config = ConfigDict(extra="forbid")

    folders: list[str] = Field(default_factory=list)


def router(services: Services) -> APIRouter:
    """Routes that look; only an import with `apply` and a scan change the registry."""
    routes = APIRouter(prefix="/api", tags=["looking"])

    @routes.post("/estimate")
    async def estimate(request: EstimateRequest) -> Estimate:
        return await _estimate(services, request)

    @routes.post("/import")
    async def import_models(request: ImportRequest) -> ImportPreview:
        return await _import(services, request)

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
    config = services.scheduler.backends[backend].check_config(parse_load_config(given))
    names = _VLLM_NAMES if backend == "vllm" else _LLAMA_NAMES
    wanted = {"n_ctx": request.n_ctx, "parallel": request.parallel, "kv_type": request.kv_type}
    for field, value in wanted.items():
        if value is not None:
            config.update(dict.fromkeys(names[field], value))
    return services.scheduler.backends[backend].check_config(config)


_LLAMA_NAMES = {"n_ctx": ("n_ctx",), "parallel": ("n_parallel",), "kv_type": ("cache_type_k", "cache_type_v")}
_VLLM_NAMES = {"n_ctx": ("max_model_len",), "parallel": ("max_num_seqs",), "kv_type": ("kv_cache_dtype",)}


async def _import(services: Services, request: ImportRequest) -> ImportPreview:
    """Read, preview and, when asked, apply; servers that the text names become known too."""
    registry = services.scheduler.catalog.registry
    plan = await asyncio.to_thread(_plan, registry, request)
    done = await registry.import_plan(plan, request.names, request.apply)
    if not request.apply:
        return done
    for url in done.servers:
        await _add_server(services, url, done)
    if request.follow and request.path is not None:
        await registry.follow(Path(request.path), request.format)
    await services.scheduler.catalog.reload()
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
    path = Path(request.path)
    try:
        if path.stat().st_size > LARGEST_IMPORT:
            raise AppError("import_too_large", f"“{path.name}” is too large to be a list of models.", "Choose another.")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise AppError(
            "file_unreadable", f"“{path}” cannot be read: {reason}.", "Check the path and its permissions."
        ) from None
    return registry.read_import(text, name=str(path), format=request.format)
