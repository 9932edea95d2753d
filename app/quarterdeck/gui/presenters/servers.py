"""What can be chosen when a server is added, and the request that follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from quarterdeck.gui.presenters.engines import BACKEND_TITLES
from quarterdeck.schemas.backends import BackendKind, Owner, OwnerKind, ServerCreate, ServerPreset


class ServerChoice(NamedTuple):
    """What a server may be: found out by asking it, a product with its usual address, or an engine."""

    title: str
    kind: BackendKind | None = None
    url: str = ""
    hint: str = ""


class OwnerChoice(NamedTuple):
    """Who starts and stops the server; `asks` is the label of the name it needs, empty when it needs none."""

    title: str
    kind: OwnerKind | None
    asks: str = ""
    example: str = ""


FIND_OUT = ServerChoice("Find out by asking it", hint="Quarterdeck asks the address what it is. Nothing is loaded.")
OWNERS = (
    OwnerChoice("Somebody else – only use it", None),
    OwnerChoice("A systemd unit of mine", OwnerKind.SYSTEMD, "Unit", "vllm.service"),
    OwnerChoice("A Docker container", OwnerKind.DOCKER, "Container", "vllm"),
)
_ENGINES = (BackendKind.OLLAMA, BackendKind.VLLM, BackendKind.LLAMA_SERVER, BackendKind.LITELLM,
            BackendKind.OPENAI_COMPATIBLE)  # fmt: skip


def server_choices(presets: Sequence[ServerPreset]) -> list[ServerChoice]:
    """Everything that can be chosen, the products before the bare engines."""
    products = [ServerChoice(preset.title, preset.kind, preset.url, preset.hint) for preset in presets]
    titles = {choice.title for choice in products}
    engines = [ServerChoice(BACKEND_TITLES[kind], kind) for kind in _ENGINES]
    return [FIND_OUT, *products, *(engine for engine in engines if engine.title not in titles)]


def missing(url: str, owner: OwnerChoice, owner_name: str) -> str:
    """What must be filled in first; empty when the server can be added."""
    if not url.strip():
        return "Give the address of the server first."
    if owner.asks and not owner_name.strip():
        return f"Name the {owner.asks.lower()} first."
    return ""


def server_request(
    *, url: str, name: str, choice: ServerChoice, key: str, owner: OwnerChoice, owner_name: str
) -> ServerCreate:
    """The request to the core; an address without a scheme is taken for http."""
    address = url.strip()
    if "://" not in address:
        address = f"http://{address}"
    kind = owner.kind
    return ServerCreate(
        url=address,
        name=name.strip() or None,
        kind=choice.kind,
        owner=Owner(kind=kind, name=owner_name.strip()) if kind is not None else None,
        api_key=key.strip() or None,
    )
