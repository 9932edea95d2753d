"""Reaching a core for one command: the one named, the one that runs, or one started for the moment."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Protocol

from quarterdeck.client.api import ApiClient
from quarterdeck.client.discovery import find_core
from quarterdeck.errors import AppError
from quarterdeck.settings import Folders

START_PATIENCE = 10.0
START_POLL = 0.1


class OwnCore(Protocol):
    """A core in this process; `stop` blocks until it has ended."""

    @property
    def control_url(self) -> str: ...

    @property
    def token(self) -> str: ...

    def stop(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Connection:
    """A client, and whether its core lives only as long as this command."""

    client: ApiClient
    momentary: bool


@contextlib.asynccontextmanager
async def connect(
    folders: Folders, *, url: str | None, token: str | None, start_core: Callable[[], OwnCore]
) -> AsyncIterator[Connection]:
    """Connect; a core that was started for the moment is stopped at the end."""
    own: OwnCore | None = None
    if url is not None:
        client = ApiClient(url, token_for(token, folders))
    elif running := find_core(folders):
        client = ApiClient(running.control_url, running.token)
    else:
        try:
            own = start_core()
        except AppError as error:
            if error.code != "core_running":
                raise
            client = await _starting_core(folders, error)
        else:
            client = ApiClient(own.control_url, own.token)
    try:
        yield Connection(client, momentary=own is not None)
    finally:
        await client.aclose()
        if own is not None:
            own.stop()


async def _starting_core(folders: Folders, error: AppError) -> ApiClient:
    """A client of the core that has taken the data folder and is about to answer; raises `error` if it never does."""
    for _ in range(int(START_PATIENCE / START_POLL)):
        if running := find_core(folders):
            return ApiClient(running.control_url, running.token)
        await asyncio.sleep(START_POLL)
    raise error


def token_for(given: str | None, folders: Folders) -> str:
    """The token for a core named by address. Raises AppError `token_missing`."""
    if token := given or os.environ.get("QUARTERDECK_TOKEN"):
        return token
    try:
        return folders.token_file.read_text(encoding="ascii").strip()
    except OSError:
        raise AppError(
            "token_missing",
            "The core at --url needs a token, and this data folder has none.",
            "Give it with --token or QUARTERDECK_TOKEN; it is the text of the file “token” in the core's data folder.",
        ) from None
