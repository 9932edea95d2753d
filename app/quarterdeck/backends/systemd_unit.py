"""Servers that run as a systemd unit of the user: status, start, stop, restart and their journal."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from quarterdeck.backends.logs import clean, guess_level
from quarterdeck.backends.ownership import ServiceStatus
from quarterdeck.backends.tools import Output, Tool, lines_of
from quarterdeck.errors import AppError
from quarterdeck.schemas.backends import LogLine

_UNIT = re.compile(r"[A-Za-z0-9@_.:\\][A-Za-z0-9@_.:\\-]{0,254}")
_PROPERTIES = (
    "LoadState", "ActiveState", "SubState", "MainPID", "Result", "ExecMainStatus",
    "ActiveEnterTimestampMonotonic", "InactiveEnterTimestampMonotonic",
)  # fmt: skip
_NO_SESSION = ("Failed to connect to bus", "Failed to connect to user scope bus")
# The numbers of syslog, as the journal keeps them.
_LEVELS = {"0": "error", "1": "error", "2": "error", "3": "error", "4": "warning", "7": "debug"}


class SystemdUser:
    """The units of this user's own systemd. `path` says where systemctl and journalctl are searched."""

    def __init__(self, path: str | None = None) -> None:
        self._systemctl = Tool("systemctl", path)
        self._journalctl = Tool("journalctl", path)

    async def available(self) -> bool:
        """Whether there is a systemd session of this user."""
        if not self._systemctl.installed:
            return False
        try:
            said = await self._systemctl.run("--user", "is-system-running")
        except AppError:
            return False
        return not any(words in said.stderr for words in _NO_SESSION) and said.stdout.strip() != "offline"

    async def status(self, name: str) -> ServiceStatus:
        """Raises AppError `no_systemd` or `unknown_unit`."""
        unit = unit_name(name)
        asked = ("show", f"--property={','.join(_PROPERTIES)}", "--", unit)
        said = _checked(await self._systemctl.run("--user", *asked), unit, "asked about")
        return _status(unit, dict(line.split("=", 1) for line in lines_of(said.stdout) if "=" in line))

    async def act(self, name: str, action: str, timeout: float) -> None:
        """`start`, `stop` or `restart`; returns when systemd says that it is done. Raises AppError."""
        unit = unit_name(name)
        _checked(await self._systemctl.run("--user", action, "--", unit, timeout=timeout), unit, f"{action}ed")

    async def logs(self, name: str, tail: int) -> list[LogLine]:
        """The newest lines of the unit's journal, oldest first."""
        unit = unit_name(name)
        asked = (f"--unit={unit}", f"--lines={tail}", "--output=json", "--no-pager", "--quiet")
        said = _checked(await self._journalctl.run("--user", *asked), unit, "read")
        found = (_journal_line(unit, number, text) for number, text in enumerate(lines_of(said.stdout), 1))
        return [line for line in found if line is not None]


def unit_name(name: str) -> str:
    """`name` as the full name of a service. Raises AppError `bad_owner` for what cannot be one."""
    if not _UNIT.fullmatch(name):
        raise AppError("bad_owner", f"“{name}” is not the name of a systemd unit.", "Write it like ollama.service.")
    return name if re.search(r"\.[a-z]+$", name) else f"{name}.service"


def _status(unit: str, facts: Mapping[str, str]) -> ServiceStatus:
    if facts.get("LoadState") == "not-found":
        raise _unknown(unit)
    active, result = facts.get("ActiveState", ""), facts.get("Result", "success")
    pid = int(facts["MainPID"]) if facts.get("MainPID", "0").isdigit() else 0
    failed = active == "failed" or result not in ("success", "")
    return ServiceStatus(
        running=active in ("active", "reloading"),
        starting=active == "activating",
        failed=failed,
        pid=pid or None,
        running_s=_since(facts.get("ActiveEnterTimestampMonotonic")) if active == "active" else None,
        stopped_s=_since(facts.get("InactiveEnterTimestampMonotonic")) if active in ("inactive", "failed") else None,
        error=_failure(unit, result, facts.get("ExecMainStatus", "")) if failed else None,
    )


def _failure(unit: str, result: str, code: str) -> str:
    words = {
        "exit-code": f"it ended with exit code {code}",
        "signal": f"it was ended by signal {code}",
        "core-dump": "it crashed",
        "timeout": "it took too long to start or stop",
        "oom-kill": "the system ended it because memory ran out",
        "start-limit-hit": "it failed too often in a row",
        "watchdog": "it no longer answered to systemd",
    }
    return f"{unit} failed: {words.get(result, result)}."


def _since(microseconds: str | None) -> float | None:
    """Seconds since that moment on the machine's monotonic clock; 0 means that it never was."""
    moment = int(microseconds) if microseconds and microseconds.isdigit() else 0
    return max(0.0, time.clock_gettime(time.CLOCK_MONOTONIC) - moment / 1e6) if moment else None


def _checked(said: Output, unit: str, done: str) -> Output:
    """Turn what systemd complained about into an AppError."""
    if said.code == 0:
        return said
    complaint = said.complaint
    if any(words in said.stderr for words in _NO_SESSION):
        raise AppError(
            "no_systemd",
            "There is no systemd session of this user.",
            "Log in to the desktop, or enable it with “loginctl enable-linger”.",
            status=503,
        )
    if "not found" in complaint or "not-found" in complaint or "could not be found" in complaint:
        raise _unknown(unit)
    raise AppError(
        "unit_failed",
        f"The unit {unit} could not be {done}: {complaint.rstrip('.')}.",
        f"Look at its log, or at “systemctl --user status {unit}”.",
        status=502,
    )


def _unknown(unit: str) -> AppError:
    return AppError(
        "unknown_unit",
        f"There is no systemd user unit named {unit}.",
        "List them with “systemctl --user list-unit-files --type=service”.",
        status=404,
    )


def _journal_line(unit: str, number: int, text: str) -> LogLine | None:
    try:
        entry: Any = json.loads(text)
        at = datetime.fromtimestamp(int(entry["__REALTIME_TIMESTAMP"]) / 1e6, UTC)
        message = entry["MESSAGE"]
    except (ValueError, KeyError, TypeError):
        return None
    # What is no valid UTF-8 comes as a list of byte values.
    words = bytes(message).decode("utf-8", "replace") if isinstance(message, list) else str(message)
    words = clean(words)
    level = _LEVELS.get(str(entry.get("PRIORITY")))
    return LogLine(number=number, at=at, source=unit, level=level or guess_level(words), text=words)
