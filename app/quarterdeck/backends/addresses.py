"""Addresses of servers as people write them, brought into one form: scheme://host:port/path, without /v1."""

from __future__ import annotations

import functools
import ipaddress
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, urlsplit

import psutil

from quarterdeck.errors import AppError

API_PATH = "/v1"
OLLAMA_PORT = 11434
_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
_HOST_OF_CONTAINER = "host.docker.internal"
# Last parts of paths that people copy from documentation instead of the base address.
_COPIED = ("/chat/completions", "/completions", "/embeddings", "/models", "/api/tags", "/api/version")


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is. Its OpenAI interface is below `base` + `api_path`; `query` goes with every request."""

    base: str
    api_path: str = API_PATH
    query: Mapping[str, str] = field(default_factory=dict)

    @property
    def api(self) -> str:
        return self.base + self.api_path


def parse(text: str, *, default_port: int | None = None) -> Address:
    """Read an address with or without scheme, port, /v1 and trailing slash. Raises AppError `bad_address`.

    Without a scheme http is meant, and `default_port` where no port is given either. An address that a server listens
    on (0.0.0.0) becomes the one under which it is reached.
    """
    written = text.strip()
    bare = "://" not in written
    try:
        parts = urlsplit(f"http://{written}" if bare else written)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise _bad(text) from None
    if parts.scheme not in ("http", "https") or not host or any(map(str.isspace, written)):
        raise _bad(text)
    if port is None and bare:
        port = default_port
    path = parts.path.rstrip("/")
    for copied in _COPIED:
        path = path.removesuffix(copied)
    return Address(_root(parts, host, port) + path.removesuffix(API_PATH), query=dict(parse_qsl(parts.query)))


def base_url(text: str, *, default_port: int | None = None) -> str:
    """The base address without /v1. Raises AppError `bad_address`."""
    return parse(text, default_port=default_port).base


def ollama_url(text: str) -> str:
    """The base address of an Ollama server, written as for OLLAMA_HOST or as an address."""
    return base_url(text, default_port=OLLAMA_PORT).removesuffix("/api")


def aliased(url: str, alias: str) -> str:
    """`url` with this machine's loopback name replaced by `alias`, as needed inside a container."""
    parts = urlsplit(url)
    if not alias or not is_loopback(url):
        return url
    return parts._replace(netloc=_netloc(alias, parts.port)).geturl()


def host_of(url: str) -> str:
    return urlsplit(url).hostname or ""


def port_of(url: str) -> int:
    parts = urlsplit(url)
    return parts.port or (443 if parts.scheme == "https" else 80)


def is_loopback(url: str) -> bool:
    host = host_of(url)
    if host in _LOOPBACK_NAMES or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_this_machine(url: str, alias: str = "") -> bool:
    """Whether the server behind `url` shares this machine's memory: loopback, own names and addresses.

    Inside a container the names of neighbouring containers (without a dot) count too. No name is looked up.
    """
    host = host_of(url)
    if is_loopback(url) or host in (alias.lower(), _HOST_OF_CONTAINER) or host in _own_hosts():
        return True
    return "." not in host and ":" not in host and Path("/.dockerenv").exists()


@functools.cache
def _own_hosts() -> frozenset[str]:
    addresses = {each.address for entries in psutil.net_if_addrs().values() for each in entries}
    return frozenset({socket.gethostname().lower(), *addresses})


def _root(parts: SplitResult, host: str, port: int | None) -> str:
    try:
        reached = "127.0.0.1" if ipaddress.ip_address(host).is_unspecified else host
    except ValueError:
        reached = host
    return f"{parts.scheme}://{_netloc(reached, port)}"


def _netloc(host: str, port: int | None) -> str:
    name = f"[{host}]" if ":" in host else host
    return name if port is None else f"{name}:{port}"


def _bad(text: str) -> AppError:
    return AppError(
        "bad_address",
        f"“{text}” is not the address of a server.",
        "Write it as http://host:port, for example http://127.0.0.1:8000.",
    )
