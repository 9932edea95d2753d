"""A core for the window's tests: the real ApiClient talks to it through an httpx transport, no sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

import httpx
from fake_clients import FakeClients
from fake_diagnosis import FakeDiagnosis

from quarterdeck.client.api import ApiClient
from quarterdeck.schemas.backends import BackendState, BackendView, LogLine, Owner, ServerPreset
from quarterdeck.schemas.discovery import Absence, ImportAction, ImportEntry, ImportPreview, ScanResult
from quarterdeck.schemas.estimate import Estimate, MemoryPart, Verdict
from quarterdeck.schemas.events import Event, Topic
from quarterdeck.schemas.hardware import GpuSample, HardwareSample, HostSample, NvmlState, NvmlStatus
from quarterdeck.schemas.models import AttemptView, ModelView, Outcome, Phase, Status
from quarterdeck.schemas.system import IssueView, QueueEntry, SettingView, SystemStatus
from quarterdeck.settings import Settings

GIB = 1024**3
NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


def make_model(name: str, **fields: Any) -> ModelView:
    base: dict[str, Any] = {
        "name": name, "backend": "embedded", "served_name": name, "layer": "curated", "path": f"/models/{name}.gguf",
        "size_bytes": 2 * GIB, "architecture": "llama", "parameter_count": 3_000_000_000, "quantization": "Q4_K_M",
        "context_length": 8192, "has_chat_template": True, "created_at": NOW,
    }  # fmt: skip
    return ModelView(**(base | fields))


def make_estimate(**fields: Any) -> Estimate:
    parts = {"weights": 2 * GIB, "kv_cache": GIB // 2, "compute": GIB // 4}
    base: dict[str, Any] = {
        "model": "qwen3-8b", "backend": "embedded", "weights_bytes": 2 * GIB, "kv_cache_bytes": GIB // 2,
        "compute_bytes": GIB // 4, "total_bytes": sum(parts.values()), "free_bytes": 15 * GIB, "card_bytes": 24 * GIB,
        "fits": True, "verdict": Verdict.FITS, "sentence": "It fits: 2.8 GiB of 15.0 GiB that are free.",
        "parts": [MemoryPart(name=name, label=name, bytes=size) for name, size in parts.items()], "n_ctx": 8192,
        "layer_count": 36,
    }  # fmt: skip
    return Estimate(**(base | fields))


def make_preview(**fields: Any) -> ImportPreview:
    base: dict[str, Any] = {
        "format": "model_registry", "title": "Model registry", "entries": [
            ImportEntry(name="new-one", action=ImportAction.ADD, backend="ollama", where="new:latest",
                        dropped=["chat_template.sha256"]),
            ImportEntry(name="qwen3-8b", action=ImportAction.CHANGE, backend="embedded",
                        changes={"load_config": ({}, {"n_ctx": 4096})}),
            ImportEntry(name="mistral-7b", action=ImportAction.SAME, backend="embedded"),
            ImportEntry(name="odd", action=ImportAction.SKIP, reason="Its backend triton is not supported."),
        ],
    }  # fmt: skip
    return ImportPreview(**(base | fields))


def make_sample(*, gpus: int = 1, utilization: float = 40.0) -> HardwareSample:
    nvml = NvmlStatus(state=NvmlState.OK, driver_version="570.1") if gpus else NvmlStatus(
        state=NvmlState.LIBRARY_NOT_FOUND, reason="No NVIDIA driver is installed.", hint="Install the driver."
    )  # fmt: skip
    return HardwareSample(
        at=datetime.now(UTC),
        nvml=nvml,
        host=HostSample(cpu_percent=12.5, cpu_count=8, memory_used=6 * GIB, memory_total=32 * GIB),
        gpus=[
            GpuSample(
                index=index, uuid=f"GPU-{index}", name="NVIDIA Test 24", utilization=utilization,
                memory_used=9 * GIB, memory_total=24 * GIB, temperature=55.0, power=120.0, power_limit=350.0,
            )
            for index in range(gpus)
        ],
    )  # fmt: skip


def make_settings() -> list[SettingView]:
    views = []
    values = Settings().model_dump()
    for name, field in Settings.model_fields.items():
        extra: Any = field.json_schema_extra
        choices = getattr(field.annotation, "__args__", None) if "Literal" in str(field.annotation) else None
        limits = {type(limit).__name__: limit for limit in field.metadata}
        views.append(
            SettingView(
                name=name, value=values[name], default=values[name], source="default",
                environment=f"QUARTERDECK_{name.upper()}", help=field.description or "", group=extra["group"],
                label=extra["label"], restart=extra["restart"], choices=list(choices) if choices else None,
                minimum=int(limits["Ge"].ge) if "Ge" in limits else None,
                maximum=int(limits["Le"].le) if "Le" in limits else None,
            )
        )  # fmt: skip
    return views


class FakeCore(httpx.AsyncBaseTransport):
    """Answers the calls of ApiClient from plain attributes that a test sets; records them in `calls`.

    `answers[(method, path)]` overrides an answer with (status, body); `online = False` refuses connections.
    `load_gate` holds loads back until it is set; a gate of None lets them through at once.
    """

    def __init__(self) -> None:
        self.models: dict[str, ModelView] = {}
        self.backends = {
            "embedded": BackendView(name="embedded", title="llama.cpp (built in)", version="b1", pid=41,
                                    state=BackendState.RUNNING, address="http://127.0.0.1:9000",
                                    kind="embedded", actions=["stop", "restart"]),
        }  # fmt: skip
        self.settings = {view.name: view for view in make_settings()}
        self.samples = [make_sample()]
        self.issues: list[IssueView] = []
        self.attempts: dict[str, list[AttemptView]] = {}
        self.log_lines: dict[str, list[LogLine]] = {}
        self.chat: list[dict[str, Any]] = [
            {"choices": [{"delta": {"content": "Hello"}}]}, {"choices": [{"delta": {"content": " there"}}]},
        ]  # fmt: skip
        self.queue: list[QueueEntry] = []
        self.estimate = make_estimate()
        self.preview = make_preview()
        self.found = ScanResult()
        self.absences: list[Absence] = []
        self.presets = [
            ServerPreset(name="lm-studio", title="LM Studio", url="http://127.0.0.1:1234", kind="openai-compatible",
                         hint="Turn on its local server in the Developer tab."),
        ]  # fmt: skip
        self.clients = FakeClients()
        self.diagnosis = FakeDiagnosis()
        self.estimate_gate: asyncio.Event | None = None
        self.scan_gate: asyncio.Event | None = None
        self.public_url: str | None = "http://127.0.0.1:8100"
        self.online = True
        self.answers: dict[tuple[str, str], tuple[int, dict[str, Any]]] = {}
        self.load_gate: asyncio.Event | None = None
        self.calls: list[tuple[str, str, Any]] = []
        self.streams: list[_Stream] = []
        self.stream_requests: list[tuple[set[str], str | None]] = []
        self._next_id = 1
        self._published: list[Event] = []

    def client(self) -> ApiClient:
        return ApiClient("http://core.test", "token", transport=self)

    def add(self, name: str, **fields: Any) -> ModelView:
        self.models[name] = make_model(name, **fields)
        return self.models[name]

    def called(self, method: str, path: str) -> list[Any]:
        """The bodies of all calls of this method and path."""
        return [body for made, where, body in self.calls if (made, where) == (method, path)]

    def publish(self, topic: str, kind: str, data: Any) -> None:
        """Send an event to every open stream that carries its topic."""
        payload = data.model_dump(mode="json") if hasattr(data, "model_dump") else data
        event = Event(id=self._next_id, topic=Topic(topic), type=kind, at=datetime.now(UTC), data=payload)
        self._next_id += 1
        self._published.append(event)
        for stream in list(self.streams):
            stream.put(event)

    def change(self, name: str, **fields: Any) -> ModelView:
        """Change a model and tell the streams."""
        self.models[name] = ModelView.model_validate(self.models[name].model_dump() | fields)
        self.publish("model", "changed", self.models[name])
        return self.models[name]

    def drop(self) -> None:
        """Go away: break every stream and refuse new connections."""
        self.online = False
        for stream in list(self.streams):
            stream.queue.put_nowait(None)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if not self.online:
            raise httpx.ConnectError("refused", request=request)
        method, path = request.method, unquote(request.url.path)
        plain = "markdown" in request.headers.get("content-type", "")
        body = request.content.decode() if plain else json.loads(request.content) if request.content else None
        if path == "/api/events":
            return self._open_stream(request)
        self.calls.append((method, path, body))
        if (method, path) in self.answers:
            status, answer = self.answers[(method, path)]
            return httpx.Response(status, json=answer, request=request)
        if path == "/v1/chat/completions":
            return httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=_Chat(self.chat))
        if (special := await self.diagnosis.respond(request)) is not None:
            return special
        status, answer = await self._answer(method, path, body)
        return httpx.Response(status, json=answer, request=request)

    def _open_stream(self, request: httpx.Request) -> httpx.Response:
        topics = set(request.url.params["topics"].split(","))
        last_id = request.headers.get("last-event-id")
        self.stream_requests.append((topics, last_id))
        stream = _Stream(topics, self.streams.remove)
        self.streams.append(stream)
        begins = self._next_id - 1 if last_id is None else int(last_id)
        stream.queue.put_nowait(Event(id=begins, topic=Topic.STREAM, type="opened", at=datetime.now(UTC)))
        for event in self._published:
            if event.id > begins:
                stream.put(event)
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=stream)

    async def _answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        parts = path.strip("/").split("/")[1:]
        match (method, *parts):
            case ("GET", "models"):
                return 200, _dump(self.models.values())
            case ("POST", "models"):
                return self._create(body)
            case ("GET", "models", name) if name in self.models:
                return 200, self.models[name].model_dump(mode="json")
            case ("DELETE", "models", name) if name in self.models:
                del self.models[name]
                self.publish("model", "removed", {"name": name})
                return 200, {}
            case ("PATCH", "models", name, "config") if name in self.models:
                return self._patch(name, body)
            case ("GET", "models", name, "attempts"):
                return 200, _dump(self.attempts.get(name, []))
            case ("GET", "models", name, "mitigations") if name in self.models:
                return 200, _dump(self.clients.mitigations(self.models[name]))
            case ("POST", "orchestrate", action):
                return await self._orchestrate(action, body)
            case ("GET", "status"):
                return 200, self.status().model_dump(mode="json")
            case ("GET", "backends"):
                return 200, _dump(self.backends.values())
            case ("POST", "backends", name, _) if name in self.backends:
                return 200, self.backends[name].model_dump(mode="json")
            case ("GET", "backends", source, "logs"):
                return 200, _dump(self.log_lines.get(source, []))
            case (_, "estimate" | "import" | "scan" | "absences" | "servers", *_):
                return await self._look(method, parts, body)
            case ("POST", "models", name, "lock" | "unlock" | "verify" as verb) if name in self.models:
                locked = verb != "unlock"
                checksum = "sha256:0123456789abcdef" if locked else None
                return 200, self.change(name, locked=locked, expected_hash=checksum).model_dump(mode="json")
            case ("GET", "hardware"):
                return 200, _dump(self.samples)
            case ("GET", "settings"):
                return 200, _dump(self.settings.values())
            case ("PATCH", "settings"):
                return self._change_settings(body)
            case (_, "requests" | "connect" | "snippets" | "keys" | "routing", *_):
                return self.clients.answer(method, parts, body)
            case (_, "problems" | "fixes" | "known-issues" | "drift" | "report" | "diagnose", *_):
                return self.diagnosis.answer(method, parts, body)
        return 404, {"detail": f"There is nothing at {path}.", "code": "not_found", "hint": ""}

    async def _look(self, method: str, parts: list[str], body: Any) -> tuple[int, Any]:
        """What is asked before anything is loaded, and the servers."""
        match (method, *parts):
            case ("POST", "estimate"):
                if self.estimate_gate is not None:
                    await self.estimate_gate.wait()
                return 200, self.estimate.model_dump(mode="json")
            case ("POST", "import"):
                return 200, self.preview.model_dump(mode="json")
            case ("POST", "scan"):
                if self.scan_gate is not None:
                    await self.scan_gate.wait()
                return 200, self.found.model_dump(mode="json")
            case ("GET", "absences"):
                return 200, _dump(self.absences)
            case ("GET", "servers", "presets"):
                return 200, _dump(self.presets)
            case ("POST", "servers"):
                name = body.get("name") or f"server-{len(self.backends)}"
                self.backends[name] = BackendView(
                    name=name, title=name, kind=body.get("kind") or "openai-compatible", state=BackendState.RUNNING,
                    address=body["url"], owner=Owner.model_validate(body.get("owner") or {"kind": "other"}),
                    actions=["remove"],
                )  # fmt: skip
                self.publish("backend", "changed", self.backends[name])
                return 201, self.backends[name].model_dump(mode="json")
            case ("DELETE", "servers", name) if name in self.backends:
                del self.backends[name]
                self.publish("backend", "removed", {"name": name})
                return 204, {}
        return 404, {"detail": f"There is nothing at /api/{'/'.join(parts)}.", "code": "not_found", "hint": ""}

    def enqueue(self, *entries: QueueEntry) -> None:
        """Replace the queue and tell the streams."""
        self.queue = list(entries)
        self.publish("queue", "changed", {"entries": _dump(entries)})

    def status(self) -> SystemStatus:
        loaded = [model.name for model in self.models.values() if model.loaded]
        return SystemStatus(
            loaded_model=loaded[0] if loaded else None, hardware=self.samples[-1], loaded_models=loaded,
            queue=self.queue, backends=list(self.backends.values()), issues=self.issues, public_url=self.public_url,
            control_url="http://core.test", data_dir="/data", uptime_seconds=5.0,
            versions={"quarterdeck": "0.1.0", "python": "3.11"},
        )  # fmt: skip

    def _create(self, body: dict[str, Any]) -> tuple[int, Any]:
        name = body["model_name"]
        if name in self.models:
            return 409, {"detail": f"There is already a model named “{name}”.", "code": "duplicate_model",
                         "hint": "Choose another name."}  # fmt: skip
        self.add(name, path=body.get("path"), url=body.get("url"), backend=body.get("backend") or "embedded")
        self.publish("model", "changed", self.models[name])
        return 201, self.models[name].model_dump(mode="json")

    def _patch(self, name: str, body: dict[str, Any]) -> tuple[int, Any]:
        fields: dict[str, Any] = {}
        if body.get("compatibility_status"):
            fields["status"] = Status(body["compatibility_status"])
        if body.get("compatibility_notes") is not None:
            fields["notes"] = body["compatibility_notes"]
        if (config := body.get("load_config")) is not None:
            fields["load_config"] = config if isinstance(config, str) else json.dumps(config)
        plain = (
            "aliases", "roles", "capabilities", "group", "pinned", "idle_timeout", "deprecated", "client_policy",
        )  # fmt: skip
        fields.update({name: body[name] for name in plain if name in body})
        return 200, self.change(name, **fields).model_dump(mode="json")

    async def _orchestrate(self, action: str, body: dict[str, Any]) -> tuple[int, Any]:
        name = body.get("model_name") or next((m.name for m in self.models.values() if m.phase != "unloaded"), None)
        if name not in self.models:
            return 404, {"detail": f"There is no model named “{name}”.", "code": "unknown_model", "hint": ""}
        if action in ("unload", "cancel"):
            self.change(name, phase=Phase.UNLOADED, loaded=False, progress=None)
            return 200, {"message": "done"}
        if self.models[name].status == Status.INCOMPATIBLE and not body.get("force_load"):
            return 409, {"detail": f"“{name}” is marked incompatible.", "code": "incompatible",
                         "hint": "Load it with force_load to try anyway."}  # fmt: skip
        self.change(name, phase=Phase.LOADING)
        if self.load_gate is not None:
            await self.load_gate.wait()
            if self.models[name].phase != Phase.LOADING:
                return 409, {"detail": "The load was cancelled.", "code": "cancelled", "hint": ""}
        self.change(name, phase=Phase.LOADED, loaded=True, status=Status.COMPATIBLE, total_loads=1)
        return 200, {"message": "loaded", "model_id": name, "model_name": name, "compatibility_status": "compatible",
                     "load_seconds": 1.5}  # fmt: skip

    def _change_settings(self, body: dict[str, Any]) -> tuple[int, Any]:
        for name, value in body.items():
            self.settings[name] = self.settings[name].model_copy(update={"value": value, "source": "config.toml"})
            self.publish("setting", "changed", self.settings[name])
        return 200, _dump(self.settings.values())


def make_attempt(number: int, model: str, **fields: Any) -> AttemptView:
    base: dict[str, Any] = {
        "id": number, "model_name": model, "backend": "embedded", "outcome": Outcome.FAILED, "started_at": NOW,
        "ended_at": NOW, "status_before": Status.UNKNOWN, "status_after": Status.INCOMPATIBLE,
    }  # fmt: skip
    return AttemptView(**(base | fields))


def _dump(items: Any) -> list[Any]:
    return [item.model_dump(mode="json") for item in items]


class _Stream(httpx.AsyncByteStream):
    def __init__(self, topics: set[str], closed: Callable[[_Stream], None]) -> None:
        self.topics = topics
        self.queue: asyncio.Queue[Event | None] = asyncio.Queue()
        self._closed: Callable[[_Stream], None] | None = closed

    def put(self, event: Event) -> None:
        """Send an event if the stream carries its topic."""
        if event.topic is Topic.STREAM or event.topic in self.topics:
            self.queue.put_nowait(event)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (event := await self.queue.get()) is not None:
            yield f"id: {event.id}\ndata: {event.model_dump_json()}\n\n".encode()

    async def aclose(self) -> None:
        closed, self._closed = self._closed, None
        if closed is not None:
            closed(self)


class _Chat(httpx.AsyncByteStream):
    def __init__(self, chunks: list[dict[str, Any]]) -> None:
        self._chunks = chunks

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self._chunks:
            yield f"data: {json.dumps(chunk)}\n\n".encode()
        yield b"data: [DONE]\n\n"

    async def aclose(self) -> None:
        pass
