"""Servers that run in a Docker container: status, start, stop, restart and their log, through the docker command."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any, NamedTuple

from quarterdeck.backends.logs import clean, guess_level
from quarterdeck.backends.ownership import ServiceStatus
from quarterdeck.backends.tools import Output, Tool, lines_of
from quarterdeck.errors import AppError
from quarterdeck.schemas.backends import LogLine

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,254}")
_PUBLISHED = re.compile(r":(\d+)(?:-(\d+))?->")
_STAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)) ?(.*)")
_FRACTION = re.compile(r"\.(\d+)")
_LONGEST_RANGE = 1000


class Container(NamedTuple):
    """A running container; `ports` are those of this machine that lead into it."""

    id: str
    name: str
    image: str
    ports: frozenset[int]


class Docker:
    """The containers of the Docker that the docker command reaches. `path` says where it is searched."""

    def __init__(self, path: str | None = None) -> None:
        self._docker = Tool("docker", path)

    @property
    def installed(self) -> bool:
        return self._docker.installed

    async def running(self) -> list[Container]:
        """The running containers. Raises AppError when docker is missing or cannot be asked."""
        said = _checked(await self._docker.run("ps", "--no-trunc", "--format", "{{json .}}"), "")
        return [container for line in lines_of(said.stdout) if (container := _container(line)) is not None]

    async def status(self, name: str) -> ServiceStatus:
        """Raises AppError `no_docker`, `docker_denied` or `unknown_container`."""
        asked = ("inspect", "--type", "container", "--format", "{{json .State}}", "--", container_name(name))
        said = _checked(await self._docker.run(*asked), name)
        return _status(name, said.stdout)

    async def act(self, name: str, action: str, timeout: float) -> None:
        """`start`, `stop` or `restart`. Raises AppError."""
        said = await self._docker.run("container", action, "--", container_name(name), timeout=timeout)
        _checked(said, name)

    async def logs(self, name: str, tail: int) -> list[LogLine]:
        """The newest lines of both outputs, oldest first."""
        asked = ("container", "logs", "--timestamps", "--tail", str(tail), "--", container_name(name))
        said = _checked(await self._docker.run(*asked), name)
        stamped = [_log_line(line) for line in (*lines_of(said.stdout), *lines_of(said.stderr))]
        newest = sorted(stamped, key=lambda line: line[0])[-tail:]
        return [
            LogLine(number=number, at=at, source=name, level=guess_level(text), text=text)
            for number, (at, text) in enumerate(newest, 1)
        ]


def container_name(name: str) -> str:
    """Raises AppError `bad_owner` for what cannot name a container."""
    if not _NAME.fullmatch(name):
        raise AppError("bad_owner", f"“{name}” is not the name of a container.", "List them with “docker ps --all”.")
    return name


def published_ports(text: str) -> frozenset[int]:
    """The ports of this machine in docker's words, such as “0.0.0.0:8001->8000/tcp, :::9000-9002->80-82/tcp”."""
    ports: set[int] = set()
    for first, last in _PUBLISHED.findall(text):
        start, end = int(first), int(last or first)
        ports.update(range(start, min(end, start + _LONGEST_RANGE) + 1))
    return frozenset(ports)


def _container(line: str) -> Container | None:
    try:
        entry: Any = json.loads(line)
        name = entry["Names"].split(",")[0]
        return Container(entry["ID"], name, entry.get("Image", ""), published_ports(entry.get("Ports", "")))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _status(name: str, text: str) -> ServiceStatus:
    state: Any = json.loads(text)
    running = state.get("Status") == "running"
    ended, code = _moment(state.get("FinishedAt")), state.get("ExitCode")
    # 143 and 137 are SIGTERM and SIGKILL: how docker itself stops a container.
    failed = not running and (state.get("OOMKilled") is True or bool(state.get("Error")) or code not in (0, 143, 137))
    began, now = _moment(state.get("StartedAt")), datetime.now(UTC)
    return ServiceStatus(
        running=running,
        starting=state.get("Status") == "restarting" or (state.get("Health") or {}).get("Status") == "starting",
        failed=failed,
        pid=state.get("Pid") or None,
        running_s=max(0.0, (now - began).total_seconds()) if running and began else None,
        stopped_s=max(0.0, (now - ended).total_seconds()) if not running and ended else None,
        error=_failure(name, state) if failed else None,
    )


def _failure(name: str, state: dict[str, Any]) -> str:
    if state.get("OOMKilled") is True:
        return f"The container {name} was ended because memory ran out."
    if state.get("Error"):
        return f"The container {name} failed: {state['Error']}"
    return f"The container {name} ended with exit code {state.get('ExitCode')}."


def _moment(text: object) -> datetime | None:
    """A time as docker writes it, with nanoseconds; the year 1 means never."""
    if not isinstance(text, str) or text.startswith("0001"):
        return None
    try:
        short = _FRACTION.sub(lambda match: "." + match.group(1)[:6].ljust(6, "0"), text, count=1)
        return datetime.fromisoformat(short.replace("Z", "+00:00"))
    except ValueError:
        return None


def _log_line(line: str) -> tuple[datetime, str]:
    match = _STAMP.match(line)
    at = _moment(match.group(1)) if match else None
    return (at or datetime.fromtimestamp(0, UTC), clean(match.group(2) if match and at else line))


def _checked(said: Output, name: str) -> Output:
    if said.code == 0:
        return said
    words = said.stderr.lower()
    if "permission denied" in words:
        raise AppError(
            "docker_denied",
            "This user may not use Docker.",
            "Add the user to the group “docker” and log in again, or use rootless Docker.",
            status=503,
        )
    if "cannot connect to the docker daemon" in words or "is the docker daemon running" in words:
        raise AppError(
            "no_docker", "Docker is installed, but it does not run.", "Start it: “sudo systemctl start docker”.",
            status=503,
        )  # fmt: skip
    if "no such container" in words:
        raise AppError(
            "unknown_container", f"There is no container named {name}.", "List them with “docker ps --all”.",
            status=404,
        )  # fmt: skip
    raise AppError(
        "docker_failed", f"Docker could not do it: {said.complaint.rstrip('.')}.",
        f"Look at “docker logs {name}”." if name else "Try “docker ps” in a terminal.", status=502,
    )  # fmt: skip
