"""The OpenAI dialect: model list and the requests that are forwarded."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import aiohttp
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from quarterdeck.errors import AppError
from quarterdeck.proxy.errors import error_response
from quarterdeck.proxy.forward import Forward, Outgoing
from quarterdeck.proxy.requests import RequestLog, RequestRecord
from quarterdeck.scheduling.scheduler import Scheduler
from quarterdeck.schemas.models import ModelView

BODY_LIMIT = 64 * 1024 * 1024
FORWARDED = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings")
CONNECT_SECONDS = 5
IDLE_CONNECTION_SECONDS = 2


class OpenAIProxy:
    """Serves `/v1` over the scheduler. Core loop only; `open` before use, `close` at the end."""

    def __init__(self, scheduler: Scheduler, requests: RequestLog, *, keep_alive: Callable[[], float]) -> None:
        self._scheduler = scheduler
        self._requests = requests
        self._keep_alive = keep_alive
        self._http: aiohttp.ClientSession | None = None
        self._streams: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        # llama.cpp closes idle connections after 5 s; ours end first, so that no request meets a closing one.
        self._http = _session(aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_CONNECTION_SECONDS))
        # After a stream llama.cpp closes the connection without a word; a further request on it would be lost.
        self._streams = _session(aiohttp.TCPConnector(limit=0, force_close=True))

    async def close(self) -> None:
        for session in (self._http, self._streams):
            if session is not None:
                await session.close()

    def routes(self) -> list[Route]:
        return [
            Route("/v1/models", self._list, methods=["GET"]),
            Route("/v1/models/{id:path}", self._one, methods=["GET"]),
            *(Route(path, self._forward, methods=["POST"]) for path in FORWARDED),
        ]

    async def _list(self, _request: Request) -> Response:
        """The models that can be asked for."""
        items = [_model_item(view) for view in self._scheduler.catalog.all() if view.hidden is None]
        return JSONResponse({"object": "list", "data": items})

    async def _one(self, request: Request) -> Response:
        """One model."""
        try:
            return JSONResponse(_model_item(self._scheduler.catalog.resolve(request.path_params["id"])[0]))
        except AppError as error:
            return error_response(error)

    async def _forward(self, request: Request) -> ASGIApp:
        """Forwarded to the engine of the model, which is loaded if needed."""
        assert self._http is not None
        assert self._streams is not None
        try:
            body = await _read_body(request)
            fields = _parse(body)
            view, rule = self._scheduler.catalog.resolve(fields["model"])
        except AppError as error:
            return error_response(error)
        outgoing = Outgoing(
            path=request.url.path,
            model=view.name,
            fields=fields,
            body=body,
            content_type=request.headers.get("content-type", "application/json"),
            stream=fields.get("stream") is True,
            force=request.headers.get("x-quarterdeck-force", "").lower() == "true",
            route=rule,
        )
        record = RequestRecord(
            self._requests, path=outgoing.path, model=view.name, backend=view.backend,
            route=outgoing.route, stream=outgoing.stream,
        )  # fmt: skip
        return Forward(
            outgoing,
            scheduler=self._scheduler,
            http=self._streams if outgoing.stream else self._http,
            record=record,
            keep_alive=self._keep_alive(),
        )


def _session(connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
    """A session that asks the engine for what the client asked for: nothing is added, and nothing is unpacked."""
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)
    return aiohttp.ClientSession(
        connector=connector, timeout=timeout, auto_decompress=False, skip_auto_headers=("Accept-Encoding",)
    )


def _model_item(view: ModelView) -> dict[str, Any]:
    return {
        "id": view.name,
        "object": "model",
        "created": int(view.created_at.timestamp()),
        "owned_by": "quarterdeck",
        "compatibility_status": view.status,
        "loaded": view.loaded,
        "backend": view.backend,
        "context_length": view.context_length,
        "capabilities": view.capabilities,
    }


async def _read_body(request: Request) -> bytes:
    """The whole body. Raises AppError `body_too_large` (413) before it is held in memory."""
    parts: list[bytes] = []
    size = 0
    try:
        async for part in request.stream():
            size += len(part)
            if size > BODY_LIMIT:
                raise AppError(
                    "body_too_large",
                    f"The request is larger than {BODY_LIMIT // 1024 // 1024} MiB.",
                    "Send smaller images or a shorter history.",
                    status=413,
                )
            parts.append(part)
    except ClientDisconnect:
        raise AppError("client_left", "The client went away while sending.", status=499) from None
    return b"".join(parts)


def _parse(body: bytes) -> dict[str, Any]:
    """The fields of the request. Raises AppError (400) for a body that is no JSON object with a model name."""
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise AppError("invalid_json", f"The body is not valid JSON: {error}.", "Send a JSON object.") from None
    if not isinstance(fields, dict):
        raise AppError("invalid_request", "The body must be a JSON object.", 'Send {"model": …, …}.')
    if not isinstance(fields.get("model"), str) or not fields["model"]:
        raise AppError(
            "model_required", "The field “model” is missing or not a text.", "Name a model that GET /v1/models lists."
        )
    return fields
