"""A list of servers over a real database, with servers of the test on ports of their own."""

from __future__ import annotations

from collections.abc import Awaitable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from fake_tools import FakeTools
from recorded_server import RecordedServer, Reply, recorded, serve

from quarterdeck.backends.owners import Owners
from quarterdeck.errors import AppError
from quarterdeck.scheduling.servers import Servers
from quarterdeck.schemas.backends import BackendState, BackendView
from quarterdeck.settings import Folders, Settings
from quarterdeck.storage.database import Database
from quarterdeck.storage.secrets import Secrets

RECORDINGS = Path(__file__).parents[1] / "backends" / "recorded_http"
OLLAMA = recorded(RECORDINGS / "ollama.txt")
VLLM = recorded(RECORDINGS / "vllm.txt")
NOBODY = "http://127.0.0.1:9"
RUNNING, STOPPED, UNKNOWN = BackendState.RUNNING, BackendState.STOPPED, BackendState.UNKNOWN
STARTING, STOPPING, FAILED = BackendState.STARTING, BackendState.STOPPING, BackendState.FAILED


class Bench:
    """A list of servers with a database of its own, and servers that can come and go."""

    def __init__(self, folder: Path) -> None:
        self.places = Folders(folder / "data", folder / "data")
        self.tools = FakeTools(folder / "tools")
        self.settings = Settings(ollama_url=NOBODY, litellm_url=NOBODY, probe_ports=[])
        self.own_ports: set[int] = set()
        self.told: list[tuple[str, BackendState | None]] = []
        self.watched = False
        self.running: dict[int, tuple[AsyncExitStack, RecordedServer]] = {}
        self.database = Database(self.places)
        self.database.open()

    async def open(self) -> Servers:
        secrets = Secrets(self.places)
        secrets.open()
        self.servers = Servers(
            self.database,
            secrets,
            settings=lambda: self.settings,
            owners=Owners(path=self.tools.path, proc=self.places.data / "proc"),
            own_ports=lambda: self.own_ports,
            watched=lambda: self.watched,
            on_change=self._changed,
        )
        await self.servers.open()
        return self.servers

    async def reopen(self) -> Servers:
        await self.servers.close()
        return await self.open()

    def set(self, **values: Any) -> None:
        self.settings = self.settings.model_copy(update=values)

    async def start(self, replies: dict[str, Reply], port: int = 0) -> RecordedServer:
        stack = AsyncExitStack()
        server = await stack.enter_async_context(serve(replies, port))
        self.running[server.port] = stack, server
        return server

    async def stop(self, server: RecordedServer) -> None:
        await self.running.pop(server.port)[0].aclose()

    def view(self, name: str) -> BackendView:
        return next(view for view in self.servers.views() if view.name == name)

    @property
    def names(self) -> list[str]:
        return [view.name for view in self.servers.views()]

    async def close(self) -> None:
        await self.servers.close()
        for stack, _ in self.running.values():
            await stack.aclose()
        self.database.close()

    def _changed(self, name: str, view: BackendView | None) -> None:
        self.told.append((name, view.state if view else None))


async def refused(coroutine: Awaitable[object]) -> AppError:
    with pytest.raises(AppError) as caught:
        await coroutine
    return caught.value
