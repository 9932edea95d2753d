"""All backends as people see them: engines with the models they hold, and servers, each shown once."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping

from quarterdeck.backends.base import EngineFailed
from quarterdeck.backends.litellm import LiteLLMBackend
from quarterdeck.errors import AppError
from quarterdeck.scheduling import failures
from quarterdeck.scheduling.scheduler import Scheduler
from quarterdeck.scheduling.servers import Servers
from quarterdeck.schemas.backends import BackendState, BackendView, OwnerKind
from quarterdeck.tasks import spawn

Tell = Callable[[str, BackendView | None], None]

_RESTING = (BackendState.STOPPED, BackendState.UNKNOWN)


class Landscape:
    """Joins what the scheduler and the servers know. Core loop only.

    An engine with one server of its own, such as Ollama, has the same name in both and is shown as one.
    """

    def __init__(
        self, scheduler: Scheduler, servers: Servers, defects: Callable[[str], Mapping[str, str]], tell: Tell
    ) -> None:
        """`defects` are those of an engine's models in words, by model; `tell` publishes what became of a backend."""
        self._scheduler = scheduler
        self._servers = servers
        self._defects = defects
        self._tell = tell

    def publish(self, name: str) -> None:
        """Tell what has become of a backend, or that it is gone."""
        self._tell(name, next((view for view in self.views() if view.name == name), None))

    def engine_changed(self, name: str) -> None:
        """Tell what has become of an engine; with its first model its server may have come, with its last one gone."""
        self.publish(name)
        holds = any(each.backend.name == name for each in self._scheduler.loaded.values())
        is_listed = any(view.name == name for view in self._servers.views())
        if holds != is_listed and not self._scheduler.closing:
            spawn(self._servers.look_again(name), name=f"look at {name}")

    def own_ports(self) -> set[int]:
        """Loopback ports on which engines of ours answer."""
        records = [each.instance.record for each in self._scheduler.loaded.values()]
        return {record.port for record in records if record is not None}

    def own_pids(self) -> set[int]:
        """Processes of ours that run engines."""
        records = [each.instance.record for each in self._scheduler.loaded.values()]
        return {record.pid for record in records if record is not None}

    def defects(self, name: str) -> Mapping[str, str]:
        """What loaded models of an engine lack, in words, by model."""
        return self._defects(name)

    def views(self) -> list[BackendView]:
        servers = {view.name: view for view in self._servers.views()}
        engines = [_joined(view, servers.pop(view.name, None)) for view in self._scheduler.backend_views()]
        for engine in engines:
            self._add_memory(engine)
            self._add_defects(engine)
            self._offer_start(engine)
        return [*engines, *servers.values()]

    def view(self, name: str) -> BackendView:
        """Raises AppError `unknown_backend` (404)."""
        views = self.views()
        for view in views:
            if view.name == name:
                return view
        raise AppError(
            "unknown_backend",
            f"There is no backend named “{name}”.",
            f"Known: {', '.join(view.name for view in views)}.",
            status=404,
        )

    async def act(self, name: str, action: str) -> BackendView:
        """`start`, `stop`, `restart` or `reload`; whoever owns the server does it. Raises AppError."""
        try:
            return await self._act(name, action)
        except (EngineFailed, OSError) as problem:
            cause = failures.cause_of(problem)
            raise AppError("backend_failed", cause.sentence, cause.hint, status=424) from problem

    async def _act(self, name: str, action: str) -> BackendView:
        if action == "reload":
            return await self._reload(name)
        if self.is_kept_elsewhere(name):
            await self._servers.act(name, action)
        elif action == "start":
            await self._scheduler.start(name)
        elif action == "stop":
            await self._scheduler.stop(name)
        else:
            await self._scheduler.restart(name)
        if any(view.name == name for view in self._servers.views()):
            # What it was like before we acted would be shown beside what it is now.
            await self._servers.refresh()
        return self.view(name)

    async def _reload(self, name: str) -> BackendView:
        """Let an engine take over its changed configuration; the view says it when there was no change."""
        engine = None if self.is_kept_elsewhere(name) else self._scheduler.backends.get(name)
        if not isinstance(engine, LiteLLMBackend):
            title = self.view(name).title
            raise AppError(
                "cannot_reload",
                f"{title} has no configuration that can be read again.",
                "Restart it instead.",
                status=409,
            )
        restarted = await engine.reload()
        self.publish(name)
        view = self.view(name)
        return view if restarted else view.model_copy(update={"detail": "Its configuration has not changed."})

    def _add_memory(self, engine: BackendView) -> None:
        for instance in engine.instances:
            # Ollama may have deleted a model that is loaded.
            with contextlib.suppress(AppError):
                model = self._scheduler.catalog.get(instance.model)
                instance.vram_bytes, instance.alarm = model.vram_bytes, model.alarm
        known = [each.vram_bytes for each in engine.instances if each.vram_bytes is not None]
        engine.vram_bytes = sum(known) if known else None

    def _add_defects(self, engine: BackendView) -> None:
        if engine.state is BackendState.RUNNING and (defects := self._defects(engine.name)):
            engine.state = BackendState.DEFECT
            engine.detail = " ".join(f"{model}: {sentence}" for model, sentence in defects.items())

    def _offer_start(self, engine: BackendView) -> None:
        """An engine that is one process for each model starts with a model: the one that it held last."""
        if "start" not in engine.actions or engine.address is not None:
            return
        models = self._scheduler.catalog.all()
        if not any(model.backend == engine.name and model.last_loaded for model in models):
            engine.actions = [action for action in engine.actions if action != "start"]
            engine.detail = engine.detail or "It starts when a model is loaded."

    def is_kept_elsewhere(self, name: str) -> bool:
        """Whether a server has an owner of its own, who acts and keeps its log, instead of an engine of ours."""
        server = next((view for view in self._servers.views() if view.name == name), None)
        if server is None:
            return False
        elsewhere = server.owner.kind in (OwnerKind.SYSTEMD, OwnerKind.DOCKER)
        return elsewhere or name not in self._scheduler.backends


def _joined(engine: BackendView, server: BackendView | None) -> BackendView:
    if server is None or server.state is BackendState.STOPPED:
        return engine
    mine = server.owner.kind in (OwnerKind.QUARTERDECK, OwnerKind.OTHER)
    rests = engine.state in _RESTING
    return engine.model_copy(
        update={
            "state": server.state if rests else engine.state,
            "detail": engine.detail or server.detail,
            "owner": engine.owner if engine.owner.kind is OwnerKind.QUARTERDECK and engine.pid else server.owner,
            "version": engine.version or server.version,
            "address": engine.address or server.address,
            "pid": engine.pid or server.pid,
            "actions": engine.actions if mine and not rests else server.actions,
            "memory_bytes": engine.memory_bytes or server.memory_bytes,
            "uptime_s": engine.uptime_s or server.uptime_s,
            "command": engine.command or server.command,
        }
    )
