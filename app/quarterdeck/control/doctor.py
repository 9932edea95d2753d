"""`/api/doctor`: examines connections and tells each step as it ends."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Header, Request, Response
from starlette.types import Receive, Scope, Send

from quarterdeck.control.guides import NO_KEY, PROGRAMS, situation
from quarterdeck.control.services import Services
from quarterdeck.control.strict import StrictRoute
from quarterdeck.diagnosis.doctor.addresses import read_address
from quarterdeck.diagnosis.doctor.doctor import Doctor, Steps
from quarterdeck.diagnosis.doctor.findings import StepError
from quarterdeck.diagnosis.doctor.network import is_near
from quarterdeck.diagnosis.doctor.targets import Target
from quarterdeck.errors import AppError
from quarterdeck.proxy.disconnect import until_disconnect
from quarterdeck.schemas.backends import BackendState, BackendView, OwnerKind
from quarterdeck.schemas.discovery import FoundServer
from quarterdeck.schemas.doctor import DoctorReport, DoctorRequest

LINES = "application/x-ndjson"
API = "/v1"
OPEN_WEBUI = "open-webui"
SOCKET = "/ws/socket.io"
_ABSENT = (BackendState.STOPPED, BackendState.FAILED)
"""A server that does not run is no fault, unless somebody asks for it."""
MOST_AT_ONCE = 4
"""Examinations; each asks a server some thirty things, and may make a model write."""
_ADDRESSES = {"OPENAI_BASE_URL": "OPENAI_API_KEY", "OPENAI_API_BASE": "OPENAI_API_KEY", "OLLAMA_API_BASE": ""}
"""Where programs that follow the environment find their server, and the key to it."""
Accept = Annotated[str, Header(description=f"`{LINES}`: each step as one line as it ends, then its report.")]


def router(services: Services, doctor: Doctor | None = None, environment: Mapping[str, str] | None = None) -> APIRouter:
    """Routes of the doctor; it loads no model unless one is named. `environment` is that of this process."""
    routes = APIRouter(prefix="/api", tags=["diagnosis"], route_class=StrictRoute)
    examiner = doctor or Doctor()
    places = asyncio.Semaphore(MOST_AT_ONCE)

    @routes.post("/doctor", response_model=list[DoctorReport])
    async def examine(
        request: DoctorRequest, caller: Request, accept: Accept = "application/json"
    ) -> Response | list[DoctorReport]:
        """Examine an address, a backend, a client, or all that are known; the steps come as they end where asked."""
        targets = _targets(services, request)
        walks = []
        if _nothing_named(request):
            targets += _of_environment(request, os.environ if environment is None else environment)
            walks = [examiner.examine_machine(request.proxies)]
        steps = _walk([*walks, *map(examiner.examine, targets)], places)
        if LINES in accept:
            return StepStream(steps)
        return await _reports(steps, caller)

    return routes


async def _walk(walks: Sequence[Steps], places: asyncio.Semaphore) -> Steps:
    if places.locked():
        raise AppError(
            "doctor_busy",
            f"{MOST_AT_ONCE} examinations run already.",
            "Wait until one of them ends, or stop one.",
            status=409,
        )
    async with places:
        for walk in walks:
            async with aclosing(walk):
                async for step in walk:
                    yield step


async def _reports(steps: Steps, caller: Request) -> list[DoctorReport]:
    """The reports alone; when the client leaves, the examination ends."""
    reports: list[DoctorReport] = []

    async def collect() -> None:
        async with aclosing(steps):
            reports.extend([step async for step in steps if isinstance(step, DoctorReport)])

    if not await until_disconnect(caller.receive, collect()):
        raise AppError("client_left", "The client went away while the connection was examined.", status=499)
    return reports


class StepStream(Response):
    """Steps line by line; when the client leaves, the examination ends."""

    def __init__(self, steps: Steps) -> None:
        super().__init__(media_type=LINES)
        self._steps = steps

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._lines()) as lines:
            await until_disconnect(receive, self._send_all(lines, send))

    async def _send_all(self, lines: AsyncGenerator[bytes, None], send: Send) -> None:
        headers = [(b"content-type", LINES.encode()), (b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]
        # What keeps the examination from beginning is still an error with its own status.
        first = await anext(lines)
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": first, "more_body": True})
        async for line in lines:
            await send({"type": "http.response.body", "body": line, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def _lines(self) -> AsyncGenerator[bytes, None]:
        async with aclosing(self._steps):
            async for step in self._steps:
                yield step.model_dump_json().encode() + b"\n"


def _nothing_named(request: DoctorRequest) -> bool:
    return request.url is None and request.backend is None and request.client is None


def _targets(services: Services, request: DoctorRequest) -> list[Target]:
    if sum(value is not None for value in (request.url, request.backend, request.client)) > 1:
        raise AppError("bad_request", "More than one thing to examine was named.", "Name url, backend or client.")
    if request.url is not None:
        return [_target(request, request.url.strip() or "No address", request.url)]
    if request.backend is not None:
        return [_of_backend(services, request, request.backend)]
    if request.client is not None:
        return _of_client(services, request, request.client)
    views = [view for view in services.landscape.views() if view.address and view.state not in _ABSENT]
    known = [_of_view(services, request, view) for view in views]
    public = services.public_url()
    ours = [] if public is None else [_target(request, "Quarterdeck", called(public) + API)]
    return [*ours, *known, *_pages(services, request)]


def _of_backend(services: Services, request: DoctorRequest, name: str) -> Target:
    view = services.landscape.view(name)
    if view.address is None:
        raise AppError(
            "backend_not_running",
            f"{view.title} does not run, so there is no connection to examine.",
            "Load a model of it first, or start it.",
            status=409,
        )
    return _of_view(services, request, view)


def _of_view(services: Services, request: DoctorRequest, view: BackendView) -> Target:
    """Servers are kept without the end of their address, which programs need."""
    url = view.address or ""
    return _target(request, view.title, url.rstrip("/").removesuffix(API) + API, key=services.servers.key_for(url))


def _of_client(services: Services, request: DoctorRequest, client: str) -> list[Target]:
    program = PROGRAMS.get(client)
    if program is None:
        raise AppError(
            "unknown_client",
            f"There is no guide for “{client}”.",
            f"Choose one of these: {', '.join(PROGRAMS)}.",
            status=404,
        )
    public = services.public_url()
    if public is None:
        raise AppError(
            "no_address",
            "Clients cannot reach Quarterdeck: it does not listen on an address for them.",
            f"Free port {services.preferences.current.port}, or choose another port in Settings.",
            status=503,
        )
    pages = _pages(services, request) if client.startswith(OPEN_WEBUI) else []
    contained = any(found.owner.kind is OwnerKind.DOCKER for found in _open_webuis(services)) and bool(pages)
    end = API if program.dialect == "openai" else ""
    ours = _target(request, program.title, called(public) + end, key=None if services.keys.exist else NO_KEY)
    return [replace(ours, from_container=contained), *pages]


def _pages(services: Services, request: DoctorRequest) -> list[Target]:
    """Windows of clients that run here: they have a WebSocket, and no models of their own."""
    found = _open_webuis(services)
    return [Target(each.title, each.url, origin=request.origin or "", websocket=SOCKET, is_page=True) for each in found]


def _of_environment(request: DoctorRequest, environment: Mapping[str, str]) -> list[Target]:
    """Servers nearby that programs are sent to by the environment; others are not asked unless somebody names them."""
    found = []
    for name, key in _ADDRESSES.items():
        url = environment.get(name, "")
        if url and _is_near(url):
            found.append(_target(request, f"The address in {name}", url, key=environment.get(key, "")))
    return found


def _is_near(url: str) -> bool:
    try:
        return is_near(read_address(url).host)
    except StepError:
        return True


def _open_webuis(services: Services) -> list[FoundServer]:
    return [found for found in services.servers.found() if found.product == OPEN_WEBUI]


def called(public_url: str) -> str:
    """The address for clients as one of this machine calls it."""
    return situation(public_url, model="", needs_key=False, host_name="").url


def _target(request: DoctorRequest, title: str, url: str, key: str | None = None) -> Target:
    """What the request names wins over `key`, which is known here."""
    return Target(
        title=title,
        url=url,
        key=request.key or key or "",
        origin=request.origin or "",
        model=request.model or "",
        websocket=request.websocket or "",
        proxies=request.proxies,
    )
