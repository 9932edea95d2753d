"""llama-server as a router: it loads models into processes of its own, when it is asked to over HTTP."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from quarterdeck.backends.attached import models_of, served
from quarterdeck.backends.base import EngineFailed, ExitReport
from quarterdeck.backends.remote import Remote, ServerRefused
from quarterdeck.errors import AppError

POLL_SECONDS = 0.2
UNLOAD_SECONDS = 60.0
WHO = "llama-server"
_HOLDS_MEMORY = ("loaded", "loading", "sleeping")
_ANSWERS = ("loaded", "sleeping")
_REFUSED = 400


@dataclass(frozen=True, slots=True)
class Status:
    """What a router says of one model; `value` is unloaded, loading, loaded, sleeping or downloading."""

    value: str
    failed: bool = False
    exit_code: int | None = None

    @property
    def answers(self) -> bool:
        return self.value in _ANSWERS


@dataclass(frozen=True, slots=True)
class Router:
    """A router at a base address. Every method raises AppError when it does not answer."""

    remote: Remote
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)

    async def entries(self) -> list[dict[str, Any]]:
        return await models_of(self.remote, self.url, WHO, self.headers)

    async def status(self, model: str) -> Status:
        return status_of(served(await self.entries(), self.url, model)) or Status("unloaded")

    async def loaded(self) -> list[str]:
        """The models that hold memory."""
        states = [(str(entry["id"]), status_of(entry)) for entry in await self.entries()]
        return [model for model, status in states if status is not None and status.value in _HOLDS_MEMORY]

    async def ask_to_load(self, model: str) -> None:
        """Start loading, unless it is loaded or under way."""
        if (await self.status(model)).value not in _HOLDS_MEMORY:
            await self._post("load", model)

    async def load(self, model: str, timeout: float) -> None:
        """Load and wait until it answers. Raises EngineFailed; cancelling unloads it again."""
        deadline = time.monotonic() + timeout
        try:
            await self.ask_to_load(model)
            while not await self.is_ready(model):
                if time.monotonic() > deadline:
                    raise EngineFailed(None, [f"{model} is not loaded after {timeout:.0f} seconds"], timed_out=timeout)
                await asyncio.sleep(POLL_SECONDS)
        except (asyncio.CancelledError, EngineFailed):
            await self.unload(model)
            raise

    async def is_ready(self, model: str) -> bool:
        """Whether a model that was asked for answers. Raises EngineFailed when its process ended."""
        status = await self.status(model)
        if status.failed or status.value == "unloaded":
            how = f"exit code {status.exit_code}" if status.exit_code is not None else "no exit code"
            raise EngineFailed(ExitReport(status.exit_code, None), [f"error: the router could not load {model}: {how}"])
        return status.answers

    async def unload(self, model: str) -> None:
        """Unload and wait until it is gone. Raises AppError `not_released`."""
        try:
            await self._post("unload", model)
        except ServerRefused as refused:
            if refused.upstream_status != _REFUSED:
                raise
            # It is not running: the wait below sees that, too.
        deadline = time.monotonic() + UNLOAD_SECONDS
        while (await self.status(model)).value in _HOLDS_MEMORY:
            if time.monotonic() > deadline:
                raise AppError(
                    "not_released", f"The llama-server router at {self.url} keeps “{model}” loaded.",
                    "Restart that server.", status=502,
                )  # fmt: skip
            await asyncio.sleep(POLL_SECONDS)

    async def _post(self, what: str, model: str) -> None:
        url = f"{self.url}/models/{what}"
        await self.remote.json("POST", url, who=WHO, body={"model": model}, headers=self.headers)


def status_of(entry: Mapping[str, Any]) -> Status | None:
    """The status in an entry of a model list; None where the server is no router."""
    status = entry.get("status")
    if not isinstance(status, dict) or not isinstance(status.get("value"), str):
        return None
    code = status.get("exit_code")
    return Status(status["value"], bool(status.get("failed")), code if isinstance(code, int) else None)


def name_in(entries: list[dict[str, Any]], wanted: str, path: Path) -> str | None:
    """The name under which a router has the model at `path`: that of its file, or of a folder of parts."""
    ids = [str(entry["id"]) for entry in entries]
    candidates = (wanted, path.stem, path.name, path.parent.name)
    return next((each for each in candidates if each in ids), None)
