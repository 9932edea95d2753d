"""`/api/status`, settings, hardware and the event stream."""

from __future__ import annotations

import asyncio
import platform
import time
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from quarterdeck import __version__
from quarterdeck.control.services import Services
from quarterdeck.control.strict import StrictRoute
from quarterdeck.errors import AppError
from quarterdeck.proxy.disconnect import until_disconnect
from quarterdeck.schemas.events import DEFAULT_TOPICS, Event, Topic
from quarterdeck.schemas.hardware import HardwareSample
from quarterdeck.schemas.system import SettingView, SystemStatus

MIB = 1024 * 1024
SAMPLE_PATIENCE = 1.0
LONGEST_ID = 20


def router(services: Services) -> APIRouter:
    """Routes about the whole."""
    routes = APIRouter(prefix="/api", tags=["system"], route_class=StrictRoute)

    @routes.get("/status")
    async def status() -> SystemStatus:
        sample = await asyncio.to_thread(services.sampler.sample_now, SAMPLE_PATIENCE)
        return system_status(services, sample)

    @routes.get("/settings")
    async def settings() -> list[SettingView]:
        return services.preferences.views()

    @routes.patch("/settings")
    async def change_settings(values: dict[str, Any]) -> list[SettingView]:
        views = await services.preferences.change(values)
        for view in views:
            if view.name in values:
                services.events.publish(Topic.SETTING, "changed", view)
        return views

    @routes.get("/hardware")
    async def hardware() -> list[HardwareSample]:
        return services.sampler.history() or [await asyncio.to_thread(services.sampler.sample_now, SAMPLE_PATIENCE)]

    @routes.get("/events", response_model=None)
    async def events(request: Request, topics: str | None = None) -> EventStream:
        last_id = _event_id(request.headers.get("last-event-id", ""))
        begins = services.events.last_id if last_id is None else last_id
        opened = Event(id=begins, topic=Topic.STREAM, type="opened", at=datetime.now(UTC))
        return EventStream(opened, services.events.subscribe(_topics(topics), last_id))

    return routes


def system_status(services: Services, sample: HardwareSample) -> SystemStatus:
    """The state of the whole; GPU memory in MiB, summed over all GPUs."""
    loaded = [each.view for each in services.scheduler.loaded.values() if each.awake]
    newest = loaded[-1] if loaded else None
    used = [gpu.memory_used for gpu in sample.gpus if gpu.memory_used is not None]
    total = [gpu.memory_total for gpu in sample.gpus if gpu.memory_total is not None]
    return SystemStatus(
        loaded_model=newest.name if newest else None,
        loaded_model_id=newest.served_name if newest else None,
        gpu_available=bool(sample.gpus),
        gpu_memory_allocated_mb=sum(used) / MIB if used else None,
        gpu_memory_reserved_mb=sum(total) / MIB if total else None,
        hardware=sample,
        loaded_models=[view.name for view in loaded],
        queue=services.scheduler.queue,
        backends=services.landscape.views(),
        issues=services.issues.all(),
        public_url=services.public_url(),
        control_url=services.control_url,
        data_dir=str(services.preferences.folders.data),
        uptime_seconds=time.monotonic() - services.started_at,
        versions={"quarterdeck": __version__, "python": platform.python_version()},
    )


def _event_id(text: str) -> int | None:
    """The id after which a stream is resumed; None for a text that is no id of ours."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < LONGEST_ID else None


def _topics(text: str | None) -> list[Topic]:
    if text is None:
        return list(DEFAULT_TOPICS)
    try:
        return [Topic(word.strip()) for word in text.split(",") if word.strip()]
    except ValueError as error:
        raise AppError("bad_request", f"{error}.", f"Topics: {', '.join(Topic)}.") from None


class EventStream(Response):
    """Server-sent events; ends when the core closes or the client leaves.

    It begins with `opened`: whoever reads the state after it misses nothing.
    """

    def __init__(self, opened: Event, events: AsyncGenerator[Event, None]) -> None:
        super().__init__(media_type="text/event-stream")
        self._opened = opened
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await until_disconnect(receive, self._send_all(send))
        finally:
            await self._events.aclose()

    async def _send_all(self, send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": _encode(self._opened), "more_body": True})
        async for event in self._events:
            await send({"type": "http.response.body", "body": _encode(event), "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def _encode(event: Event) -> bytes:
    return f"id: {event.id}\nevent: {event.topic}\ndata: {event.model_dump_json()}\n\n".encode()
