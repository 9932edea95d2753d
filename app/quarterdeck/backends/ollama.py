"""Ollama: attaches to a running server or starts one, and loads its models through its interface."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from quarterdeck.backends import addresses
from quarterdeck.backends.base import Backend, EngineFailed, ExitReport, Instance, Progress, Resident, Started, Target
from quarterdeck.backends.following import LOOK_SECONDS
from quarterdeck.backends.listeners import port_in_use
from quarterdeck.backends.logs import LogBook
from quarterdeck.backends.ollama_api import WHO, OllamaApi, Shown, full_tag
from quarterdeck.backends.ollama_library import OllamaLibrary
from quarterdeck.backends.ollama_options import OPTIONS, is_variant, variant
from quarterdeck.backends.ollama_watch import Held, Watch, crash_report
from quarterdeck.backends.own_server import OwnServer, Remember, Start, forget
from quarterdeck.backends.remote import Remote, ServerLate, ServerRefused, ServerUnreachable
from quarterdeck.backends.server_view import describe
from quarterdeck.errors import AppError
from quarterdeck.processes import is_alive
from quarterdeck.schemas.backends import BackendKind, BackendView
from quarterdeck.schemas.discovery import FoundModel
from quarterdeck.settings import Settings
from quarterdeck.tasks import spawn

INSTALL = "Install Ollama from https://ollama.com/download, or name its program in Settings under “Ollama program”."
PORT_HINT = "Stop that program, or give another address of Ollama in Settings, group Backends."
SERVER_SECONDS = 60.0
LOOK_AROUND_SECONDS = 2.0
RELEASE_POLL_SECONDS = 0.1
TICK_SECONDS = 0.5
_FAILED_STATUS = 500
_LINES = 2000


class OllamaBackend(Backend):
    """Models of Ollama servers. See `base.Backend` for the contract of the methods.

    `library` shows, fetches, makes and deletes the models of a server.
    """

    name = "ollama"
    title = "Ollama"
    kind = BackendKind.OLLAMA
    options = OPTIONS

    def __init__(
        self,
        log: LogBook,
        *,
        settings: Callable[[], Settings],
        output: Path,
        remember: Remember = forget,
        urls: Callable[[], Collection[str]] = tuple,
    ) -> None:
        """`output` is the file to which a server of ours writes; `remember` gets what `adopt` needs later.

        `urls` are servers that are known besides those of the settings.
        """
        self.log = log
        self._more_urls = urls
        self._settings = settings
        self._remote = Remote()
        self._own = OwnServer(log, output, patience=lambda: settings().stop_timeout, remember=remember)
        self._watch = Watch(self._own, log)
        self._starting = asyncio.Lock()
        self._version: str | None = None
        self.library = OllamaLibrary(self._api, self._urls)

    # -- loading

    async def load(self, target: Target, *, timeout: float, progress: Progress, started: Started) -> Instance:
        began, mark = time.monotonic(), self._mark()
        api = await self._serving(target.url, timeout, progress)
        progress("reading the model", None)
        name = target.served_id or target.name
        shown = await api.show(name)
        served = variant(name, target.load_config)
        if is_variant(served):
            await api.create(served, source=name, parameters=target.load_config)
        try:
            async with asyncio.timeout(max(1.0, timeout - (time.monotonic() - began))):
                await self._warm(api, served, shown, progress)
        except TimeoutError:
            await self._abandon(api, served)
            raise EngineFailed(None, await self._lines_since(mark), timed_out=timeout) from None
        except (ServerRefused, ServerUnreachable) as error:
            await self._abandon(api, served)
            raise await self._failure(api, error, mark) from None
        except BaseException:
            await self._abandon(api, served)
            raise
        return await self._hold(target, api, served, shown)

    async def unload(self, instance: Instance) -> None:
        held = self._watch.held.pop(instance, None)
        if held is None:
            return
        try:
            await self._release(held.api, held.served)
            await self._runners_gone(held)
        except ServerUnreachable:
            # A server that is gone holds nothing.
            pass
        except BaseException:
            self._watch.held[instance] = held
            raise
        self._watch.end(held, ExitReport(None, None, asked_for=True))
        await self._forget_variant(held.api, held.served)

    # -- what is there

    async def residents(self) -> list[Resident]:
        settings = self._settings()
        near = [url for url in self._urls() if addresses.is_this_machine(url, settings.loopback_alias)]
        answers = await asyncio.gather(*map(self._residents_at, near))
        return [resident for found in answers for resident in found]

    async def release(self, resident: Resident) -> bool:
        api = self._api(resident.url)
        for held in list(self._watch.held.values()):
            if (held.api.url, held.served) == (api.url, resident.served_id):
                await self.unload(held.instance)
                return True
        await self._release(api, resident.served_id)
        await self._forget_variant(api, resident.served_id)
        return True

    async def found_models(self) -> list[FoundModel]:
        return await self.library.found_models()

    async def defect(self, instance: Instance) -> str | None:
        held = self._watch.held.get(instance)
        if held is None or not held.on_gpu:
            return None
        with contextlib.suppress(AppError):
            for each in await held.api.ps(timeout=LOOK_AROUND_SECONDS):
                if each.name == held.served:
                    return _spilled(each.vram_bytes, each.size_bytes)
        return None

    def view(self, instances: Sequence[Instance]) -> BackendView:
        return describe(self, self._own, instances, url=self._main, version=self._version, may_start=self._may_start)

    # -- the server

    async def start(self) -> None:
        await self._serving(None, SERVER_SECONDS, lambda _stage, _fraction: None)

    async def stop(self) -> None:
        if not self._own.running:
            raise AppError(
                "not_ours", "Quarterdeck did not start this Ollama.", "Stop it where it was started.", status=409
            )
        self._end_held(self._own.url)
        await self._own.stop()

    async def close(self) -> None:
        self._end_held(self._own.url)
        await self._watch.close()
        await self._own.stop()
        await self._remote.close()

    async def adopt(self, trace: Mapping[str, Any]) -> bool:
        """Take over the server that an earlier run of ours left; False when it is gone, or had to be stopped."""
        return await self._own.adopt(trace, self._ready(OllamaApi(self._remote, str(trace["url"]))))

    # -- parts of the above

    def _main(self) -> str:
        return addresses.ollama_url(self._settings().ollama_url)

    def _urls(self) -> list[str]:
        """All known servers, each once; an address that is none is told where it is used."""
        settings, urls = self._settings(), []
        for text in (settings.ollama_url, *settings.ollama_urls, *self._more_urls()):
            with contextlib.suppress(AppError):
                urls.append(addresses.ollama_url(text))
        return list(dict.fromkeys(urls))

    def _api(self, url: str | None) -> OllamaApi:
        near = addresses.ollama_url(url) if url else self._main()
        return OllamaApi(self._remote, addresses.aliased(near, self._settings().loopback_alias))

    def _may_start(self, url: str) -> bool:
        return addresses.is_loopback(url) and not self._settings().loopback_alias

    def _ready(self, api: OllamaApi) -> Callable[[], Any]:
        async def ready() -> bool:
            try:
                self._version = await api.version(timeout=LOOK_AROUND_SECONDS)
            except AppError:
                return False
            return True

        return ready

    async def _serving(self, url: str | None, timeout: float, progress: Progress) -> OllamaApi:
        """The server at `url`, started if it is the main one and nothing listens there."""
        api = self._api(url)
        async with self._starting:
            try:
                self._version = await api.version()
            except ServerUnreachable:
                if api.url != self._main() or not self._may_start(api.url):
                    raise
            except ServerRefused as refusal:
                if not self._near(api.url):
                    raise
                port = addresses.port_of(api.url)
                raise await asyncio.to_thread(port_in_use, port, self.title, PORT_HINT) from refusal
            except ServerLate:
                if self._own.url != api.url or self._watch.held:
                    raise
                self.log.add(["our Ollama does not answer and is started anew"], "warning")
                await self._own.stop()
            else:
                return api
            progress("starting Ollama", None)
            await self._start(api, min(timeout, SERVER_SECONDS))
        return api

    async def _start(self, api: OllamaApi, timeout: float) -> None:
        ready = self._ready(api)
        place = urlsplit(api.url)
        start = Start(
            argv=[self._settings().ollama_command, "serve"],
            url=api.url,
            ready=ready,
            install=INSTALL,
            env={**os.environ, "OLLAMA_HOST": place.netloc},
        )
        try:
            await self._own.start(start, timeout=timeout)
        except EngineFailed:
            # Somebody else may have started Ollama at the same moment.
            if not await ready():
                raise

    async def _warm(self, api: OllamaApi, served: str, shown: Shown, progress: Progress) -> None:
        loading = spawn(api.load(served, only_embeds=shown.only_embeds), name=f"load {served}", awaited=True)
        try:
            while not loading.done():
                await asyncio.wait([loading], timeout=TICK_SECONDS)
                progress("reading the model", None)
            await loading
        finally:
            loading.cancel()
            await asyncio.wait([loading])

    async def _hold(self, target: Target, api: OllamaApi, served: str, shown: Shown) -> Instance:
        exited: asyncio.Future[ExitReport] = asyncio.get_running_loop().create_future()
        instance = Instance(
            target.name, api.url, None, None, exited, time.monotonic(), served_id=served, speaks=frozenset({"ollama"})
        )
        near = self._near(api.url)
        on_gpu = near and target.free_bytes is not None and target.load_config.get("num_gpu") != 0
        await self._watch.add(Held(instance, api, served, shown.weights, local=near, on_gpu=on_gpu))
        return instance

    def _near(self, url: str) -> bool:
        return addresses.is_this_machine(url, self._settings().loopback_alias)

    async def _abandon(self, api: OllamaApi, served: str) -> None:
        """Unload what half loaded; the reason why is told by the caller."""
        with contextlib.suppress(AppError):
            await self._release(api, served)
            await self._forget_variant(api, served)

    async def _release(self, api: OllamaApi, served: str) -> None:
        """Unload and wait until the server no longer lists the model. Raises AppError `not_released`."""
        patience = self._settings().release_timeout
        await api.unload(served)
        deadline = time.monotonic() + patience
        while any(each.name == full_tag(served) for each in await api.ps()):
            if time.monotonic() > deadline:
                raise _not_released(served, patience)
            await asyncio.sleep(RELEASE_POLL_SECONDS)

    async def _runners_gone(self, held: Held) -> None:
        """Its memory is free when its process is gone."""
        patience = self._settings().release_timeout
        deadline = time.monotonic() + patience
        while any(is_alive(pid, create_time) for pid, create_time in held.runners):
            if time.monotonic() > deadline:
                raise _not_released(held.served, patience)
            await asyncio.sleep(RELEASE_POLL_SECONDS)

    async def _forget_variant(self, api: OllamaApi, served: str) -> None:
        if is_variant(served):
            with contextlib.suppress(AppError):
                await api.delete(served)

    async def _residents_at(self, url: str) -> list[Resident]:
        try:
            running = await self._api(url).ps(timeout=LOOK_AROUND_SECONDS)
        except AppError:
            return []
        return [Resident(each.name, url, each.vram_bytes, each.size_bytes) for each in running]

    async def _failure(
        self, api: OllamaApi, error: ServerRefused | ServerUnreachable, mark: int
    ) -> EngineFailed | AppError:
        """What a load that Ollama ended says: a failed engine with its log, or a refusal."""
        if isinstance(error, ServerUnreachable):
            report = await self._watch.server_report(api.url)
            return error if report.outside else EngineFailed(report, await self._lines_since(mark))
        if error.upstream_status != _FAILED_STATUS:
            return error
        return EngineFailed(crash_report(error.message), [*await self._lines_since(mark), error.message])

    def _end_held(self, url: str | None) -> None:
        for held in list(self._watch.held.values()):
            if held.api.url == url:
                self._watch.end(held, ExitReport(None, None, asked_for=True))

    def _mark(self) -> int:
        return next((line.number for line in self.log.tail(1)), 0)

    async def _lines_since(self, mark: int) -> list[str]:
        """What a server of ours said since `mark`; nothing of anybody else's."""
        if self._own.command is None and not self._own.output:
            return []
        await asyncio.sleep(2 * LOOK_SECONDS)
        return [line.text for line in self.log.tail(_LINES) if line.number > mark]


def _not_released(served: str, patience: float) -> AppError:
    return AppError(
        "not_released",
        f"{WHO} still holds “{served}” in memory after {patience:.0f} seconds.",
        "Somebody may be using it. Restart Ollama to free the memory.",
        status=504,
    )


def _spilled(vram: int | None, size: int | None) -> str | None:
    """The defect of a model of which only a part is in GPU memory (bytes)."""
    if not size or vram is None or vram >= size:
        return None
    if vram == 0:
        return "Ollama runs it on the processor alone: nothing of it is in GPU memory."
    return f"Only {vram * 100 // size} % of it is in GPU memory; the processor computes the rest."
