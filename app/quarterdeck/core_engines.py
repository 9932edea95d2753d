"""The engines of a core: one backend per kind, each with a log of its own."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import NamedTuple

from quarterdeck.backends import keys
from quarterdeck.backends.base import Backend
from quarterdeck.backends.embedded import EmbeddedBackend
from quarterdeck.backends.litellm import LiteLLMBackend
from quarterdeck.backends.llama_server import LlamaServerBackend
from quarterdeck.backends.logs import LogBook
from quarterdeck.backends.ollama import OllamaBackend
from quarterdeck.backends.openai_compatible import OpenAICompatibleBackend
from quarterdeck.backends.vllm import VllmBackend
from quarterdeck.scheduling.leftovers import Daemons
from quarterdeck.schemas.backends import BackendKind
from quarterdeck.settings import Folders, Settings

ADOPTING = (BackendKind.OLLAMA,)


class Surroundings(NamedTuple):
    """What engines need of the core. `urls` are the addresses of servers of a kind that others run."""

    settings: Callable[[], Settings]
    folders: Folders
    log: Callable[[str], LogBook]
    daemons: Daemons
    key_for: keys.KeyFor
    urls: Callable[[BackendKind], Collection[str]]


def make_backends(core: Surroundings) -> dict[str, Backend]:
    """All engines by name; none is started."""
    settings, log, key_for = core.settings, core.log, core.key_for
    made: tuple[Backend, ...] = (
        EmbeddedBackend(log(BackendKind.EMBEDDED), stop_patience=lambda: settings().stop_timeout),
        LlamaServerBackend(
            log(BackendKind.LLAMA_SERVER),
            settings=settings,
            known_urls=lambda: core.urls(BackendKind.LLAMA_SERVER),
            headers=lambda url: keys.headers(url, key_for(url)),
        ),
        VllmBackend(
            log(BackendKind.VLLM),
            settings=settings,
            data=core.folders.data,
            known_urls=lambda: core.urls(BackendKind.VLLM),
            headers=lambda url: keys.headers(url, key_for(url)),
        ),
        OllamaBackend(
            log(BackendKind.OLLAMA),
            settings=settings,
            output=core.folders.logs / "ollama-server.log",
            remember=core.daemons.remember(BackendKind.OLLAMA),
            urls=lambda: list(core.urls(BackendKind.OLLAMA)),
        ),
        LiteLLMBackend(log(BackendKind.LITELLM), settings=settings, key_for=key_for),
        OpenAICompatibleBackend(
            log(BackendKind.OPENAI_COMPATIBLE),
            settings=settings,
            key_for=key_for,
            urls=lambda: list(core.urls(BackendKind.OPENAI_COMPATIBLE)),
        ),
    )
    return {backend.name: backend for backend in made}


async def adopt(backends: dict[str, Backend], daemons: Daemons, patience: float) -> None:
    """Take over the servers that an earlier run of ours left running."""
    for name in ADOPTING:
        backend = backends.get(name)
        trace = await daemons.recall(name, patience)
        if trace is not None and isinstance(backend, OllamaBackend):
            await backend.adopt(trace)
