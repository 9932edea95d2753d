"""The built-in engine: llama.cpp's server from the xllamacpp wheel, one child process per model."""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import os
import shlex
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp

from quarterdeck.backends.base import (
    EngineFailed,
    EngineRecord,
    ExitReport,
    Instance,
    Progress,
    Started,
    Target,
)
from quarterdeck.backends.logs import LogBook
from quarterdeck.backends.options import Option, check
from quarterdeck.backends.process import EngineProcess, free_port, resident_memory
from quarterdeck.errors import ConfigError
from quarterdeck.schemas.backends import BackendState, BackendView

POLL_SECONDS = 0.05
CACHE_TYPES = ("f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl")

OPTIONS = (
    Option("n_ctx", "integer", "Context length in tokens; 0 takes the model's own.", 0, 16_777_216,
           also=("ctx_size", "context_length")),
    Option("n_gpu_layers", "integer", "Layers kept on the GPU; -1 lets the engine decide.", -1, 10_000,
           also=("gpu_layers", "ngl")),
    Option("n_threads", "integer", "Processor threads for generation.", 1, 1024, also=("threads",)),
    Option("n_threads_batch", "integer", "Processor threads for reading the prompt.", 1, 1024, also=("threads_batch",)),
    Option("n_batch", "integer", "Tokens handed over at once.", 1, 65_536, also=("batch_size",)),
    Option("n_ubatch", "integer", "Tokens computed at once.", 1, 65_536, also=("ubatch_size",)),
    Option("n_parallel", "integer", "Requests answered side by side; they share the context.", 1, 256,
           also=("parallel",)),
    Option("flash_attention", "choice", "Flash attention.", choices=("auto", "on", "off"), also=("flash_attn",)),
    Option("cache_type_k", "choice", "Number format of the keys in the KV cache.", choices=CACHE_TYPES),
    Option("cache_type_v", "choice", "Number format of the values in the KV cache.", choices=CACHE_TYPES),
    Option("load_mode", "choice", "How the file is read.",
           choices=("auto", "none", "mmap", "mlock", "mmap_mlock", "direct_io")),
    Option("rope_scaling", "choice", "Stretching of the context.", choices=("none", "linear", "yarn", "longrope")),
    Option("rope_freq_base", "number", "Base frequency of the position encoding.", 0),
    Option("rope_freq_scale", "number", "Scale of the position encoding.", 0),
    Option("split_mode", "choice", "How layers are spread over several GPUs.", choices=("none", "layer", "row")),
    Option("main_gpu", "integer", "GPU that holds what is not split.", 0, 64),
    Option("tensor_split", "numbers", "Shares of the model per GPU."),
    Option("chat_template", "text", "Chat template that replaces the model's own."),
    Option("use_jinja", "switch", "Interpret chat templates with Jinja.", also=("jinja",)),
    Option("embeddings", "switch", "Answer embedding requests besides chats.", also=("embedding",)),
    Option("pooling", "choice", "How token vectors become one.", choices=("mean", "cls", "last", "rank", "none")),
    Option("mmproj", "path", "Projector file for images."),
    Option("context_shift", "switch", "Forget the oldest tokens when the context is full.", also=("ctx_shift",)),
    Option("kv_unified", "switch", "One KV cache for all parallel requests."),
    Option("warmup", "switch", "Run once after loading."),
    Option("check_tensors", "switch", "Look for invalid numbers while loading."),
    Option("verbosity", "integer", "How much the engine logs.", 0, 10),
)  # fmt: skip


