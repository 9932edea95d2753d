"""LiteLLM: attaches to a running gateway, or starts one with the configuration from the settings.

Its /health is never asked: it sends a real chat to every model.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from quarterdeck.backends import addresses, keys
from quarterdeck.backends.base import Backend, EngineFailed, ExitReport, Instance, Progress, Started, Target
from quarterdeck.backends.logs import LogBook
from quarterdeck.backends.openai_listing import listed, require
from quarterdeck.backends.own_server import OwnServer, Start
from quarterdeck.backends.remote import Remote, ServerRefused, ServerUnreachable
from quarterdeck.backends.server_view import describe
from quarterdeck.errors import AppError
from quarterdeck.schemas.backends import BackendKind, BackendState, BackendView
from quarterdeck.schemas.discovery import FoundModel
from quarterdeck.settings import Settings

WHO = "LiteLLM"
INSTALL = "Install it with: pip install 'litellm[proxy]', or name its program in Settings under “LiteLLM program”."
MASTER_KEY = "LITELLM_MASTER_KEY"
ALIVE = "/health/liveliness"
START_SECONDS = 120.0
LOOK_SECONDS = 3.0

_FEATURES = {
    "supports_function_calling": "tools",
    "supports_vision": "vision",
    "supports_reasoning": "thinking",
}
_MODES = {"chat": "chat", "completion": "completion", "embedding": "embeddings", "rerank": "rerank"}


class LiteLLMBackend(Backend):
    """Models behind a LiteLLM gateway. See `base.Backend` for the contract of the methods."""

    name = "litellm"
    title = "LiteLLM"
    kind = BackendKind.LITELLM
    uses_memory = False

    def __init__(self, log: LogBook, *, settings: Callable[[], Settings], key_for: keys.KeyFor = keys.no_key) -> None:
        self.log = log
        self._settings = settings
        self._key_for = key_for
        self._remote = Remote()
        self._own = OwnServer(log, patience=lambda: settings().stop_timeout, on_end=self._server_ended)
        self._starting = asyncio.Lock()
        self._config_hash: str | None = None
        self._reloading = False
        self._instances: set[Instance] = set()
        # Keys belong to addresses as they were written, before the loopback name was replaced.
        self._written: dict[str, str] = {}

    async def load(self, target: Target, *, timeout: float, progress: Progress, started: Started) -> Instance:
        url, wanted = self._url(target.url), target.served_id or target.name
        await self._serving(url, timeout, progress)
        progress("asking LiteLLM", None)
        require(wanted, await self._names(url), who=WHO, hint="Add it to the model_list of its configuration.")
        exited: asyncio.Future[ExitReport] = asyncio.get_running_loop().create_future()
        instance = Instance(
            target.name, url, None, None, exited, time.monotonic(), served_id=wanted, headers=self._headers(url)
        )
        self._instances.add(instance)
        exited.add_done_callback(lambda _exited: self._instances.discard(instance))
        return instance

    async def unload(self, instance: Instance) -> None:
        """Let go of the model; the gateway goes on."""
        _end(instance, ExitReport(None, None, asked_for=True))

    async def reload(self) -> bool:
        """Restart a gateway of ours with its configuration if that has changed; True if it was restarted.

        Models that the new configuration lacks are no longer loaded. Raises AppError `not_ours`, or as a start does.
        """
        url = self._own.url
        if url is None:
            raise _not_ours()
        if await asyncio.to_thread(_hash_of, self._settings().litellm_config) == self._config_hash:
            return False
        async with self._starting:
            self._reloading = True
            try:
                await self._own.stop()
                await self._start(url, START_SECONDS)
                names = await self._names(url)
            except BaseException:
                self._end_all(url, ExitReport(None, None, outside="LiteLLM did not come back with its configuration."))
                raise
            finally:
                self._reloading = False
        for instance in list(self._instances):
            if instance.base_url == url and instance.served_id not in names:
                _end(instance, ExitReport(None, None, outside="It is no longer in LiteLLM's configuration."))
        return True

    async def found_models(self) -> list[FoundModel]:
        try:
            url = self._url(None)
            names = await self._names(url, LOOK_SECONDS)
        except AppError:
            return []
        facts = await self._facts(url)
        return [_found(name, url, facts.get(name, {})) for name in names]

    def view(self, instances: Sequence[Instance]) -> BackendView:
        view = describe(
            self, self._own, instances, url=lambda: self._url(None), version=None, may_start=self._may_start
        )
        if "restart" in view.actions:
            view.actions.append("reload")
        elif not view.actions and view.state is BackendState.STOPPED:
            view.detail = "To start it here, name its YAML file in Settings under “LiteLLM configuration”."
        return view

    async def start(self) -> None:
        """Raises AppError `no_configuration` when there is nothing to start it with, else as a load does."""
        try:
            await self._serving(self._url(None), START_SECONDS, lambda _stage, _fraction: None)
        except ServerUnreachable as unreachable:
            if self._settings().litellm_config:
                raise
            raise AppError(
                "no_configuration",
                "LiteLLM is not running, and there is no configuration to start it with.",
                "Name its YAML file in Settings under “LiteLLM configuration”, or start LiteLLM yourself.",
                status=409,
            ) from unreachable

    async def stop(self) -> None:
        if not self._own.running:
            raise _not_ours()
        await self._own.stop()

    async def close(self) -> None:
        await self._own.stop()
        await self._remote.close()

    def _url(self, url: str | None) -> str:
        settings = self._settings()
        written = addresses.base_url(url or settings.litellm_url)
        reached = addresses.aliased(written, settings.loopback_alias)
        self._written[reached] = written
        return reached

    def _key(self, url: str) -> str | None:
        return self._key_for(self._written.get(url, url))

    def _headers(self, url: str) -> dict[str, str]:
        return keys.headers(url, self._key(url) or os.environ.get(MASTER_KEY))

    def _may_start(self, url: str) -> bool:
        settings = self._settings()
        return bool(settings.litellm_config) and addresses.is_loopback(url) and url == self._url(None)

    async def _names(self, url: str, timeout: float = 10.0) -> list[str]:
        api = url + addresses.API_PATH
        try:
            return await listed(self._remote, api, who=WHO, headers=self._headers(url), timeout=timeout)
        except ServerRefused as refusal:
            # What a gateway without a database says to a key that is not its master key.
            if "no connected db" not in refusal.message.lower():
                raise
            raise AppError(
                "needs_key", f"LiteLLM at {url} does not accept the key.", "Enter its master key.", status=424
            ) from None

    async def _facts(self, url: str) -> dict[str, dict[str, Any]]:
        """What the gateway knows about its models, by name; empty where it does not tell."""
        try:
            answer = await self._remote.json(
                "GET", f"{url}/model/info", who=WHO, headers=self._headers(url), timeout=LOOK_SECONDS
            )
            entries = answer["data"] if isinstance(answer, dict) else []
            return {entry["model_name"]: entry.get("model_info") or {} for entry in entries}
        except (AppError, KeyError, TypeError):
            return {}

    async def _serving(self, url: str, timeout: float, progress: Progress) -> None:
        async with self._starting:
            try:
                await self._remote.json("GET", url + ALIVE, who=WHO)
            except ServerUnreachable:
                if not self._may_start(url):
                    raise
            else:
                return
            progress("starting LiteLLM", None)
            await self._start(url, min(timeout, START_SECONDS))

    async def _start(self, url: str, timeout: float) -> None:
        settings = self._settings()
        self._config_hash = await asyncio.to_thread(_hash_of, settings.litellm_config)

        async def ready() -> bool:
            try:
                await self._remote.json("GET", url + ALIVE, who=WHO, timeout=LOOK_SECONDS)
            except AppError:
                return False
            return True

        start = Start(
            argv=[
                settings.litellm_command, "--config", settings.litellm_config, "--telemetry", "False",
                "--host", addresses.host_of(url), "--port", str(addresses.port_of(url)),
            ],
            url=url,
            ready=ready,
            install=INSTALL,
            env={"LITELLM_LOCAL_MODEL_COST_MAP": "True", **os.environ, **self._master_key(url)},
            guarded=True,
        )  # fmt: skip
        try:
            await self._own.start(start, timeout=timeout)
        except EngineFailed:
            # Somebody else may have started a gateway at the same moment.
            if not await ready():
                raise

    def _master_key(self, url: str) -> dict[str, str]:
        key = self._key(url)
        return {MASTER_KEY: key} if key else {}

    def _server_ended(self, report: ExitReport) -> None:
        if not self._reloading and (url := self._own.last_url) is not None:
            self._end_all(url, report)

    def _end_all(self, url: str, report: ExitReport) -> None:
        for instance in list(self._instances):
            if instance.base_url == url:
                _end(instance, report)


def _end(instance: Instance, report: ExitReport) -> None:
    if not instance.exited.done():
        instance.exited.set_result(report)


def _hash_of(config: str) -> str:
    """Raises AppError when the configuration cannot be read."""
    try:
        return hashlib.sha256(Path(config).expanduser().read_bytes()).hexdigest()
    except OSError as error:
        raise AppError(
            "file_missing" if isinstance(error, FileNotFoundError) else "file_unreadable",
            f"LiteLLM's configuration {config} cannot be read: {error.strerror}.",
            "Correct “LiteLLM configuration” in Settings.",
        ) from None


def _found(name: str, url: str, facts: Mapping[str, Any]) -> FoundModel:
    capabilities = [_MODES.get(str(facts.get("mode") or "chat"), "chat")]
    capabilities += [word for fact, word in _FEATURES.items() if facts.get(fact) is True]
    context = facts.get("max_input_tokens") or facts.get("max_tokens")
    return FoundModel(
        name=name, source="server", backend=BackendKind.LITELLM, url=url, capabilities=capabilities,
        context_length=context if isinstance(context, int) else None,
    )  # fmt: skip


def _not_ours() -> AppError:
    return AppError("not_ours", "Quarterdeck did not start this LiteLLM.", "Stop it where it was started.", status=409)
