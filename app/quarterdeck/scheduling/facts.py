"""Collects what runs here, for the drift and the report."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from quarterdeck.backends import keys
from quarterdeck.backends.addresses import is_loopback
from quarterdeck.backends.logs import LogBook
from quarterdeck.backends.own_server import STARTING
from quarterdeck.backends.tools import Tool
from quarterdeck.backends.vllm_tools import suggest_tool_flags
from quarterdeck.diagnosis.drift.facts import Facts, FileFact, ModelFact, Running, ServedModel, ServerFact
from quarterdeck.errors import AppError
from quarterdeck.scheduling import fact_probes
from quarterdeck.scheduling.fact_probes import Asking, ProcessFact, UnitFact
from quarterdeck.scheduling.follower import Follower
from quarterdeck.scheduling.landscape import Landscape
from quarterdeck.scheduling.scheduler import Scheduler
from quarterdeck.scheduling.servers import Servers
from quarterdeck.schemas.backends import BackendKind, BackendState, BackendView, LogLine, OwnerKind
from quarterdeck.schemas.models import ModelView, Outcome, Status
from quarterdeck.settings import Settings

LOG_LINES = 300
LOG_AGE = timedelta(hours=1)
_CONTEXTS = ("n_ctx", "ctx_size", "max_model_len", "num_ctx", "context_length")
_MOST_FAILURES = 5
_STATES = {
    BackendState.RUNNING: Running.RUNNING,
    BackendState.DEFECT: Running.DEFECT,
    BackendState.STOPPED: Running.DOWN,
    BackendState.FAILED: Running.DOWN,
    BackendState.UNKNOWN: Running.UNKNOWN,
}
_SERVICES = (OwnerKind.SYSTEMD, OwnerKind.DOCKER)
# Where a request for a model that is not loaded would load it.
_LOADS_ON_REQUEST = (BackendKind.OLLAMA, BackendKind.LITELLM, "")


@dataclass(frozen=True)
class _Seen:
    """A server as its view has it, and the headers with which it is asked."""

    fact: ServerFact
    headers: Mapping[str, str] = field(default_factory=dict)


class FactFinder:
    """The source of facts about the running core. `public_url` is where clients reach it, `logs` the engines' logs."""

    def __init__(
        self,
        scheduler: Scheduler,
        servers: Servers,
        landscape: Landscape,
        follower: Follower,
        *,
        settings: Callable[[], Settings],
        logs: Mapping[str, LogBook],
        public_url: Callable[[], str | None],
        version: str,
        path: str | None = None,
    ) -> None:
        """`path` says where systemctl is searched."""
        self._scheduler = scheduler
        self._servers = servers
        self._landscape = landscape
        self._follower = follower
        self._settings = settings
        self._logs = logs
        self._public_url = public_url
        self._version = version
        self._systemctl = Tool("systemctl", path)
        self._asking = Asking()

    async def close(self) -> None:
        await self._asking.close()

    async def collect(self, *, thorough: bool = False) -> Facts:
        """Everything now. `thorough` looks at the servers again, asks those here for a tool call, and reads logs."""
        if thorough:
            with contextlib.suppress(AppError):
                await self._servers.refresh()
        seen = await self._with_processes(list(self._seen()))
        servers = tuple(await asyncio.gather(*(self._asked(each, thorough=thorough) for each in seen)))
        models = await asyncio.gather(*(self._model(view, servers) for view in self._scheduler.catalog.all()))
        return Facts(
            at=datetime.now(UTC),
            servers=servers,
            models=tuple(models),
            files=tuple(await self._files(servers)),
            own_address=self._public_url() or "",
            version=self._version,
            log_errors=await self._log_errors(servers) if thorough else {},
        )

    def _seen(self) -> Iterator[_Seen]:
        """Servers with an address or an owner, and each engine process of ours."""
        shown: set[str | None] = set()
        ours = {loaded.backend.name for loaded in self._scheduler.loaded.values()}
        for loaded in self._scheduler.loaded.values():
            instance = loaded.instance
            if instance.record is None or loaded.backend.kind is BackendKind.OLLAMA:
                continue
            lacks_tools = loaded.name in self._landscape.defects(loaded.backend.name)
            tools = False if lacks_tools and loaded.backend.kind is BackendKind.VLLM else None
            yield _Seen(
                ServerFact(
                    name=f"{loaded.backend.name}-{instance.record.port}", kind=loaded.backend.kind.value,
                    title=f"{loaded.backend.title} with {loaded.name}", address=instance.base_url,
                    state=Running.RUNNING, owner=OwnerKind.QUARTERDECK.value,
                    pid=instance.record.pid, models=(ServedModel(instance.served_id, tools=tools),),
                ),
                instance.headers,
            )  # fmt: skip
            shown.add(instance.base_url)
        for view in self._landscape.views():
            if view.address in shown or (not view.address and view.name in ours):
                continue
            if self._is_meant(view):
                yield self._of_view(view)

    def _is_meant(self, view: BackendView) -> bool:
        """Whether a server matters: it is there, has an owner or a model, or failed. Who has no Ollama misses none.

        An engine that has no server of its own fails with a model, and is told of there.
        """
        if view.owner.kind in _SERVICES:
            return True
        if not view.address:
            return False
        if view.state is BackendState.FAILED:
            return True
        rests = view.state is BackendState.STOPPED and view.name in self._scheduler.backends
        return not rests or any(model.backend == view.name for model in self._scheduler.catalog.all())

    def _of_view(self, view: BackendView) -> _Seen:
        url = view.address or ""
        found = self._servers.by_url(url) if url else None
        models = tuple(ServedModel(each.name, each.context_length) for each in found.models) if found else ()
        fact = ServerFact(
            name=view.name,
            kind=view.kind,
            title=view.title,
            address=url,
            state=_STATES.get(view.state, Running.CHANGING),
            detail="" if view.state is BackendState.RUNNING else view.detail or "",
            owner=view.owner.kind.value,
            unit=view.owner.name or "",
            pid=view.pid,
            uptime_s=view.uptime_s,
            models=models,
            startable="start" in view.actions and (view.owner.kind in _SERVICES or view.state is BackendState.FAILED),
            last_error=view.last_error or "",
            last_words=self._last_words(view),
        )
        return _Seen(fact, keys.headers(url, self._servers.key_for(url)) if url else {})

    def _last_words(self, view: BackendView) -> tuple[str, ...]:
        """What a server of ours that failed has printed since it was started."""
        book = self._logs.get(view.name) if view.state is BackendState.FAILED else None
        lines = [line.text for line in book.tail(LOG_LINES)] if book is not None else []
        starts = [number for number, line in enumerate(lines, 1) if line.startswith(STARTING)]
        return tuple(lines[starts[-1] :] if starts else lines)

    async def _with_processes(self, seen: list[_Seen]) -> list[_Seen]:
        pids = [each.fact.pid for each in seen if each.fact.pid is not None]
        known = await asyncio.to_thread(fact_probes.processes, pids)
        return list(await asyncio.gather(*(self._with_process(each, known) for each in seen)))

    async def _with_process(self, seen: _Seen, known: Mapping[int, ProcessFact]) -> _Seen:
        fact = seen.fact
        process = known.get(fact.pid, ProcessFact()) if fact.pid is not None else ProcessFact()
        unit = UnitFact()
        if fact.owner == OwnerKind.SYSTEMD and fact.unit:
            unit = await fact_probes.unit(fact.unit, self._systemctl)
        config = ""
        if fact.kind == BackendKind.LITELLM:
            config = fact_probes.config_of(process.arguments, process.folder) or fact_probes.config_of(
                unit.arguments, unit.folder
            )
        uptime = fact.uptime_s
        if uptime is None and process.started_at is not None:
            uptime = max(0.0, datetime.now(UTC).timestamp() - process.started_at)
        words = fact.last_words
        if fact.state is Running.DOWN and fact.last_error and fact.owner in _SERVICES:
            words = tuple(line.text for line in await self._lines(fact) or ())
        changed = replace(
            fact, arguments=process.arguments, environment=process.environment, started_at=process.started_at,
            declared_arguments=fact_probes.comparable(unit.arguments, process.arguments),
            declared_environment=unit.environment, config=config, uptime_s=uptime, last_words=words,
        )  # fmt: skip
        return replace(seen, fact=changed)

    async def _asked(self, seen: _Seen, *, thorough: bool) -> ServerFact:
        """The server with what it says of itself."""
        fact = seen.fact
        if not fact.up or not fact.address:
            return fact
        url, headers = fact.address, seen.headers
        if fact.kind == BackendKind.LITELLM:
            return replace(fact, routes=await self._asking.routes(url, headers))
        models = fact.models
        known = models[0].tools if len(models) == 1 else None
        if fact.kind != BackendKind.OLLAMA:
            models = await self._asking.served(url, headers) or models
        if fact.kind == BackendKind.LLAMA_SERVER:
            models = _with_context(models, await self._asking.props(url, headers))
        if fact.kind not in _LOADS_ON_REQUEST and is_loopback(url) and len(models) == 1:
            process = (fact.pid, fact.started_at)
            works, said = await self._asking.tools(url, models[0].id, headers, process=process, ask=thorough)
            flags = suggest_tool_flags(None, models[0].id) if fact.kind == BackendKind.VLLM else {}
            works = known if works is None else works
            models = (replace(models[0], tools=works, tools_error=said, tool_flags=flags),)
        state = Running.DEFECT if any(model.tools is False for model in models) else fact.state
        return replace(fact, models=models, state=state)

    async def _model(self, view: ModelView, servers: tuple[ServerFact, ...]) -> ModelFact:
        options = _options(view)
        loaded = self._scheduler.loaded.get(view.name)
        served = _served(loaded.instance.base_url if loaded else view.url, view.served_name, servers)
        context = next((options[name] for name in _CONTEXTS if isinstance(options.get(name), int)), None)
        return ModelFact(
            name=view.name,
            backend=view.backend,
            served_name=view.served_name,
            url=loaded.instance.base_url if loaded else view.url or "",
            status=view.status.value,
            notes=view.notes,
            loaded=view.loaded,
            capabilities=tuple(view.capabilities),
            options=options,
            declared_context=context if isinstance(context, int) else None,
            running_context=served.context_length if served and view.loaded else None,
            tools=served.tools if served else None,
            tool_flags=_tool_flags(view) if view.backend == BackendKind.VLLM else {},
            last_loaded=view.last_loaded,
            failures=await self._failures(view),
        )

    async def _failures(self, view: ModelView) -> tuple[str, ...]:
        if view.last_error is None and view.status not in (Status.INCOMPATIBLE, Status.DEGRADED):
            return ()
        attempts = await self._scheduler.catalog.journal.attempts(view.name)
        failed = [each.error or "" for each in attempts if each.outcome is Outcome.FAILED]
        return tuple(failed[:_MOST_FAILURES])

    async def _files(self, servers: tuple[ServerFact, ...]) -> list[FileFact]:
        followed = [each.path for each in await self._follower.files()]
        return await asyncio.to_thread(_file_facts, servers, followed, self._settings().litellm_config)

    async def _log_errors(self, servers: tuple[ServerFact, ...]) -> dict[str, str]:
        """The newest error of each server's log within LOG_AGE, since it came up; empty where there is none."""
        found: dict[str, str] = {}
        for server in servers:
            lines = await self._lines(server)
            if lines is None:
                continue
            since = self._up_since(server, datetime.now(UTC) - LOG_AGE)
            wrong = [line.text for line in lines if line.level == "error" and line.at >= since]
            found[server.name] = wrong[-1] if wrong else ""
        return found

    def _up_since(self, server: ServerFact, earliest: datetime) -> datetime:
        """When it came up; what an engine of ours says as it ends may be read after the next one was started."""
        times = [earliest]
        if server.started_at is not None:
            times.append(datetime.fromtimestamp(server.started_at, UTC))
        if server.owner == OwnerKind.QUARTERDECK:
            held = (view for view in self._scheduler.catalog.all() if view.loaded and view.backend == server.kind)
            times += [view.last_loaded for view in held if view.last_loaded is not None]
        return max(times)

    async def _lines(self, server: ServerFact) -> list[LogLine] | None:
        if server.owner in _SERVICES:
            with contextlib.suppress(AppError):
                return await self._servers.logs(server.name, LOG_LINES)
            return None
        book = self._logs.get(server.kind) if server.owner == OwnerKind.QUARTERDECK else None
        return None if book is None else book.tail(LOG_LINES)


