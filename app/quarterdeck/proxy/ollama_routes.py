"""Ollama's interface besides chat: lists from what is known, management handed on to the Ollama server."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from quarterdeck.backends import addresses
from quarterdeck.errors import AppError
from quarterdeck.proxy import ollama_state
from quarterdeck.proxy.access.access import Principal
from quarterdeck.proxy.dialects.base import Fields
from quarterdeck.proxy.json_answer import JsonAnswer
from quarterdeck.proxy.ollama_relay import CONNECT_SECONDS, Changed, Relay, error_response
from quarterdeck.scheduling.idle import idle_limit
from quarterdeck.scheduling.scheduler import Scheduler
from quarterdeck.scheduling.state import Loaded, now
from quarterdeck.schemas.backends import BackendKind
from quarterdeck.schemas.models import ModelView
from quarterdeck.settings import Settings

VERSION_PATH = "/api/version"
BLOBS = "/api/blobs/"
ASKED = ("/api/chat", "/api/generate", "/api/embed", "/api/embeddings")
MANAGED = ("/api/pull", "/api/push", "/api/create", "/api/copy", "/api/delete")
OLLAMA_PATHS = frozenset({*ASKED, *MANAGED, "/api/tags", "/api/ps", "/api/show", VERSION_PATH})
"""The paths below /api that are Ollama's and not ours; all paths that begin with BLOBS are too."""

_SHOW_SECONDS = 3.0
_CHANGING = frozenset({"/api/pull", "/api/create", "/api/copy", "/api/delete"})
# Where a call names models: those that must be there, and those that are made.
_NAMES = {"/api/copy": ("source",), "/api/create": ("from",), "/api/pull": ()}
_MODEL = ("model", "name")


