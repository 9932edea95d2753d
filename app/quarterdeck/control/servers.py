"""`/api/servers`, `/api/ollama` and `/api/gpu`: servers to attach to, Ollama's own models, processes on the GPU."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from starlette.types import Receive, Scope, Send

from quarterdeck.backends.ollama import OllamaBackend
from quarterdeck.backends.ollama_library import OllamaLibrary
from quarterdeck.backends.openai_compatible import PRESETS
from quarterdeck.control.services import Services
from quarterdeck.control.strict import StrictRoute
from quarterdeck.errors import AppError
from quarterdeck.hardware.processes import stop_process
from quarterdeck.proxy.disconnect import until_disconnect
from quarterdeck.schemas.backends import BackendKind, BackendView, PullProgress, ServerCreate, ServerPreset
from quarterdeck.schemas.discovery import FoundServer, ServerState, Verification, VerifyRequest


class ProcessToStop(BaseModel):
    """Tells the process that is meant from a later one with the same pid; seconds since the epoch."""

    model_config = ConfigDict(extra="forbid")

    create_time: float


Tag = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class OllamaModel(BaseModel):
    """A tag of Ollama."""

    model_config = ConfigDict(extra="forbid")

    model: Tag


class OllamaCopy(BaseModel):
    """Makes `model` from `source`; with `num_ctx` as a variant with that context length in tokens."""

    model_config = ConfigDict(extra="forbid")

    model: Tag
    source: Tag
    num_ctx: int | None = Field(default=None, ge=1)


def router(services: Services) -> APIRouter:
    """Routes about what runs outside of our own engines."""
    routes = APIRouter(prefix="/api", tags=["servers"], route_class=StrictRoute)

    @routes.post("/verify")
    async def verify(asked: VerifyRequest) -> Verification:
        """Look at an address as a client would that is about to use it; nothing is kept."""
        return _verification(await services.servers.verify(asked.url, asked.key))

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
        """End a program that holds GPU memory; engines of models are refused, they are unloaded instead."""
        if owner := await asyncio.to_thread(services.sampler.book.owner_of, pid):
            raise _process_of_model(pid, *owner)
        await asyncio.to_thread(stop_process, pid, process.create_time, services.preferences.current.stop_timeout)
        return {"message": f"Process {pid} has ended."}

    _add_ollama(routes, services)
    return routes


def _add_ollama(routes: APIRouter, services: Services) -> None:
    @routes.post("/ollama/pull")
    async def pull(which: OllamaModel) -> PullStream:
        """Progress as one JSON object a line; a client that leaves cancels the download."""
        steps = _library(services).pull(which.model)
        # What is wrong at once is an answer of its own, not a line of one.
        first = await anext(steps, None)
        return PullStream(_lines(services, first, steps), steps)

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


async def _lines(
    services: Services, first: PullProgress | None, steps: AsyncGenerator[PullProgress, None]
) -> AsyncGenerator[str, None]:
    try:
        if first is not None:
            yield first.model_dump_json() + "\n"
        async for progress in steps:
            yield progress.model_dump_json() + "\n"
        await services.discovery.scan()
    except AppError as error:
        yield json.dumps(error.as_dict()) + "\n"


class PullStream(Response):
    """The lines of a download; when the client leaves, they end and the download (`steps`) with them."""

    def __init__(self, lines: AsyncGenerator[str, None], steps: AsyncGenerator[PullProgress, None]) -> None:
        super().__init__(media_type="application/x-ndjson")
        self._lines = lines
        self._steps = steps

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await until_disconnect(receive, self._send_all(send))
        finally:
            await self._lines.aclose()
            await self._steps.aclose()

    async def _send_all(self, send: Send) -> None:
        headers = [(b"content-type", b"application/x-ndjson"), (b"cache-control", b"no-cache")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        async for line in self._lines:
            await send({"type": "http.response.body", "body": line.encode(), "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def _process_of_model(pid: int, model: str, backend: str) -> AppError:
    return AppError(
        "process_of_model",
        f"Process {pid} runs the model “{model}” for {backend}. It is not ended.",
        "Unload the model, or cancel its load: then its engine gives the memory back.",
        status=409,
    )


def _library(services: Services) -> OllamaLibrary:
    backend = services.scheduler.backends[BackendKind.OLLAMA]
    assert isinstance(backend, OllamaBackend)
    return backend.library


def _verification(found: FoundServer) -> Verification:
    ok = found.kind is not None and found.state in (ServerState.UP, ServerState.DEFECT)
    named = found.title if found.version is None else f"{found.title} {found.version}"
    count = f"{len(found.models):,} {'model' if len(found.models) == 1 else 'models'}"
    return Verification(
        ok=ok,
        url=found.url,
        title=found.title,
        kind=found.kind,
        version=found.version,
        sentence=f"{named} answers and lists {count}." if ok else found.detail or f"{named} is no model server.",
        models=[model.name for model in found.models],
    )
