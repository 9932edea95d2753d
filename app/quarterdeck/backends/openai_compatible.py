"""Any server that speaks OpenAI's interface: on this machine, elsewhere or in a cloud."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import Callable, Sequence

import aiohttp

from quarterdeck.backends import addresses, autostart, keys
from quarterdeck.backends.addresses import Address
from quarterdeck.backends.base import Backend, EngineFailed, ExitReport, Instance, Progress, Resident, Started, Target
from quarterdeck.backends.child import Children, Launch
from quarterdeck.backends.logs import LogBook
from quarterdeck.backends.openai_listing import listed, require
from quarterdeck.backends.openai_servers import MANAGED, ManagedServer, no_options
from quarterdeck.backends.options import Option
from quarterdeck.backends.presets import PRESETS
from quarterdeck.backends.probe import probe
from quarterdeck.backends.process import find_program
from quarterdeck.backends.remote import Remote, ServerRefused, ServerUnreachable
from quarterdeck.errors import AppError
from quarterdeck.schemas.backends import BackendKind, BackendView
from quarterdeck.schemas.discovery import FoundModel, FoundServer
from quarterdeck.settings import Settings

__all__ = ["PRESETS", "OpenAICompatibleBackend"]

OPTIONS = (
    Option("context_length", "integer", "Context length in tokens; for LM Studio and TabbyAPI only.", 1, 16_777_216,
           also=("n_ctx", "num_ctx", "max_seq_len")),
)  # fmt: skip

_NO_LISTING = (404, 405, 501)
_HINT = "Correct the id under which the server knows it."


class OpenAICompatibleBackend(Backend):
    """Models of servers that somebody else runs, or that a start command of the settings starts.

    See `base.Backend` for the contract of the methods. `uses_memory` holds for servers on this machine.
    """

    name = "openai-compatible"
    title = "OpenAI-compatible"
    kind = BackendKind.OPENAI_COMPATIBLE
    options = OPTIONS

    def __init__(
        self,
        log: LogBook,
        *,
        settings: Callable[[], Settings],
        key_for: keys.KeyFor = keys.no_key,
        urls: Callable[[], Sequence[str]] | None = None,
    ) -> None:
        """`key_for` gets the base address of a server; `urls` are those to look at, the settings' own without it."""
        self.log = log
        self._settings = settings
        self._key_for = key_for
        self._urls = urls or (lambda: settings().server_urls)
        self._remote = Remote()
        self._children = Children(log, stop_patience=lambda: settings().stop_timeout)
        self._starting: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._managed: dict[Instance, ManagedServer] = {}
        # Keys belong to addresses as they were written, before the loopback name was replaced.
        self._written: dict[str, str] = {}
        self._products: dict[str, str] = {}

    def gives_back(self, name: str, url: str | None) -> bool:
        with contextlib.suppress(AppError):
            if name in autostart.commands(self._settings().autostart_map):
                return True
            return url is not None and self._products.get(self._parsed(url).base) in MANAGED
        return False

    async def load(self, target: Target, *, timeout: float, progress: Progress, started: Started) -> Instance:
        command = autostart.commands(self._settings().autostart_map).get(target.name)
        written = self._parsed(target.url or "")
        child: Instance | None = None
        progress("asking the server", None)
        async with self._starting[written.base]:
            try:
                address, names = await self._working(written)
            except ServerUnreachable:
                if command is None or not addresses.is_loopback(written.base):
                    raise
                progress("starting the server", None)
                child = await self._start(command, written, target, timeout=timeout, started=started)
                address, names = await self._working(written)
        try:
            if names is not None and not keys.is_azure(address.base):
                # Azure lists models, but is asked for deployments.
                require(_wanted(target), names, who=f"The server at {address.base}", hint=_HINT)
            server = await self._loaded(target, address, timeout, progress)
        except BaseException:
            if child is not None:
                await self._children.stop(child)
            raise
        return self._instance(target, address, server, child)

    async def unload(self, instance: Instance) -> None:
        """Stop what our start command started, ask a server that can be asked; else only let go."""
        await self._children.stop(instance)
        server = self._managed.pop(instance, None)
        if server is not None:
            with contextlib.suppress(ServerUnreachable):
                await server.unload(instance.served_id)
        if not instance.exited.done():
            instance.exited.set_result(ExitReport(None, None, asked_for=True))

    async def residents(self) -> list[Resident]:
        alias = self._settings().loopback_alias
        near = [url for url in self._bases() if addresses.is_this_machine(url, alias)]
        answers = await asyncio.gather(*map(self._residents_at, near))
        return [resident for found in answers for resident in found]

    async def release(self, resident: Resident) -> bool:
        server = await self._managed_server(self._parsed(resident.url).base)
        return server is not None and await server.unload(resident.served_id)

    async def found_models(self) -> list[FoundModel]:
        found = await asyncio.gather(*(self._models_at(url) for url in self._bases()))
        return [model for models in found for model in models]

    def view(self, instances: Sequence[Instance]) -> BackendView:
        view = self._children.describe(self, None, instances)
        if not any(instance.record for instance in instances) and not self._children.starting:
            # There is no server of ours to act on.
            view.actions = []
            if not instances:
                view.detail = "Servers that you add stand below; their models are loaded where the server is."
        return view

    async def start(self) -> None:
        raise AppError(
            "backend_not_running",
            "There is no single server behind this backend.",
            "Load a model of one of its servers. Settings hold commands that start servers, under “Start commands”.",
            status=409,
        )

    async def close(self) -> None:
        await self._remote.close()

    # -- parts of the above

    def _parsed(self, url: str) -> Address:
        read = addresses.parse(url)
        base = addresses.aliased(read.base, self._settings().loopback_alias)
        self._written[base] = read.base
        return Address(base, read.api_path, read.query)

    def _bases(self) -> list[str]:
        bases = []
        for url in self._urls():
            with contextlib.suppress(AppError):
                bases.append(self._parsed(url).base)
        return list(dict.fromkeys(bases))

    def _headers(self, base: str) -> dict[str, str]:
        return keys.headers(base, self._key(base))

    def _key(self, base: str) -> str | None:
        return self._key_for(self._written.get(base, base))

    async def _probed(self, base: str) -> FoundServer:
        found = await probe(self._remote.session, base, self._key(base))
        self._products[base] = found.product
        return found

    async def _working(self, written: Address) -> tuple[Address, list[str] | None]:
        """The address as it works, with or without /v1, and its models; None where it does not list them."""
        bare = Address(written.base, "", written.query)
        for address in (written, bare):
            try:
                return address, await self._listed(address)
            except ServerRefused as refusal:
                if refusal.upstream_status not in _NO_LISTING:
                    raise
            except AppError as error:
                if error.code != "bad_answer":
                    raise
        has_own_path = written.base.count("/") > 2
        return (bare if has_own_path else written), None

    async def _listed(self, address: Address) -> list[str]:
        headers = self._headers(address.base)
        return await listed(self._remote, address.api, who="The server", headers=headers, query=address.query)

    async def _start(
        self, command: list[str], address: Address, target: Target, *, timeout: float, started: Started
    ) -> Instance:
        find_program(command[0], "Install it, or correct “Start commands” in Settings.")

        async def ready(_http: aiohttp.ClientSession) -> bool:
            try:
                await self._listed(address)
            except ServerRefused as refusal:
                return refusal.upstream_status < 500
            except AppError as error:
                return error.code == "bad_answer"
            return True

        return await self._children.start(
            Launch(command, addresses.port_of(address.base), ready),
            model=target.name,
            served_id=_wanted(target),
            timeout=timeout,
            tick=lambda _process: None,
            started=started,
        )

    def _instance(
        self, target: Target, address: Address, server: ManagedServer | None, child: Instance | None
    ) -> Instance:
        if child is None:
            exited: asyncio.Future[ExitReport] = asyncio.get_running_loop().create_future()
            instance = Instance(
                target.name, address.base, None, None, exited, time.monotonic(), served_id=_wanted(target)
            )  # fmt: skip
            if server is not None:
                self._managed[instance] = server
        else:
            instance = child
            instance.base_url = address.base
        instance.api_path, instance.query = address.api_path, address.query
        instance.headers = self._headers(address.base)
        return instance

    async def _loaded(
        self, target: Target, address: Address, timeout: float, progress: Progress
    ) -> ManagedServer | None:
        """Load the model at a server that can be asked to; None for one that cannot."""
        server = await self._managed_server(address.base)
        context_length = target.load_config.get("context_length")
        if server is None:
            if context_length is not None:
                raise no_options(f"The server at {address.base}")
            return None
        if context_length is not None or _wanted(target) not in await server.loaded():
            progress("the server loads the model", None)
            try:
                async with asyncio.timeout(timeout):
                    await server.load(_wanted(target), context_length)
            except TimeoutError:
                raise EngineFailed(None, [], timed_out=timeout) from None
        return server

    async def _managed_server(self, base: str) -> ManagedServer | None:
        if not addresses.is_this_machine(base, self._settings().loopback_alias):
            return None
        found = await self._probed(base)
        if found.product not in MANAGED:
            return None
        return ManagedServer(self._remote, found.product, base, self._headers(base))

    async def _residents_at(self, base: str) -> list[Resident]:
        with contextlib.suppress(AppError):
            server = await self._managed_server(base)
            if server is not None:
                return [Resident(name, base) for name in await server.loaded()]
        return []

    async def _models_at(self, base: str) -> list[FoundModel]:
        found = await self._probed(base)
        return found.models if found.kind is self.kind else []


def _wanted(target: Target) -> str:
    return target.served_id or target.name
