"""What the doctor examines, and how long each step may take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from quarterdeck.diagnosis.doctor.secrets import clean_key, secrets_of


@dataclass(frozen=True, slots=True)
class Target:
    """One connection. `url` is as a person wrote it; empty texts mean that nothing was said.

    `origin` is the address of a web page that would ask, `websocket` the path of a WebSocket; `from_container`: the
    client that uses the address runs in a container of this machine. `is_page`: the window of a client, which has no
    models of its own. `proxies`: the variables for proxies of the program that asks; None: those of this process.
    """

    title: str
    url: str
    key: str = ""
    origin: str = ""
    model: str = ""
    websocket: str = ""
    from_container: bool = False
    is_page: bool = False
    proxies: Mapping[str, str] | None = None

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not stand in a report."""
        return (self.key, clean_key(self.key), *secrets_of(self.url))


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds. `slow`: a first answer that takes longer is worth a remark; `quiet`: a stream may pause that long."""

    lookup: float = 5.0
    connect: float = 5.0
    handshake: float = 8.0
    answer: float = 15.0
    chat: float = 90.0
    quiet: float = 30.0
    websocket: float = 8.0
    slow: float = 3.0
