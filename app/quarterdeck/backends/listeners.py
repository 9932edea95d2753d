"""Which processes of this machine listen on which ports, as far as this user may see it. Blocking."""

from __future__ import annotations

import re
import shlex
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import psutil

from quarterdeck.errors import AppError
from quarterdeck.processes import is_alive

_SECRET = re.compile(r"(?i)^(--?[\w-]*(?:api[-_]?key|token|password|secret))(?:=.*)?$")


class Listener(NamedTuple):
    """The process that listens on a port. Memory in bytes, `create_time` in seconds since the epoch.

    `interactive` means that somebody started it in a terminal.
    """

    pid: int
    create_time: float
    name: str
    command: str | None = None
    memory_bytes: int | None = None
    interactive: bool = False


def pids_by_port() -> dict[int, int]:
    """The pid that listens on each port; ports whose process the system hides from us are missing."""
    found: dict[int, set[int]] = defaultdict(set)
    for port, pid in _listening():
        found[port].add(pid)
    return {port: _root(pids) for port, pids in found.items()}


def listeners(ports: Iterable[int]) -> dict[int, Listener]:
    """Who listens on `ports`; a port is missing where nobody does, or where the system does not tell."""
    pids = pids_by_port()
    known = {port: _describe(pids[port]) for port in set(ports) if port in pids}
    return {port: listener for port, listener in known.items() if listener is not None}


def port_in_use(port: int, engine: str, hint: str) -> AppError:
    """The error for a port on which an engine is to answer and that another program holds; `hint` is what helps."""
    holder = listeners([port]).get(port)
    who = f"{holder.name} (process {holder.pid})" if holder else "another program"
    return AppError(
        "port_in_use",
        f"Port {port}, on which {engine} is to answer, is used by {who}.",
        hint,
        status=409,
        details={"port": port, "owner": who if holder else None},
    )


def listens(pid: int, create_time: float, port: int) -> bool:
    """Whether that very process, or one that it started, listens on `port`."""
    holder = pids_by_port().get(port)
    if holder is None or not is_alive(pid, create_time):
        return False
    try:
        return holder == pid or pid in [parent.pid for parent in psutil.Process(holder).parents()]
    except psutil.Error:
        return False


def masked(arguments: list[str]) -> str:
    """A command line for people, without the keys that may stand in it."""
    shown: list[str] = []
    hide = False
    for argument in arguments:
        match = _SECRET.match(argument)
        if hide:
            shown.append("…")
        elif match and "=" in argument:
            shown.append(f"{match.group(1)}=…")
        else:
            shown.append(shlex.quote(argument))
        hide = bool(match) and "=" not in argument and not hide
    return " ".join(shown)


def _listening() -> Iterable[tuple[int, int]]:
    try:
        connections = psutil.net_connections(kind="tcp")
        return [(port, each.pid) for each in connections if each.pid and (port := _port(each.status, each.laddr))]
    except psutil.AccessDenied:
        # macOS tells only root of all processes at once; our own may be asked one by one.
        return list(_listening_of_each())
    except (psutil.Error, OSError):
        return []


def _listening_of_each() -> Iterable[tuple[int, int]]:
    for process in psutil.process_iter():
        try:
            for connection in process.net_connections(kind="tcp"):
                if port := _port(connection.status, connection.laddr):
                    yield port, process.pid
        except psutil.Error:
            continue


def _port(status: str, address: Sequence[object]) -> int | None:
    """The port of a connection that listens; its address is a pair of host and port, or empty."""
    return address[1] if status == psutil.CONN_LISTEN and len(address) > 1 and isinstance(address[1], int) else None


def _root(pids: set[int]) -> int:
    """Of a server and the workers that share its socket: the server."""
    for pid in sorted(pids):
        try:
            if psutil.Process(pid).ppid() not in pids:
                return pid
        except psutil.Error:
            continue
    return min(pids)


def _describe(pid: int) -> Listener | None:
    try:
        process = psutil.Process(pid)
        created, name = process.create_time(), process.name()
    except psutil.Error:
        return None
    try:
        memory = int(process.memory_info().rss)
        return Listener(pid, created, name, masked(process.cmdline()), memory, _has_terminal(pid))
    except (psutil.Error, OSError):
        return Listener(pid, created, name)


def _has_terminal(pid: int) -> bool:
    """Whether a terminal controls the process; only Linux is asked, where services are told from programs by it."""
    try:
        # psutil keeps the list of terminals that there were at its first look.
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        return int(stat.rpartition(")")[2].split()[4]) != 0
    except (OSError, ValueError, IndexError):
        return False
