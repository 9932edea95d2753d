"""The built-in engine: llama.cpp's server from the xllamacpp wheel, one child process per model."""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from quarterdeck.backends.base import Backend, Instance, Progress, Started, Target
from quarterdeck.backends.child import Children, Launch, answers, read_fraction
from quarterdeck.backends.llama_options import SHARED
from quarterdeck.backends.logs import LogBook
from quarterdeck.backends.process import free_port
from quarterdeck.errors import ConfigError
from quarterdeck.schemas.backends import BackendKind, BackendView

OPTIONS = SHARED


_LIST_DEVICES = "import xllamacpp; print(*[device['type'].name for device in xllamacpp.get_device_info()])"


class EmbeddedBackend(Backend):
    """Loads GGUF files in child processes of our own. See `base.Backend` for the contract of the methods."""

    name = "embedded"
    title = "Built-in llama.cpp"
    kind = BackendKind.EMBEDDED
    options = OPTIONS

    def __init__(self, log: LogBook, *, stop_patience: Callable[[], float]) -> None:
        self.log = log
        self._on_gpu: bool | None = None
        self._children = Children(log, stop_patience=stop_patience)

    def check_config(self, load_config: Mapping[str, Any]) -> dict[str, Any]:
        own = {key: value for key, value in load_config.items() if key != "extra_args"}
        checked = super().check_config(own)
        extra = load_config.get("extra_args", {})
        if not isinstance(extra, dict):
            raise ConfigError(
                "bad_load_config",
                '“extra_args” must be an object such as {"n_keep": 64}.',
                "Its keys are parameter names of llama.cpp.",
            )
        return {**checked, "extra_args": extra} if extra else checked

    async def computes_on_gpu(self) -> bool:
        """Asked once, in a process of its own: no engine is ever loaded into ours."""
        if self._on_gpu is None:
            self._on_gpu = await _finds_gpu()
        return self._on_gpu

    def command(self, target: Target, port: int) -> list[str]:
        return [
            sys.executable, "-m", "quarterdeck.backends.embedded_worker",
            "--model", str(target.path), "--port", str(port), "--alias", target.name, "--parent", str(os.getpid()),
            "--config", json.dumps(dict(target.load_config), sort_keys=True),
        ]  # fmt: skip

    async def load(self, target: Target, *, timeout: float, progress: Progress, started: Started) -> Instance:
        progress("starting the engine", None)
        return await self._children.start(
            self._launch(target, free_port()),
            model=target.name,
            served_id=target.served_id or target.name,
            timeout=timeout,
            tick=lambda process: progress("reading the model", read_fraction(process, target)),
            started=started,
            elsewhere=lambda: self._launch(target, free_port()),
        )

    async def unload(self, instance: Instance) -> None:
        await self._children.stop(instance)

    def _launch(self, target: Target, port: int) -> Launch:
        return Launch(self.command(target, port), port, answers("/health", port), guarded=False)

    def view(self, instances: Sequence[Instance]) -> BackendView:
        return self._children.describe(self, _version(), instances)


async def _finds_gpu() -> bool:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _LIST_DEVICES, stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL
    )
    said, _ = await process.communicate()
    return b"GPU" in said


def _version() -> str | None:
    try:
        return importlib.metadata.version("xllamacpp")
    except importlib.metadata.PackageNotFoundError:
        return None