def _file_facts(servers: tuple[ServerFact, ...], followed: list[str], own: str) -> list[FileFact]:
    """The files of the servers, the followed ones, and `own`, the one of the settings (blocking)."""
    users: dict[str, list[str]] = {}
    for server in servers:
        if server.config:
            users.setdefault(str(Path(server.config).resolve()), []).append(server.name)
    known = {str(Path(path).resolve()) for path in followed if path.endswith((".yaml", ".yml"))} | users.keys()
    files = [FileFact(path, tuple(users.get(path, ()))) for path in sorted(known)]
    if own and (path := str(Path(own).expanduser().resolve())) not in known:
        files.append(FileFact(path, declared_active=not users))
    return files


def _with_context(models: tuple[ServedModel, ...], props: Mapping[str, Any]) -> tuple[ServedModel, ...]:
    settings = props.get("default_generation_settings")
    context = settings.get("n_ctx") if isinstance(settings, dict) else None
    if len(models) != 1 or not isinstance(context, int):
        return models
    return (replace(models[0], context_length=context),)


def _served(url: str | None, id: str, servers: tuple[ServerFact, ...]) -> ServedModel | None:
    for server in servers:
        if url and server.address == url:
            return next((model for model in server.models if model.id in (id, f"{id}:latest")), None)
    return None


def _tool_flags(view: ModelView) -> dict[str, object]:
    return suggest_tool_flags(view.architecture, view.hf_path, view.name, view.served_name, Path(view.path or "").name)


def _options(view: ModelView) -> dict[str, Any]:
    try:
        found = json.loads(view.load_config)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
