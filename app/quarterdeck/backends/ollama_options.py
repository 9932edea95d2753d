"""What a load_config of an Ollama model may hold, and the variant of a model that carries it.

Ollama keeps these options with a model, or takes them with a request of its own interface; a request to /v1 that does
not repeat them makes it load the model again with its own. So a model with a load_config is loaded as a variant that
has the options inside; making one copies nothing and takes some milliseconds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from quarterdeck.backends.ollama_api import full_tag
from quarterdeck.backends.options import Option

OPTIONS = (
    Option("num_ctx", "integer", "Context length in tokens.", 1, 16_777_216,
           also=("n_ctx", "ctx_size", "context_length")),
    Option("num_gpu", "integer", "Layers kept on the GPU; -1 lets Ollama decide.", -1, 10_000,
           also=("n_gpu_layers", "gpu_layers")),
    Option("num_thread", "integer", "Processor threads; 0 lets Ollama decide.", 0, 1024, also=("n_threads", "threads")),
    Option("num_batch", "integer", "Tokens handed over at once.", 1, 65_536, also=("n_batch", "batch_size")),
    Option("num_keep", "integer", "Tokens of the start that stay when the context is full; -1 all.", -1, 16_777_216),
    Option("main_gpu", "integer", "GPU that holds what is not split.", 0, 64),
    Option("use_mmap", "switch", "Map the file into memory."),
)  # fmt: skip

_SPACE = "quarterdeck/"


def variant(name: str, options: Mapping[str, Any]) -> str:
    """The tag under which `name` is loaded with `options`: its own without any."""
    tag = full_tag(name)
    if not options:
        return tag
    content = json.dumps([tag, dict(options)], sort_keys=True).encode()
    model, _, version = tag.rpartition("/")[2].partition(":")
    return f"{_SPACE}{model}:{version[:60]}-{hashlib.sha256(content).hexdigest()[:8]}"


def is_variant(tag: str) -> bool:
    return tag.startswith(_SPACE)
