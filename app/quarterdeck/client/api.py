"""Calls of the control API. Every method raises AppError with the code, sentence and hint of the core."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable
from typing import Any

import httpx
from httpx_sse import aconnect_sse
from pydantic import TypeAdapter

from quarterdeck.client.calls import QUICK, from_openai, part, raise_for_error, unreachable
from quarterdeck.client.diagnosis_calls import DiagnosisCalls
from quarterdeck.schemas.access import ConnectGuide, ConnectTest, KeyCreate, KeyView, NewKey, ProxySnippet
from quarterdeck.schemas.backends import BackendView, LogLine, PullProgress, ServerCreate, ServerPreset
from quarterdeck.schemas.discovery import Absence, FollowedFile, ImportPreview, ImportRequest, ScanResult
from quarterdeck.schemas.estimate import Estimate, EstimateRequest
from quarterdeck.schemas.events import DEFAULT_TOPICS, Event, Topic
from quarterdeck.schemas.hardware import HardwareSample
from quarterdeck.schemas.models import (
    AttemptView,
    ConfigPatch,
    LoadRequest,
    LoadResult,
    ModelCreate,
    ModelView,
)
from quarterdeck.schemas.requests import (
    MitigationView,
    RequestDetail,
    RequestView,
    RouteQuestion,
    RouteReport,
    RoutingRules,
    RoutingState,
)
from quarterdeck.schemas.system import SettingView, SystemStatus

_MODELS = TypeAdapter(list[ModelView])
_ATTEMPTS = TypeAdapter(list[AttemptView])
_BACKENDS = TypeAdapter(list[BackendView])
_LINES = TypeAdapter(list[LogLine])
_SAMPLES = TypeAdapter(list[HardwareSample])
_SETTINGS = TypeAdapter(list[SettingView])
_REQUESTS = TypeAdapter(list[RequestView])
_MITIGATIONS = TypeAdapter(list[MitigationView])
_ABSENCES = TypeAdapter(list[Absence])
_FOLLOWS = TypeAdapter(list[FollowedFile])
_PRESETS = TypeAdapter(list[ServerPreset])
_KEYS = TypeAdapter(list[KeyView])
_GUIDES = TypeAdapter(list[ConnectGuide])
_SNIPPETS = TypeAdapter(list[ProxySnippet])


class ApiClient(DiagnosisCalls):
    """One connection pool to one core. `base_url` is the control address, `token` the local token."""

    async def models(self) -> list[ModelView]:
        return _MODELS.validate_json(await self.call("GET", "/api/models"))

    async def model(self, name: str) -> ModelView:
        return ModelView.model_validate_json(await self.call("GET", f"/api/models/{part(name)}"))

    async def add_model(self, new: ModelCreate) -> ModelView:
        body = new.model_dump(exclude_none=True)
        return ModelView.model_validate_json(await self.call("POST", "/api/models", body))

    async def remove_model(self, name: str) -> None:
        """Forget a model and its journal; its file stays where it is."""
        await self.call("DELETE", f"/api/models/{part(name)}")

    async def patch_config(self, name: str, patch: ConfigPatch) -> ModelView:
        """Change status, notes or load_config; only the fields that were set are sent."""
        body = patch.model_dump(exclude_unset=True)
        return ModelView.model_validate_json(await self.call("PATCH", f"/api/models/{part(name)}/config", body))

    async def attempts(self, name: str) -> list[AttemptView]:
        """The journal of load attempts, newest first."""
        return _ATTEMPTS.validate_json(await self.call("GET", f"/api/models/{part(name)}/attempts"))

    async def mitigations(self, name: str) -> list[MitigationView]:
        """What is changed in requests for a model, in the order in which it is done."""
        answer = await self.call("GET", f"/api/models/{part(name)}/mitigations")
        return _MITIGATIONS.validate_json(answer)

    async def load(self, name: str, *, force: bool = False, load_config: str | None = None) -> LoadResult:
        """Load a model and wait until it is ready; no time limit of its own, the core has one."""
        request = LoadRequest(model_name=name, force_load=force, load_config=load_config)
        body = request.model_dump(exclude_none=True)
        return LoadResult.model_validate_json(await self.call("POST", "/api/orchestrate/load", body, timeout=None))

    async def unload(self, name: str | None = None) -> None:
        await self.call("POST", "/api/orchestrate/unload", {"model_name": name}, timeout=None)

    async def cancel(self, name: str | None = None) -> None:
        """Cancel the load of `name`, or the one under way; returns when its engine is gone."""
        await self.call("POST", "/api/orchestrate/cancel", {"model_name": name}, timeout=None)

    async def status(self) -> SystemStatus:
        return SystemStatus.model_validate_json(await self.call("GET", "/api/status"))

    async def lock(self, name: str) -> ModelView:
        """Hold the model to the files it has now; the first check remembers them."""
        return ModelView.model_validate_json(await self.call("POST", f"/api/models/{part(name)}/lock", timeout=None))

    async def unlock(self, name: str) -> ModelView:
        return ModelView.model_validate_json(await self.call("POST", f"/api/models/{part(name)}/unlock"))

    async def verify(self, name: str) -> ModelView:
        """Compare the files with those it was locked to. AppError `version_lock_violation` when they differ."""
        return ModelView.model_validate_json(await self.call("POST", f"/api/models/{part(name)}/verify", timeout=None))

    async def absences(self) -> list[Absence]:
        """Models that clients do not see, with the reasons."""
        return _ABSENCES.validate_json(await self.call("GET", "/api/absences"))

    async def estimate(self, request: EstimateRequest) -> Estimate:
        """The memory that a load would need. AppError `no_estimate` when it cannot be told."""
        body = request.model_dump(exclude_none=True)
        return Estimate.model_validate_json(await self.call("POST", "/api/estimate", body))

    async def import_models(self, request: ImportRequest) -> ImportPreview:
        """Preview an import, or carry it out when `apply` is set."""
        return ImportPreview.model_validate_json(
            await self.call("POST", "/api/import", request.model_dump(), timeout=60)
        )

    async def follows(self) -> list[FollowedFile]:
        """The imported files that are read again when they change."""
        return _FOLLOWS.validate_json(await self.call("GET", "/api/follows"))

    async def unfollow(self, path: str) -> None:
        """Follow a file no longer; its models stay. AppError `not_followed` when it is not followed."""
        await self.call("DELETE", f"/api/follows?path={part(path)}")

    async def scan(self, folders: Iterable[str] = ()) -> ScanResult:
        """Look for servers and models; nothing is loaded."""
        answer = await self.call("POST", "/api/scan", {"folders": list(folders)}, timeout=None)
        return ScanResult.model_validate_json(answer)

    async def presets(self) -> list[ServerPreset]:
        return _PRESETS.validate_json(await self.call("GET", "/api/servers/presets"))

    async def add_server(self, new: ServerCreate) -> BackendView:
        body = new.model_dump(exclude_none=True, mode="json")
        return BackendView.model_validate_json(await self.call("POST", "/api/servers", body, timeout=60))

    async def remove_server(self, name: str) -> None:
        await self.call("DELETE", f"/api/servers/{part(name)}")

    async def stop_gpu_process(self, pid: int, create_time: float) -> None:
        """End a process that holds GPU memory; refused for processes that are not ours to end."""
        await self.call("POST", f"/api/gpu/processes/{pid}/stop", {"create_time": create_time}, timeout=60)

    async def pull(self, tag: str) -> AsyncIterator[PullProgress]:
        """Let Ollama download a model; leaving the iteration cancels the download."""
        async with self.stream("/api/ollama/pull", {"model": tag}) as lines:
            async for line in lines:
                yield PullProgress.model_validate(line)

    async def backends(self) -> list[BackendView]:
        return _BACKENDS.validate_json(await self.call("GET", "/api/backends"))

    async def backend_action(self, name: str, action: str) -> BackendView:
        """`action` is `start`, `stop`, `restart` or `reload`."""
        answer = await self.call("POST", f"/api/backends/{part(name)}/{action}", timeout=None)
        return BackendView.model_validate_json(answer)

    async def logs(self, source: str, *, tail: int = 1000) -> list[LogLine]:
        """The newest lines of a backend's log; the source `quarterdeck` is our own log."""
        return _LINES.validate_json(await self.call("GET", f"/api/backends/{part(source)}/logs?tail={tail}"))

    async def hardware(self) -> list[HardwareSample]:
        """The samples of the last minutes, oldest first; at least one."""
        return _SAMPLES.validate_json(await self.call("GET", "/api/hardware"))

    async def settings(self) -> list[SettingView]:
        return _SETTINGS.validate_json(await self.call("GET", "/api/settings"))

    async def change_settings(self, values: dict[str, Any]) -> list[SettingView]:
        """Write settings to config.toml and apply those that need no restart."""
        return _SETTINGS.validate_json(await self.call("PATCH", "/api/settings", values))

    async def requests(self) -> list[RequestView]:
        """The newest requests of clients, newest first."""
        return _REQUESTS.validate_json(await self.call("GET", "/api/requests"))

    async def request(self, identity: str) -> RequestDetail:
        """One request with the texts that were kept of it. AppError `unknown_request` when it is forgotten."""
        return RequestDetail.model_validate_json(await self.call("GET", f"/api/requests/{part(identity)}"))

    async def routing(self) -> RoutingState:
        return RoutingState.model_validate_json(await self.call("GET", "/api/routing"))

    async def change_routing(self, rules: RoutingRules) -> RoutingState:
        """Replace all rules. AppError when one of them cannot be used; `details` name the problems."""
        return RoutingState.model_validate_json(await self.call("PUT", "/api/routing", rules.model_dump()))

    async def test_route(self, question: RouteQuestion) -> RouteReport:
        """Where a name would lead; nothing is asked of a model."""
        answer = await self.call("POST", "/api/routing/test", question.model_dump())
        return RouteReport.model_validate_json(answer)

    async def keys(self) -> list[KeyView]:
        return _KEYS.validate_json(await self.call("GET", "/api/keys"))

    async def add_key(self, new: KeyCreate) -> NewKey:
        """Make an API key; its text is told only this once."""
        body = new.model_dump(exclude_none=True, mode="json")
        return NewKey.model_validate_json(await self.call("POST", "/api/keys", body))

    async def revoke_key(self, name: str) -> None:
        await self.call("DELETE", f"/api/keys/{part(name)}")

    async def connect_guides(self) -> list[ConnectGuide]:
        """What client programs need to reach Quarterdeck."""
        return _GUIDES.validate_json(await self.call("GET", "/api/connect"))

    async def test_connection(self, client: str, key: str = "") -> ConnectTest:
        """Try the address as that client would; a model that is loaded is asked for a word, none is loaded for it."""
        answer = await self.call("POST", "/api/connect/test", {"client": client, "key": key}, timeout=None)
        return ConnectTest.model_validate_json(answer)

    async def snippets(self) -> list[ProxySnippet]:
        """Configurations for web servers in front of Quarterdeck."""
        return _SNIPPETS.validate_json(await self.call("GET", "/api/snippets"))

    async def events(
        self, topics: Iterable[Topic] = DEFAULT_TOPICS, *, last_id: int | None = None
    ) -> AsyncIterator[Event]:
        """The event stream, for as long as the core lives; `last_id` resumes after that event."""
        headers = {} if last_id is None else {"Last-Event-ID": str(last_id)}
        params = {"topics": ",".join(topics)}
        timeout = httpx.Timeout(QUICK, read=None)
        try:
            async with aconnect_sse(
                self.http, "GET", "/api/events", params=params, headers=headers, timeout=timeout
            ) as stream:
                await raise_for_error(stream.response)
                async for message in stream.aiter_sse():
                    yield Event.model_validate_json(message.data)
        except httpx.TransportError as error:
            raise unreachable(self.base_url, error) from error

    async def chat(self, model: str, messages: list[dict[str, Any]], **options: Any) -> AsyncIterator[dict[str, Any]]:
        """Stream a chat completion through the proxy; yields the decoded chunks."""
        body = {"model": model, "messages": messages, "stream": True, **options}
        timeout = httpx.Timeout(QUICK, read=None)
        try:
            async with aconnect_sse(self.http, "POST", "/v1/chat/completions", json=body, timeout=timeout) as stream:
                await raise_for_error(stream.response)
                async for message in stream.aiter_sse():
                    if message.data == "[DONE]":
                        # Read on to the end: generators left half-way are closed when no loop runs any more.
                        continue
                    chunk = json.loads(message.data)
                    if "error" in chunk:
                        raise from_openai(chunk["error"], 502)
                    yield chunk
        except httpx.TransportError as error:
            raise unreachable(self.base_url, error) from error