class EmbeddedBackend:
    """Loads GGUF files in child processes of our own. See `base.Backend` for the contract of the methods."""

    name = "embedded"
    title = "Built-in llama.cpp"

    def __init__(self, log: LogBook, *, stop_patience: Callable[[], float]) -> None:
        self.log = log
        self._patience = stop_patience
        self._processes: dict[Instance, EngineProcess] = {}
        self._starting: EngineProcess | None = None
        self._last_error: str | None = None

    def check_config(self, load_config: Mapping[str, Any]) -> dict[str, Any]:
        own = {key: value for key, value in load_config.items() if key != "extra_args"}
        checked = check(OPTIONS, own, backend=self.title)
        extra = load_config.get("extra_args", {})
        if not isinstance(extra, dict):
            raise ConfigError(
                "bad_load_config",
                '“extra_args” must be an object such as {"n_keep": 64}.',
                "Its keys are parameter names of llama.cpp.",
            )
        return {**checked, "extra_args": extra} if extra else checked

    async def load(self, target: Target, *, timeout: float, progress: Progress, started: Started) -> Instance:
        port = free_port()
        argv = self._command(target, port)
        self.log.add([f"starting the engine for {target.name}: {shlex.join(argv)}"], "info")
        self._last_error = None
        progress("starting the engine", None)
        process = await EngineProcess.start(argv, env=os.environ, log=self.log)
        self._starting = process
        try:
            record = EngineRecord(process.pid, process.create_time, port)
            await started(record)
            await self._until_ready(process, port, target, timeout, progress)
        except EngineFailed as failure:
            await process.stop(self._patience())
            self._last_error = next(iter(failure.log[-1:]), None)
            raise
        except BaseException:
            await process.stop(self._patience())
            raise
        finally:
            self._starting = None
        instance = Instance(
            target.name, f"http://127.0.0.1:{port}", record, shlex.join(argv), process.exited, time.monotonic()
        )
        self._processes[instance] = process
        process.exited.add_done_callback(lambda exited: self._ended(instance, process, exited.result()))
        return instance

    def _ended(self, instance: Instance, process: EngineProcess, report: ExitReport) -> None:
        self._processes.pop(instance, None)
        if not report.asked_for:
            how = f"by {report.signal}" if report.signal else f"with exit code {report.exit_code}"
            self._last_error = next(iter(process.output[-1:]), f"The engine ended {how}.")

    async def unload(self, instance: Instance) -> None:
        process = self._processes.get(instance)
        if process is not None:
            await process.stop(self._patience())

    def view(self, instance: Instance | None) -> BackendView:
        view = BackendView(name=self.name, title=self.title, version=_version(), last_error=self._last_error)
        if self._starting is not None:
            view.state = BackendState.STARTING
            view.pid = self._starting.pid
        elif instance is not None:
            view.state = BackendState.RUNNING
            view.models = [instance.model]
            view.pid = instance.record.pid
            view.address = instance.base_url
            view.memory_bytes = resident_memory(instance.record.pid)
            view.uptime_s = time.monotonic() - instance.started_at
            view.command = instance.command
        elif self._last_error:
            view.state = BackendState.FAILED
        return view

    def _command(self, target: Target, port: int) -> list[str]:
        return [
            sys.executable, "-m", "quarterdeck.backends.embedded_worker",
            "--model", str(target.path), "--port", str(port), "--alias", target.name, "--parent", str(os.getpid()),
            "--config", json.dumps(dict(target.load_config), sort_keys=True),
        ]  # fmt: skip

    async def _until_ready(
        self, process: EngineProcess, port: int, target: Target, timeout: float, progress: Progress
    ) -> None:
        """Ask `/health` until it says so. Raises EngineFailed when the process ends or `timeout` seconds are over."""
        deadline = time.monotonic() + timeout
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as http:
            while True:
                if process.exited.done():
                    raise EngineFailed(process.exited.result(), process.output)
                if await _healthy(http, port):
                    return
                if time.monotonic() > deadline:
                    raise EngineFailed(None, process.output, timed_out=timeout)
                progress("reading the model", _fraction(process, target))
                await asyncio.wait([process.exited], timeout=POLL_SECONDS)


def _fraction(process: EngineProcess, target: Target) -> float | None:
    """How much of the file is in memory, seen from outside; an engine that maps its file shows it there too."""
    resident = process.memory_bytes()
    if resident is None or not target.size_bytes:
        return None
    return min(0.99, resident / target.size_bytes)


async def _healthy(http: aiohttp.ClientSession, port: int) -> bool:
    try:
        async with http.get(f"http://127.0.0.1:{port}/health") as answer:
            return answer.status == 200
    except (aiohttp.ClientError, TimeoutError):
        return False


def _version() -> str | None:
    try:
        return importlib.metadata.version("xllamacpp")
    except importlib.metadata.PackageNotFoundError:
        return None
