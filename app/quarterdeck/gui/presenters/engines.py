"""The names of the engines, and which server has a model."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from quarterdeck.schemas.backends import BackendView
from quarterdeck.schemas.models import ModelView

BACKEND_TITLES = {
    "embedded": "llama.cpp (built in)",
    "llama-server": "llama.cpp server",
    "vllm": "vLLM",
    "ollama": "Ollama",
    "litellm": "LiteLLM",
    "openai-compatible": "OpenAI-compatible server",
}


def engine_title(model: ModelView, backends: Mapping[str, BackendView]) -> str:
    """Who runs the model, in words: the server that has it where that is one of several, else its engine."""
    own = backends.get(model.backend)
    title = own.title if own is not None else BACKEND_TITLES.get(model.backend, model.backend)
    if model.url is None or model.backend == "ollama":
        return title
    where = _place(model.url)
    for view in backends.values():
        if view.name != model.backend and view.address is not None and _place(view.address) == where:
            return view.title
    return f"{title} at {where}" if where else title


def _place(url: str) -> str:
    """Host and port, which tell servers apart whether their address ends in /v1 or not."""
    return urlsplit(url).netloc.replace("localhost", "127.0.0.1")
