"""The list of servers: those a person added, those of the settings and those found on usual ports, each once."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import NamedTuple

from quarterdeck.backends.addresses import base_url, host_of, is_loopback, ollama_url, port_of
from quarterdeck.backends.listeners import Listener
from quarterdeck.backends.litellm import MASTER_KEY
from quarterdeck.backends.ownership import ServiceStatus
from quarterdeck.backends.probe import NOTHING, OTHER
from quarterdeck.errors import AppError
from quarterdeck.schemas.backends import BackendKind, BackendState, Owner, OwnerKind
from quarterdeck.schemas.discovery import FoundServer, ServerState
from quarterdeck.settings import Settings

CONTROLLED = (OwnerKind.SYSTEMD, OwnerKind.DOCKER)
GUEST = Owner(kind=OwnerKind.OTHER)
_WEB = (80, 443)
_USUAL = {"ollama": 11434, "litellm": 4000, "vllm": 8000}
_LAST_PORT = 65535


class Origin(Enum):
    """Why a server is in the list."""

    ADDED = auto()  # a person added it
    SETTINGS = auto()  # its address is in the settings
    FOUND = auto()  # it answers on a port that we look at


class Place(NamedTuple):
    """Where a server is; the many names of this machine's loopback are one."""

    host: str
    port: int
    path: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """A server that the list should have, or a port to look at. `name` is empty where the product will name it."""

    url: str
    origin: Origin
    name: str = ""
    kind: BackendKind | None = None
    owner: Owner | None = None
    key: str | None = None


@dataclass(eq=False, slots=True)
class Known:
    """One server of the list. `doing` is what we are just doing with it.

    `error` is why the last thing that we did with it failed, `trouble` why its owner could not be asked.
    """

    wanted: Wanted
    name: str
    found: FoundServer
    owner: Owner = field(default_factory=lambda: GUEST)
    listener: Listener | None = None
    status: ServiceStatus | None = None
    doing: BackendState | None = None
    error: str | None = None
    trouble: str | None = None

    @property
    def controlled(self) -> bool:
        return self.owner.kind in CONTROLLED and self.owner.name is not None

    @property
    def kind(self) -> BackendKind | None:
        return self.wanted.kind or self.found.kind


def place(url: str) -> Place:
    """What tells one server from another, for an address in our form."""
    path = url.split("://", 1)[-1].partition("/")[2]
    return Place("localhost" if is_loopback(url) else host_of(url), port_of(url), path)


def from_settings(settings: Settings) -> Iterator[Wanted]:
    """The servers of the settings. The main ones of Ollama and LiteLLM are listed only while they answer.

    An address that cannot be one is left out: the setting that holds it says so where it is changed.
    """
    main = (
        (settings.ollama_url, BackendKind.OLLAMA, None),
        (settings.litellm_url, BackendKind.LITELLM, os.environ.get(MASTER_KEY)),
    )
    for url, kind, key in main:
        if (address := _address(url, kind)) is not None:
            yield Wanted(address, Origin.FOUND, name=kind.value, kind=kind, key=key)
    for url in settings.ollama_urls:
        if (address := _address(url, BackendKind.OLLAMA)) is not None:
            yield Wanted(address, Origin.SETTINGS, name=server_name("ollama", address), kind=BackendKind.OLLAMA)
    for number, url in enumerate(settings.server_urls):
        key = settings.server_keys[number] if number < len(settings.server_keys) else ""
        if (address := _address(url, None)) is not None:
            yield Wanted(address, Origin.SETTINGS, name=server_name("server", address), key=key or None)
    for port in settings.probe_ports:
        if 0 < port <= _LAST_PORT:
            yield Wanted(f"http://127.0.0.1:{port}", Origin.FOUND)


def not_asked_yet(wanted: Wanted) -> FoundServer:
    """What is known of a server before it was looked at."""
    return FoundServer(
        url=wanted.url, product=NOTHING, kind=wanted.kind, title="Server", state=ServerState.UNKNOWN,
        detail="It was not looked at yet.", owner=wanted.owner or GUEST,
    )  # fmt: skip


def once(wanted: Sequence[Wanted], own_ports: Collection[int]) -> dict[Place, Wanted]:
    """Each place once, the first that names it wins; without what listens here and is ours."""
    places: dict[Place, Wanted] = {}
    for each in wanted:
        where = place(each.url)
        if not (is_loopback(each.url) and where.port in own_ports):
            places.setdefault(where, each)
    return places


def server_name(product: str, url: str) -> str:
    """A name for people: `vllm-8001` on this machine, `ollama-nas` or `ollama-nas-8000` elsewhere."""
    port, host = port_of(url), host_of(url)
    if is_loopback(url):
        return f"{product}-{port}"
    where = host if port in (_USUAL.get(product), *_WEB) else f"{host}-{port}"
    return re.sub(r"[^a-z0-9.-]+", "-", where if product == "server" else f"{product}-{where}")


def product_name(found: FoundServer) -> str:
    """The product as part of a name."""
    return "server" if found.product in ("openai-compatible", NOTHING, OTHER) else found.product.replace(".", "-")


def unused(name: str, taken: Collection[str]) -> str:
    """`name`, or the next one with a number that nobody has."""
    candidate, number = name, 1
    while candidate in taken:
        number += 1
        candidate = f"{name}-{number}"
    return candidate


def _address(text: str, kind: BackendKind | None) -> str | None:
    try:
        return address_of(text, kind) if text.strip() else None
    except AppError:
        return None


def address_of(text: str, kind: BackendKind | None) -> str:
    """The base address that is meant. Raises AppError `bad_address`."""
    return ollama_url(text) if kind is BackendKind.OLLAMA else base_url(text)
