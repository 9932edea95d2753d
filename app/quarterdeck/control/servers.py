"""`/api/servers`, `/api/ollama` and `/api/gpu`: servers to attach to, Ollama's own models, processes on the GPU."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

from fastapi import APIRouter, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict

from quarterdeck.backends.ollama import OllamaBackend
from quarterdeck.backends.ollama_library import OllamaLibrary
from quarterdeck.backends.openai_compatible import PRESETS
from quarterdeck.control.services import Services
from quarterdeck.errors import AppError
from quarterdeck.hardware.processes import stop_process
from quarterdeck.schemas.backends import BackendKind, BackendView, ServerCreate, ServerPreset

KILL_PATIENCE = 5.0


class ProcessToStop(BaseModel):
    """Tells the process that is meant from a later one with the same pid; seconds since the epoch."""

    model_config = ConfigDict(extra="forbid")

    create_time: float


class OllamaModel(BaseModel):
    """A tag of Ollama."""

    model_config = ConfigDict(extra="forbid")

    model: str


class OllamaCopy(BaseModel):
    """Makes `model` from `source`; with `num_ctx` as a variant with that context length in tokens."""

    model_config = ConfigDict(extra="forbid")

    model: str
    source: str
    num_ctx: int | None = None


def router(services: Services) -> APIRouter:
    """Routes about what runs outside of our own engines."""
    routes = APIRouter(prefix="/api", tags=["servers"])

    @routes.get("/servers/presets")
    async def presets() -> list[ServerPreset]:
        return list(PRESETS)

    @routes.post("/servers", status_code=201)
    async def add_server(new: ServerCreate) -> BackendView:
        return await services.servers.add(new)

    @routes.delete("/servers/{name:path}", status_code=204)
    async def remove_server(name: str) -> Response:
        await services.servers.remove(name)
        return Response(status_code=204)

    @routes.post("/gpu/processes/{pid}/stop")
    async def stop_gpu_process(pid: int, process: ProcessToStop) -> dict[str, str]:
        await asyncio.to_thread(stop_process, pid, process.create_time, KILL_PATIENCE)
        return {"message": f"Process {pid} has ended."}

    _add_ollama(routes, services)
    return routes


def _add_ollama(routes: APIRouter, services: Services) -> None:
    @routes.post("/ollama/pull")
    async def pull(which: OllamaModel) -> StreamingResponse:
        """Progress as one JSON object a line; a client that leaves cancels the download."""
        return StreamingResponse(_pull(services, which.model), media_type="application/x-ndjson")

    @routes.post("/ollama/create")
    async def create(new: OllamaCopy) -> dict[str, str]:
        library = _library(services)
        if new.num_ctx is None:
            await library.copy(new.source, new.model)
        else:
            await library.create(new.model, source=new.source, parameters={"num_ctx": new.num_ctx})
        await services.discovery.scan()
        return {"message": f"{new.model} was made from {new.source}."}

    @routes.post("/ollama/delete")
    async def delete(which: OllamaModel) -> dict[str, str]:
        await _library(services).delete(which.model)
        await services.discovery.scan()
        return {"message": f"{which.model} was deleted."}


async def _pull(services: Services, tag: str) -> AsyncIterator[str]:
    try:
        async for progress in _library(services).pull(tag):
            yield progress.model_dump_json() + "\n"
        await services.discovery.scan()
    except AppError as error:
        yield json.dumps(error.as_dict()) + "\n"


def _library(services: Services) -> OllamaLibrary:
    backend = services.scheduler.backends[BackendKind.OLLAMA]
    assert isinstance(backend, OllamaBackend)
    return backend.library
