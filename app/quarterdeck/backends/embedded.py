"""The built-in engine: llama.cpp's server from the xllamacpp wheel, one child process per model."""

from __future__ import annotations

import importlib.metadata
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from quarterdeck.backends.base import Backend, Instance, Progress, Started, Target
from quarterdeck.backends.child import Children, Launch, answers
from quarterdeck.backends.logs import LogBook
from quarterdeck.backends.options import Option
from quarterdeck.backends.process import EngineProcess, free_port
from quarterdeck.errors import ConfigError
from quarterdeck.schemas.backends import BackendKind, BackendView

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


class EmbeddedBackend(Backend):
    """Loads GGUF files in child processes of our own. See `base.Backend` for the contract of the methods."""

    name = "embedded"
    title = "Built-in llama.cpp"
    kind = BackendKind.EMBEDDED
    options = OPTIONS

    def __init__(self, log: LogBook, *, stop_patience: Callable[[], float]) -> None:
        self.log = log
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

    def command(self, target: Target, port: int) -> list[str]:
        return [
            sys.executable, "-m", "quarterdeck.backends.embedded_worker",
            "--model", str(target.path), "--port", str(port), "--alias", target.name, "--parent", str(os.getpid()),
            "--config", json.dumps(dict(target.load_config), sort_keys=True),
        ]  # fmt: skip

    async def load(self, target: Target, *, timeout: float, progress: Progress, started: Started) -> Instance:
        port = free_port()
        progress("starting the engine", None)
        return await self._children.start(
            Launch(self.command(target, port), port, answers("/health", port)),
            model=target.name,
            served_id=target.served_id or target.name,
            timeout=timeout,
            tick=lambda process: progress("reading the model", read_fraction(process, target)),
            started=started,
        )

    async def unload(self, instance: Instance) -> None:
        await self._children.stop(instance)

    def view(self, instances: Sequence[Instance]) -> BackendView:
        return self._children.describe(self, _version(), instances)


def read_fraction(process: EngineProcess, target: Target) -> float | None:
    """How much of the file is in memory, seen from outside; an engine that maps its file shows it there too."""
    resident = process.memory_bytes()
    if resident is None or not target.size_bytes:
        return None
    return min(0.99, resident / target.size_bytes)


def _version() -> str | None:
    try:
        return importlib.metadata.version("xllamacpp")
    except importlib.metadata.PackageNotFoundError:
        return None
