"""vLLM: `vllm serve` as a child of ours, one model each, or a vLLM server that somebody else runs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from quarterdeck.backends import attached
from quarterdeck.backends.attached import Attachments, Headers, Reach, no_headers
from quarterdeck.backends.base import (
    Backend,
    EngineFailed,
    EngineRecord,
    Instance,
    Progress,
    Resident,
    Started,
    Target,
)
from quarterdeck.backends.child import Children, Launch, answers, port_was_taken
from quarterdeck.backends.listeners import port_in_use
from quarterdeck.backends.logs import LogBook
from quarterdeck.backends.options import arguments, check_extra_args
from quarterdeck.backends.process import EngineProcess, find_program, free_port, stop_leftover
from quarterdeck.backends.remote import Remote
from quarterdeck.backends.vllm_log import Progress as LoadProgress
from quarterdeck.backends.vllm_log import blame
from quarterdeck.backends.vllm_options import OPTIONS, OURS
from quarterdeck.backends.vllm_sleep import is_asleep, put_to_sleep, wake_up
from quarterdeck.backends.vllm_state import VllmState, remove_state, tidy_state, write_state
from quarterdeck.backends.vllm_tools import missing_tools, refuses_tools
from quarterdeck.errors import AppError
from quarterdeck.schemas.backends import BackendKind, BackendView
from quarterdeck.settings import Settings

STATE_FILE = "vllm-state.json"
PORT_HINT = "Stop that program, choose another vLLM port, or switch “One port for vLLM” off in Settings."


class VllmBackend(Backend):
    """See `base.Backend` for the contract of the methods.

    `known_urls` are the addresses of vLLM servers that others run; `headers` gives the keys for one of them.
    """

    name = "vllm"
    title = "vLLM"
    kind = BackendKind.VLLM
    options = OPTIONS

    def __init__(
        self,
        log: LogBook,
        *,
        settings: Callable[[], Settings],
        data: Path,
        known_urls: Callable[[], Collection[str]] = tuple,
        headers: Headers = no_headers,
    ) -> None:
        self.log = log
        self._settings = settings
        self._data = data
        self._known_urls = known_urls
        self._reach = Reach(lambda: settings().loopback_alias, headers)
        self._children = Children(log, stop_patience=lambda: settings().stop_timeout, blame=blame)
        self._remote = Remote()
        self._attached = Attachments(self._still_has)
        self._targets: dict[Instance, Target] = {}
        self._sleepers: set[str] = set()
        self._version: str | None = None

    @property
    def one_at_a_time(self) -> bool:
        """Whether all models of ours share one fixed port, so that only one can be loaded."""
        settings = self._settings()
        return settings.vllm_single_port and settings.vllm_port != 0

    def gives_back(self, name: str, url: str | None) -> bool:
        with contextlib.suppress(AppError):
            return url is None or self._reach.address(url) in self._sleepers
        return False

    @property
    def state_file(self) -> Path:
        """The file that tells other programs which vLLM runs here."""
        chosen = self._settings().vllm_state_path
        return Path(chosen).expanduser() if chosen else self._data / STATE_FILE

    def check_config(self, load_config: Mapping[str, Any]) -> dict[str, Any]:
        checked = super().check_config(load_config)
        check_extra_args(OPTIONS, checked, ours=OURS)
        return checked

    def command(self, target: Target, port: int) -> list[str]:
        if target.url:
            return []
        config = target.load_config
        return [
            self._settings().vllm_command, "serve", str(target.path),
            "--served-model-name", _served_id(target), *config.get("served_names", ()),
            "--host", "127.0.0.1", "--port", str(port), *arguments(OPTIONS, config),
        ]  # fmt: skip

    async def load(self, target: Target, *, timeout: float, progress: Progress, started: Started) -> Instance:
        if target.url:
            return await self._attach(target, timeout)
        program = self._program()
        progress("starting the engine", None)
        port = await self._fixed_port() if self.one_at_a_time else free_port()
        launch = self._launch(program, target, port)
        try:
            instance = await self._children.start(
                launch,
                model=target.name,
                served_id=_served_id(target),
                timeout=timeout,
                tick=_follow(progress),
                started=started,
                elsewhere=None if self.one_at_a_time else lambda: self._launch(program, target, free_port()),
            )
        except EngineFailed as failure:
            if self.one_at_a_time and port_was_taken(failure):
                raise await asyncio.to_thread(port_in_use, port, self.title, PORT_HINT) from failure
            raise
        self._targets[instance] = target
        self._version = await self._ask_version(instance.base_url)
        await self._tell(instance)
        return instance

    async def unload(self, instance: Instance) -> None:
        if instance not in self._attached:
            await self._children.stop(instance)
            return
        # A server elsewhere holds none of our memory: there is nothing to give back.
        if self._reach.is_here(instance.base_url) and not await self.sleep(instance):
            raise attached.not_ours(self.title, instance)
        self._attached.detach(instance)

    async def sleep(self, instance: Instance) -> bool:
        target = self._targets.get(instance)
        if target is not None and not target.load_config.get("enable_sleep_mode"):
            return False
        level = target.load_config.get("sleep_level", 1) if target else 1
        instance.asleep = await put_to_sleep(self._remote, instance.base_url, instance.headers, level)
        return instance.asleep

    async def wake(self, instance: Instance, *, timeout: float) -> None:
        target = self._targets.get(instance)
        level = target.load_config.get("sleep_level", 1) if target else 1
        await wake_up(self._remote, instance.base_url, instance.headers, level, timeout)
        instance.asleep = False

    async def residents(self) -> list[Resident]:
        left = await self._leftover()
        urls = {self._reach.address(url) for url in self._known_urls()} | ({_loopback(left)} if left else set())
        found = await asyncio.gather(*(self._residents_of(url) for url in sorted(urls)))
        return [each for residents in found for each in residents]

    async def release(self, resident: Resident) -> bool:
        left = await self._leftover()
        if left is not None and resident.url == _loopback(left):
            await self._stop_leftover(left)
            return True
        return await put_to_sleep(self._remote, resident.url, self._reach.headers(resident.url), 1)

    async def defect(self, instance: Instance) -> str | None:
        target = self._targets.get(instance)
        if target is not None and target.path is not None:
            return await asyncio.to_thread(missing_tools, target.path, target.name, dict(target.load_config))
        return await refuses_tools(self._remote, instance)

    def view(self, instances: Sequence[Instance]) -> BackendView:
        view = self._children.describe(self, self._version, instances)
        return attached.without_stop(view)

    async def close(self) -> None:
        self._attached.close()
        await self._remote.close()

    def _program(self) -> str:
        return find_program(
            self._settings().vllm_command,
            "Install vLLM (pip install vllm, in an environment of its own) and name its program in Settings.",
        )

    def _launch(self, program: str, target: Target, port: int) -> Launch:
        argv = [program, *self.command(target, port)[1:]]
        return Launch(argv, port, answers("/health", port), _environment(target.load_config))

    async def _fixed_port(self) -> int:
        """The fixed port, freed of a vLLM that an earlier run left there. Raises AppError `port_in_use`."""
        port = self._settings().vllm_port
        for instance in [each for each in self._targets if each.asleep]:
            await self._children.stop(instance)
        left = await self._leftover()
        if left is not None:
            await self._stop_leftover(left)
        if await asyncio.to_thread(_is_taken, port):
            raise await asyncio.to_thread(port_in_use, port, self.title, PORT_HINT)
        return port

    async def _leftover(self) -> EngineRecord | None:
        """The vLLM that an earlier run left, as the state file tells."""
        left = await asyncio.to_thread(tidy_state, self.state_file)
        ours = [instance.record.pid for instance in self._targets if instance.record]
        return left if left is not None and left.pid not in ours else None

    async def _stop_leftover(self, left: EngineRecord) -> None:
        self.log.add([f"stopping the vLLM of an earlier run, process {left.pid}"], "info")
        await stop_leftover(left.pid, left.create_time, self._settings().stop_timeout)
        await asyncio.to_thread(remove_state, self.state_file)

    async def _ask_version(self, url: str) -> str | None:
        with contextlib.suppress(AppError):
            answer = await self._remote.json("GET", f"{url}/version", who=self.title)
            return str(answer["version"]) if isinstance(answer, dict) and "version" in answer else None
        return None

    async def _tell(self, instance: Instance) -> None:
        """Write the state file for others to read, and remove it when the model is gone."""
        record = instance.record
        assert record is not None
        state = VllmState(instance.model, instance.served_id, record.port, record.pid, record.create_time)
        instance.exited.add_done_callback(lambda _: self._ended(instance, record))
        try:
            await asyncio.to_thread(write_state, self.state_file, state)
        except OSError as error:
            self.log.add([f"{self.state_file} cannot be written: {error.strerror}"], "warning")

    def _ended(self, instance: Instance, record: EngineRecord) -> None:
        self._targets.pop(instance, None)
        remove_state(self.state_file, record.pid)

    async def _attach(self, target: Target, timeout: float) -> Instance:
        assert target.url is not None
        url = self._reach.address(target.url)
        headers = self._reach.headers(url)
        await self._remote.json("GET", f"{url}/health", who=self.title, headers=headers)
        entries = await attached.models_of(self._remote, url, self.title, headers)
        served = attached.served(entries, url, _served_id(target))
        if await self._asleep(url):
            await wake_up(self._remote, url, headers, 1, timeout)
        return self._attached.attach(target, url, str(served["id"]), headers)

    async def _asleep(self, url: str) -> bool:
        """Whether a server that others run sleeps; remembers which of this machine's offer that."""
        asleep = await is_asleep(self._remote, url, self._reach.headers(url))
        if asleep is not None and self._reach.is_here(url):
            self._sleepers.add(url)
        else:
            self._sleepers.discard(url)
        return asleep is True

    async def _still_has(self, instance: Instance) -> bool:
        entries = await attached.models_of(self._remote, instance.base_url, self.title, instance.headers)
        return any(entry["id"] == instance.served_id for entry in entries)

    async def _residents_of(self, url: str) -> list[Resident]:
        """What a server that others run holds; one that sleeps holds nothing."""
        headers = self._reach.headers(url)
        try:
            entries = await attached.models_of(self._remote, url, self.title, headers)
            asleep = await self._asleep(url)
        except AppError:
            return []
        # Adapters and further names share the memory of the first entry.
        return [] if asleep else [Resident(str(entry["id"]), url) for entry in entries[:1]]


def _served_id(target: Target) -> str:
    return target.served_id or target.name


def _loopback(record: EngineRecord) -> str:
    return f"http://127.0.0.1:{record.port}"


def _environment(config: Mapping[str, Any]) -> dict[str, str]:
    ours = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "VLLM_HOST_IP": "127.0.0.1"}
    if config.get("enable_sleep_mode"):
        # Opens /sleep and /wake_up, among others; the server listens on loopback only.
        ours["VLLM_SERVER_DEV_MODE"] = "1"
    return {**os.environ, **ours, **config.get("env", {})}


def _follow(progress: Progress) -> Callable[[EngineProcess], None]:
    """Tells `progress` how far a load is, from what the engine has printed since the last look."""
    reader = LoadProgress()
    seen = 0

    def look(process: EngineProcess) -> None:
        nonlocal seen
        new, seen = process.output_since(seen)
        progress(*reader.read(new))

    return look


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False
