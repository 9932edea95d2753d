"""What the drift and the report are made of, as the core collects it. No secrets stand in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol
from urllib.parse import urlsplit

_LOOPBACK = ("localhost", "::1", "0.0.0.0")  # noqa: S104 - a name to recognise, nothing listens on it
_HTTPS = 443
_HTTP = 80


class Running(StrEnum):
    """The state of a server in the words of the report; `unknown` was not validated, which is not down."""

    RUNNING = "running"
    DEFECT = "running with a defect"
    DOWN = "down"
    UNKNOWN = "unknown"
    CHANGING = "starting or stopping"


@dataclass(frozen=True)
class GatewayRoute:
    """A model of a running gateway as the gateway itself tells it; `target` such as `openai/Qwen2.5-7B`."""

    name: str
    target: str = ""
    url: str = ""


@dataclass(frozen=True)
class ServedModel:
    """A model that a server offers. `context_length` in tokens; `tools` is what a tiny tool call showed.

    `tool_flags` are the options with which the server would take tool calls, where they are known.
    """

    id: str
    context_length: int | None = None
    tools: bool | None = None
    tools_error: str = ""
    tool_flags: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class ServerFact:
    """A server as it is now. `arguments` are those of its process, `declared_arguments` those of its unit's file.

    `started_at` is in seconds since the epoch. `environment` holds only names that configurations speak of, with
    secrets left out: a name whose value is not shown has the value "…". `config` is the file it was started with,
    `last_words` what one that failed has printed since.
    """

    name: str
    kind: str
    title: str
    address: str = ""
    state: Running = Running.UNKNOWN
    detail: str = ""
    owner: str = ""
    unit: str = ""
    pid: int | None = None
    started_at: float | None = None
    uptime_s: float | None = None
    arguments: tuple[str, ...] = ()
    declared_arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    declared_environment: Mapping[str, str] = field(default_factory=dict)
    config: str = ""
    models: tuple[ServedModel, ...] = ()
    routes: tuple[GatewayRoute, ...] = ()
    startable: bool = False
    last_error: str = ""
    last_words: tuple[str, ...] = ()

    @property
    def up(self) -> bool:
        return self.state in (Running.RUNNING, Running.DEFECT)

    @property
    def ids(self) -> list[str]:
        return [model.id for model in self.models]


@dataclass(frozen=True)
class ModelFact:
    """A model of the registry. `options` is its load_config, `running_context` what its engine says of it.

    `tool_flags` are the options that would give it tool calling, where its backend needs them and they are known.
    """

    name: str
    backend: str
    served_name: str = ""
    url: str = ""
    status: str = "unknown"
    notes: str = ""
    loaded: bool = False
    capabilities: tuple[str, ...] = ()
    options: Mapping[str, object] = field(default_factory=dict)
    declared_context: int | None = None
    running_context: int | None = None
    tools: bool | None = None
    tool_flags: Mapping[str, object] = field(default_factory=dict)
    last_loaded: datetime | None = None
    failures: tuple[str, ...] = ()


@dataclass(frozen=True)
class FileFact:
    """A configuration file that somebody named: by following it, in the settings, or on a command line.

    `users` are the names of the servers that were started with it.
    """

    path: str
    users: tuple[str, ...] = ()
    declared_active: bool = False


@dataclass(frozen=True)
class Facts:
    """Everything at one moment. `own_address` is where clients reach Quarterdeck itself."""

    at: datetime
    servers: tuple[ServerFact, ...] = ()
    models: tuple[ModelFact, ...] = ()
    files: tuple[FileFact, ...] = ()
    own_address: str = ""
    version: str = ""
    log_errors: Mapping[str, str] = field(default_factory=dict)

    def server(self, name: str) -> ServerFact | None:
        return next((each for each in self.servers if each.name == name), None)

    def server_at(self, url: str) -> ServerFact | None:
        """The server at the address that a configuration names, with or without /v1."""
        where = place(url)
        return next((each for each in self.servers if each.address and place(each.address) == where), None)


class FactSource(Protocol):
    """Where the facts come from. With `thorough` servers on this machine are asked for one tiny tool call."""

    async def collect(self, *, thorough: bool = False) -> Facts: ...


def place(url: str) -> tuple[str, int]:
    """Host and port of an address; the names of this machine's loopback are one."""
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        host = (parts.hostname or "").lower()
        port = parts.port or (_HTTPS if parts.scheme == "https" else _HTTP)
    except ValueError:
        return url, 0
    return ("127.0.0.1" if host in _LOOPBACK or host.startswith("127.") else host), port