class OllamaRoutes:
    """The routes of Ollama's interface that ask no model anything. Core loop only; `close` at the end.

    `changed` looks which models there are now. `principal` tells who asks and raises AppError 401; lists leave out what
    a key is not for, and only an admin key manages the models of the server.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        *,
        settings: Callable[[], Settings],
        changed: Changed,
        principal: Callable[[Request], Principal],
    ) -> None:
        self._scheduler = scheduler
        self._settings = settings
        self._changed = changed
        self._principal = principal
        self._http: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._http is not None:
            await self._http.close()
            self._http = None

    def routes(self) -> list[Route]:
        return [
            Route(VERSION_PATH, self._version, methods=["GET"]),
            Route("/api/tags", self._tags, methods=["GET"]),
            Route("/api/ps", self._ps, methods=["GET"]),
            Route("/api/show", self._show, methods=["POST"]),
            *(Route(path, self._manage, methods=["POST"]) for path in MANAGED[:-1]),
            Route(MANAGED[-1], self._manage, methods=["DELETE"]),
            Route(BLOBS + "{digest}", self._blob, methods=["HEAD", "POST"]),
        ]

    async def _version(self, _request: Request) -> Response:
        """The version of Ollama whose interface this is."""
        return JsonAnswer({"version": ollama_state.OLLAMA_VERSION})

    async def _tags(self, request: Request) -> Response:
        """The models that can be asked for, as Ollama lists them."""
        try:
            who = self._principal(request)
        except AppError as error:
            return error_response(error)
        views = [view for view in self._scheduler.catalog.all() if view.hidden is None and who.may_use(view.name)]
        return JsonAnswer({"models": [ollama_state.listed(view) for view in views]})

    async def _ps(self, request: Request) -> Response:
        """The models that are in memory, as Ollama lists them."""
        try:
            who = self._principal(request)
        except AppError as error:
            return error_response(error)
        loaded = [each for each in self._scheduler.loaded.values() if each.usable and who.may_use(each.name)]
        return JsonAnswer({"models": [self._running(each) for each in loaded]})

    async def _show(self, request: Request) -> Response:
        """What is known of one model, as Ollama tells it."""
        try:
            who = self._principal(request)
            fields = _fields(await _body(request, self._limit))
            name = fields.get("model") or fields.get("name")
            if not isinstance(name, str) or not name:
                return _plain_error(400, "model is required")
            view = self._known(name)
            if view is None or not who.may_use(view.name):
                return _plain_error(404, f"model '{name}' not found")
            told = await self._ask_ollama(view, fields) if view.backend == BackendKind.OLLAMA else None
        except AppError as error:
            return error_response(error)
        if told is None:
            return JsonAnswer(ollama_state.shown(view))
        return JsonAnswer({**told, "capabilities": ollama_state.capabilities(view)} if view.capabilities else told)

    async def _manage(self, request: Request) -> ASGIApp:
        """Handed on to the Ollama server."""
        path = request.url.path
        try:
            self._principal(request).require_admin()
            body = await _body(request, self._limit)
            url, body = self._addressed(path, body)
        except AppError as error:
            return error_response(error)
        headers = {"content-type": "application/json"} if body else {}
        changed = self._changed if path in _CHANGING else None
        return Relay(self._session(), request.method, url + path, body=body, headers=headers, changed=changed)

    async def _blob(self, request: Request) -> ASGIApp:
        """A file of a model that is made, handed on to the Ollama server as it comes in."""
        try:
            self._principal(request).require_admin()
            url = self._main()
        except AppError as error:
            return error_response(error)
        body: AsyncIterator[bytes] | bytes = b""
        kept: tuple[str, ...] = ()
        if request.method == "POST":
            body, kept = request.stream(), ("content-type", "content-length")
        headers = {key: value for key, value in request.headers.items() if key in kept}
        target = f"{url}{BLOBS}{request.path_params['digest']}"
        return Relay(self._session(), request.method, target, body=body, headers=headers, changed=None)

    def _running(self, loaded: Loaded) -> Fields:
        view = self._scheduler.catalog.get(loaded.name)
        limit = idle_limit(view.pinned, view.idle_timeout, self._settings().idle_timeout)
        if limit is not None and not loaded.instance.active_requests:
            limit = max(0.0, loaded.idle_since + limit - now())
        return ollama_state.running(view, config=loaded.config, ends_in=limit)

    async def _ask_ollama(self, view: ModelView, fields: Fields) -> Fields | None:
        """What the server of a model says of it; None when it does not tell in time."""
        asked = {**fields, "model": view.served_name}
        limit = aiohttp.ClientTimeout(total=_SHOW_SECONDS, sock_connect=CONNECT_SECONDS)
        try:
            async with self._session().post(f"{self._url(view)}/api/show", json=asked, timeout=limit) as answer:
                told = await answer.json(content_type=None) if answer.status == 200 else None
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError, AppError):
            return None
        return told if isinstance(told, dict) else None

    def _addressed(self, path: str, body: bytes) -> tuple[str, bytes]:
        """The server that a call is meant for, and its body with the names that the server knows.

        A body that says nothing that we understand goes to the main server, which says what is wrong with it.
        """
        try:
            fields = _fields(body)
        except AppError:
            return self._main(), body
        url, renamed = self._main(), False
        wanted = _NAMES.get(path, _MODEL)
        for key in (*wanted, *(_MODEL if path == "/api/pull" else ())):
            view = self._known(fields[key]) if isinstance(fields.get(key), str) else None
            if view is None:
                continue
            if view.backend != BackendKind.OLLAMA:
                if key in wanted:
                    raise _not_at_ollama(view)
                continue
            url = self._url(view)
            if view.served_name != fields[key]:
                fields[key], renamed = view.served_name, True
        return url, json.dumps(fields).encode() if renamed else body

    def _known(self, name: str) -> ModelView | None:
        try:
            return self._scheduler.catalog.resolve(name)[0]
        except AppError:
            return None

    def _main(self) -> str:
        return self._reached(self._settings().ollama_url)

    def _url(self, view: ModelView) -> str:
        return self._reached(view.url) if view.url else self._main()

    def _reached(self, url: str) -> str:
        return addresses.aliased(addresses.ollama_url(url), self._settings().loopback_alias)

    def _session(self) -> aiohttp.ClientSession:
        if self._http is None:
            limit = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)
            self._http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=limit)
        return self._http

    @property
    def _limit(self) -> int:
        return self._settings().body_limit * 1024 * 1024


async def _body(request: Request, limit: int) -> bytes:
    """The whole body. Raises AppError 413 where it is longer than `limit` bytes."""
    parts: list[bytes] = []
    size = 0
    try:
        async for part in request.stream():
            size += len(part)
            if size > limit:
                raise AppError("body_too_large", f"The request is larger than {limit} bytes.", status=413)
            parts.append(part)
    except ClientDisconnect:
        raise AppError("client_left", "The client went away while sending.", status=499) from None
    return b"".join(parts)


def _fields(body: bytes) -> dict[str, Any]:
    """Raises AppError (400) in Ollama's words."""
    if not body.strip():
        raise AppError("bad_request", "missing request body")
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise AppError("bad_request", f"The body is not valid JSON: {error}.") from None
    if not isinstance(fields, dict):
        raise AppError("bad_request", "The body must be a JSON object.")
    return fields


def _plain_error(status: int, message: str) -> Response:
    return JsonAnswer({"error": message}, status_code=status)


def _not_at_ollama(view: ModelView) -> AppError:
    return AppError(
        "not_at_ollama",
        f"“{view.name}” is not a model of Ollama but of {view.backend}.",
        "Manage it in Quarterdeck.",
        status=409,
    )
