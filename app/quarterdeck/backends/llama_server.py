"""llama-server of llama.cpp: a child of ours per model, or a server or router that somebody else runs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import subprocess
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp

from quarterdeck.backends import attached
from quarterdeck.backends.attached import Attachments, Headers, Reach, no_headers
from quarterdeck.backends.base import Backend, Instance, Progress, Resident, Started, Target
from quarterdeck.backends.child import Children, Launch, Ready, answers, read_fraction
from quarterdeck.backends.llama_router import Router, name_in, status_of
from quarterdeck.backends.llama_server_options import OPTIONS, OURS, Dialect, spelled
from quarterdeck.backends.logs import LogBook
from quarterdeck.backends.options import check_extra_args
from quarterdeck.backends.process import EngineProcess, find_program, free_port
from quarterdeck.backends.remote import Remote, ServerLate, ServerUnreachable
from quarterdeck.errors import AppError, ConfigError
from quarterdeck.schemas.backends import BackendKind, BackendView
from quarterdeck.settings import Settings

HELP_SECONDS = 30.0
_STEPS = (
    (re.compile(r"constructing llama_context|KV buffer size"), "setting up the KV cache"),
    (re.compile(r"warming up the model"), "warming up"),
)
_ERROR = re.compile(
    r"^(?:[\d.]+ E |error: |E )|error loading model|failed to load model|unable to allocate|GGML_ASSERT"
)


class LlamaServerBackend(Backend):
    """See `base.Backend` for the contract of the methods.

    `known_urls` are the addresses of servers and routers that others run; `headers` gives the keys for one of them.
    """

    name = "llama-server"
    title = "llama-server"
    kind = BackendKind.LLAMA_SERVER
    options = OPTIONS

    def __init__(
        self,
        log: LogBook,
        *,
        settings: Callable[[], Settings],
        known_urls: Callable[[], Collection[str]] = tuple,
        headers: Headers = no_headers,
    ) -> None:
        self.log = log
        self._settings = settings
        self._known_urls = known_urls
        self._reach = Reach(lambda: settings().loopback_alias, headers)
        self._children = Children(log, stop_patience=lambda: settings().stop_timeout, blame=blame)
        self._remote = Remote()
        self._attached = Attachments(self._still_has)
        self._dialects: dict[tuple[str, int], Dialect] = {}
        self._dialect = Dialect()
        self._single: set[str] = set()
        self._version: str | None = None

    def gives_back(self, name: str, url: str | None) -> bool:
        if url is None:
            return True
        with contextlib.suppress(AppError):
            server = self._reach.address(url)
            # One that was never asked may be a router.
            return server not in self._single and self._reach.is_here(server)
        return False

    def check_config(self, load_config: Mapping[str, Any]) -> dict[str, Any]:
        checked = super().check_config(load_config)
        check_extra_args(OPTIONS, checked, ours=OURS)
        if {"models_dir", "models_preset"} & checked.keys() and not checked.get("router"):
            raise ConfigError(
                "bad_load_config", "“models_dir” and “models_preset” are for a router.", "Add “router”: true.",
                option="router",
            )  # fmt: skip
        return checked

    def command(self, target: Target, port: int) -> list[str]:
        if target.url:
            return []
        config, dialect = target.load_config, self._dialect
        where = ["--host", "127.0.0.1", "--port", str(port)]
        quiet = [flag for flag in ("--no-ui", "--no-webui") if dialect.knows(flag)][:1]
        what = (
            _router_arguments(target) if config.get("router") else ["--model", str(target.path), "--alias", _id(target)]
        )
        return [self._settings().llama_server_command, *what, *where, *quiet, *spelled(config, dialect)]

    async def load(self, target: Target, *, timeout: float, progress: Progress, started: Started) -> Instance:
        if target.url:
            return await self._attach(target, timeout, progress)
        program = self._program()
        self._dialect = await self._dialect_of(program)
        routes = bool(target.load_config.get("router"))
        if routes and not self._dialect.has_router:
            raise ConfigError(
                "unknown_to_engine", "This version of llama-server is no router.",
                "Update llama-server, or remove the option “router”.", option="router",
            )  # fmt: skip
        progress("starting the engine", None)
        instance = await self._children.start(
            self._launch(program, target, free_port()),
            model=target.name,
            served_id=_id(target),
            timeout=timeout,
            tick=_follow(progress, target),
            started=started,
            elsewhere=lambda: self._launch(program, target, free_port()),
        )
        if routes and target.path is not None:
            entries = await Router(self._remote, instance.base_url).entries()
            instance.served_id = name_in(entries, _id(target), target.path) or instance.served_id
        self._version = await self._ask_version(instance.base_url)
        return instance

    async def unload(self, instance: Instance) -> None:
        if instance not in self._attached:
            await self._children.stop(instance)
            return
        if instance.base_url not in self._single:
            await self._router(instance.base_url).unload(instance.served_id)
        elif self._reach.is_here(instance.base_url):
            raise attached.not_ours(self.title, instance)
        self._attached.detach(instance)

    async def residents(self) -> list[Resident]:
        found = await asyncio.gather(
            *(self._residents_of(url) for url in {self._reach.address(url) for url in self._known_urls()})
        )
        return [each for residents in found for each in residents]

    async def release(self, resident: Resident) -> bool:
        if resident.url in self._single:
            return False
        await self._router(resident.url).unload(resident.served_id)
        return True

    def view(self, instances: Sequence[Instance]) -> BackendView:
        return attached.without_stop(self._children.describe(self, self._version, instances))

    async def close(self) -> None:
        self._attached.close()
        await self._remote.close()

    def _program(self) -> str:
        return find_program(
            self._settings().llama_server_command,
            "Install llama.cpp (its releases hold llama-server) and name the program in Settings.",
        )

    async def _dialect_of(self, program: str) -> Dialect:
        """What this program understands; asked once per version of the file."""
        key = (program, await asyncio.to_thread(lambda: Path(program).stat().st_mtime_ns))
        if key not in self._dialects:
            self._dialects[key] = Dialect.read(await asyncio.to_thread(_help_of, program))
        return self._dialects[key]

    def _launch(self, program: str, target: Target, port: int) -> Launch:
        argv = [program, *self.command(target, port)[1:]]
        ready = self._router_ready(target, port) if target.load_config.get("router") else answers("/health", port)
        return Launch(argv, port, ready, {**os.environ, **target.load_config.get("env", {})})

    def _router_ready(self, target: Target, port: int) -> Ready:
        """Ready when the router has loaded the model; it is asked to as soon as it answers."""
        is_up = answers("/health", port)
        router = self._router(f"http://127.0.0.1:{port}")
        loading: str | None = None

        async def step(http: aiohttp.ClientSession) -> bool:
            nonlocal loading
            if not await is_up(http):
                return False
            if loading is not None:
                return await router.is_ready(loading)
            assert target.path is not None
            entries = await router.entries()
            name = name_in(entries, _id(target), target.path)
            if name is None:
                attached.served(entries, router.url, _id(target))
            loading = name or _id(target)
            await router.ask_to_load(loading)
            return False

        async def ready(http: aiohttp.ClientSession) -> bool:
            try:
                return await step(http)
            except (ServerUnreachable, ServerLate):
                return False

        return ready

    async def _attach(self, target: Target, timeout: float, progress: Progress) -> Instance:
        assert target.url is not None
        url = self._reach.address(target.url)
        router = self._router(url)
        entries = await router.entries()
        entry = attached.served(entries, url, _id(target))
        served_id = str(entry["id"])
        if status_of(entry) is None:
            self._single.add(url)
        else:
            self._single.discard(url)
            progress("reading the model", None)
            await router.load(served_id, timeout)
        return self._attached.attach(target, url, served_id, router.headers)

    async def _still_has(self, instance: Instance) -> bool:
        for entry in await self._router(instance.base_url).entries():
            if entry["id"] == instance.served_id:
                status = status_of(entry)
                return status is None or status.answers
        return False

    async def _residents_of(self, url: str) -> list[Resident]:
        """What a server that others run holds: all that a router has loaded, or the one model of a plain server."""
        router = self._router(url)
        try:
            entries = await router.entries()
            if entries and all(status_of(entry) is None for entry in entries):
                self._single.add(url)
                return [Resident(str(entries[0]["id"]), url)]
            self._single.discard(url)
            return [Resident(model, url) for model in await router.loaded()]
        except AppError:
            return []

    def _router(self, url: str) -> Router:
        return Router(self._remote, url, self._reach.headers(url))

    async def _ask_version(self, url: str) -> str | None:
        with contextlib.suppress(AppError):
            answer = await self._remote.json("GET", f"{url}/props", who=self.title)
            return answer.get("build_info") if isinstance(answer, dict) else None
        return None


def blame(lines: Sequence[str]) -> str | None:
    """The line that names the cause: the first error, else the last line."""
    return next((line for line in lines if _ERROR.search(line)), None) or (lines[-1] if lines else None)


def _id(target: Target) -> str:
    return target.served_id or target.name


def _router_arguments(target: Target) -> list[str]:
    config = target.load_config
    preset = config.get("models_preset")
    folder = config.get("models_dir") or (None if preset or target.path is None else _models_folder(target.path))
    where = [*(["--models-preset", preset] if preset else []), *(["--models-dir", str(folder)] if folder else [])]
    # Quarterdeck decides what is loaded.
    return [*where, "--models-max", "1", "--no-models-autoload"]


def _models_folder(path: Path) -> Path:
    """The folder whose router has the model at `path`: one up where the model is a folder of parts."""
    return path.parent.parent if re.search(r"-\d{5}-of-\d{5}$", path.stem) else path.parent


def _follow(progress: Progress, target: Target) -> Callable[[EngineProcess], None]:
    seen = 0
    step: str | None = None

    def look(process: EngineProcess) -> None:
        nonlocal seen, step
        new, seen = process.output_since(seen)
        for line in new:
            step = next((words for pattern, words in reversed(_STEPS) if pattern.search(line)), step)
        progress(step or "reading the model", None if step else read_fraction(process, target))

    return look


def _help_of(program: str) -> str:
    """Blocking. Empty where it does not tell."""
    try:
        done = subprocess.run(
            [program, "--help"], capture_output=True, text=True, errors="replace", timeout=HELP_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout + done.stderr
