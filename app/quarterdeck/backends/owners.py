"""Who a server belongs to, and what that owner lets us do with it."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Protocol

import psutil

from quarterdeck.backends.docker_container import Container, Docker
from quarterdeck.backends.listeners import Listener
from quarterdeck.backends.ownership import ServiceStatus
from quarterdeck.backends.systemd_unit import SystemdUser
from quarterdeck.errors import AppError
from quarterdeck.schemas.backends import LogLine, Owner, OwnerKind

ACTIONS = ("start", "stop", "restart")
_DOCKER_SCOPE = re.compile(r"(?:^|/)(?:docker-)?([0-9a-f]{64})(?:\.scope)?(?:/|$)")
# A program that the desktop has started, with everything that was started in it.
_DESKTOP_APP = re.compile(r"app-.*@")
_UNIT = re.compile(r"/([^/]+\.service)(?=/|$)")


class Control(Protocol):
    """What a systemd and a Docker can do with a service of theirs."""

    async def status(self, name: str) -> ServiceStatus: ...
    async def act(self, name: str, action: str, timeout: float) -> None: ...
    async def logs(self, name: str, tail: int) -> list[LogLine]: ...


class Owners:
    """Finds the owners of servers and acts through them.

    `own_pids` are the processes that Quarterdeck itself has started. `path` says where systemctl, journalctl and docker
    are searched, `proc` where the system describes its processes.
    """

    def __init__(
        self,
        *,
        own_pids: Callable[[], Collection[int]] = frozenset,
        path: str | None = None,
        proc: Path = Path("/proc"),
    ) -> None:
        self._own_pids = own_pids
        self._proc = proc
        self._docker = Docker(path)
        self._systemd = SystemdUser(path)

    async def find(self, holders: Mapping[int, Listener | None]) -> dict[int, Owner]:
        """The owners of the servers on the ports `holders`, by port; None is a process that the system hides."""
        owners: dict[int, Owner] = {}
        containers = await self._containers() if self.docker_installed else []
        for port, holder in holders.items():
            owners[port] = await asyncio.to_thread(self._owner, port, holder, containers)
        return owners

    @property
    def docker_installed(self) -> bool:
        return self._docker.installed

    async def systemd_available(self) -> bool:
        return await self._systemd.available()

    async def status(self, owner: Owner) -> ServiceStatus | None:
        """What the owner says of its service; None for an owner that tells nothing. Raises AppError."""
        control = self._control(owner)
        return None if control is None or owner.name is None else await control.status(owner.name)

    async def act(self, owner: Owner, action: str, *, timeout: float) -> None:
        """`start`, `stop` or `restart` through the owner; seconds. Raises AppError, `not_ours` for somebody else's."""
        control = self._control(owner)
        if action not in ACTIONS:
            raise AppError("bad_action", f"“{action}” is not an action.", f"Choose one of: {', '.join(ACTIONS)}.")
        if control is None or owner.name is None:
            raise not_ours(owner)
        await control.act(owner.name, action, timeout)

    async def logs(self, owner: Owner, tail: int) -> list[LogLine]:
        """The newest lines that the owner keeps, oldest first. Raises AppError `no_log` where it keeps none."""
        control = self._control(owner)
        if control is None or owner.name is None:
            raise AppError(
                "no_log",
                "Quarterdeck did not start this server and does not see its log.",
                "Look where it was started: its terminal, or the log of its own program.",
                status=404,
            )
        return await control.logs(owner.name, tail) if tail > 0 else []

    def _control(self, owner: Owner) -> Control | None:
        if owner.kind is OwnerKind.SYSTEMD:
            return self._systemd
        return self._docker if owner.kind is OwnerKind.DOCKER else None

    async def _containers(self) -> list[Container]:
        try:
            return await self._docker.running()
        except AppError:
            # A Docker that cannot be asked owns nothing that we could control.
            return []

    def _owner(self, port: int, holder: Listener | None, containers: Collection[Container]) -> Owner:
        """From the process that listens (blocking): its ancestors, then its control group, then published ports."""
        if holder is not None and self._is_own(holder.pid):
            return Owner(kind=OwnerKind.QUARTERDECK)
        path = self._control_group(holder.pid) if holder is not None else ""
        by_id = {container.id: container for container in containers}
        if match := _DOCKER_SCOPE.search(path):
            container = by_id.get(match.group(1))
            return Owner(kind=OwnerKind.DOCKER, name=container.name) if container else Owner(kind=OwnerKind.OTHER)
        if holder is None or holder.name == "docker-proxy":
            publisher = next((each for each in containers if port in each.ports), None)
            if publisher is not None:
                return Owner(kind=OwnerKind.DOCKER, name=publisher.name)
        owner = owner_by_control_group(path)
        if owner.kind is OwnerKind.SYSTEMD and (holder is None or holder.interactive or owner == self._our_own()):
            # Typed into a terminal that a unit runs (tmux, an editor): stopping the unit would close all of that.
            return Owner(kind=OwnerKind.OTHER)
        return owner

    def _our_own(self) -> Owner:
        """The unit that Quarterdeck itself runs in."""
        return owner_by_control_group(self._control_group(os.getpid()))

    def _is_own(self, pid: int) -> bool:
        own = self._own_pids()
        try:
            return pid in own or any(parent.pid in own for parent in psutil.Process(pid).parents())
        except psutil.Error:
            return False

    def _control_group(self, pid: int) -> str:
        """The path of the process in systemd's tree, whichever version of control groups there is."""
        try:
            lines = (self._proc / str(pid) / "cgroup").read_text(encoding="ascii", errors="replace").splitlines()
        except OSError:
            return ""
        paths = {line.split(":", 2)[1]: line.split(":", 2)[2] for line in lines if line.count(":") >= 2}
        return next((paths[tree] for tree in ("", "name=systemd") if paths.get(tree, "/") != "/"), "")


def owner_by_control_group(path: str) -> Owner:
    """A unit of this user, or a service of the system, which only an administrator may control."""
    units = _UNIT.findall(path)
    if not units:
        return Owner(kind=OwnerKind.OTHER)
    if "/system.slice/" in path and not any(unit.startswith("user@") for unit in units):
        return Owner(kind=OwnerKind.OTHER, name=units[-1])
    mine = f"user@{os.getuid()}.service" if hasattr(os, "getuid") else ""
    if mine in units and units[-1] != mine and not _DESKTOP_APP.match(units[-1]):
        return Owner(kind=OwnerKind.SYSTEMD, name=units[-1])
    return Owner(kind=OwnerKind.OTHER)


def not_ours(owner: Owner) -> AppError:
    """Nobody but its owner can start or stop it."""
    if owner.name:
        return AppError(
            "not_ours",
            f"This server belongs to the system service {owner.name}: only an administrator can start or stop it.",
            f"Use “sudo systemctl restart {owner.name}”.",
            status=409,
        )
    return AppError(
        "not_ours",
        "Quarterdeck did not start this server and can only use it.",
        "Start and stop it where it was started. If it is a systemd user unit or a container, say so when adding it.",
        status=409,
    )
