"""A systemctl and a journalctl for tests that really start, stop and restart the programs of user units."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

STOP_SECONDS = 20.0
_SCRIPT = '#!/bin/sh\nexec {python} -I {program} {folder} {tool} "$@"\n'


class Units:
    """`path` is a folder with the two programs, to be put in front of PATH; `close` stops what they started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "bin"
        self.path.mkdir(parents=True)
        for tool in ("systemctl", "journalctl"):
            words = {"python": sys.executable, "program": Path(__file__), "folder": folder, "tool": tool}
            script = self.path / tool
            script.write_text(_SCRIPT.format(**{key: shlex.quote(str(word)) for key, word in words.items()}))
            script.chmod(0o755)

    def add(self, unit: str, command: Sequence[str], environment: Mapping[str, str], *, ended_s: float = 0) -> None:
        """A unit that does not run; it ended `ended_s` seconds ago."""
        state = {
            "command": list(command),
            "environment": dict(environment),
            "pid": 0,
            "since": time.clock_gettime(time.CLOCK_MONOTONIC) - ended_s,
        }
        _write(self.folder, unit, state)

    def log(self, unit: str) -> str:
        return _log(self.folder, unit).read_text(encoding="utf-8", errors="replace")

    def close(self) -> None:
        for file in self.folder.glob("*.json"):
            _stop(self.folder, file.stem)


def _read(folder: Path, unit: str) -> dict[str, Any]:
    return dict(json.loads((folder / f"{unit}.json").read_text()))


def _write(folder: Path, unit: str, state: dict[str, Any]) -> None:
    fresh = folder / f"{unit}.{os.getpid()}.new"
    fresh.write_text(json.dumps(state))
    fresh.replace(folder / f"{unit}.json")


def _log(folder: Path, unit: str) -> Path:
    return folder / f"{unit}.log"


def _runs(pid: int) -> bool:
    try:
        words = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return words.rpartition(")")[2].split()[0] != "Z"


def _start(folder: Path, unit: str) -> None:
    state = _read(folder, unit)
    if _runs(state["pid"]):
        return
    with _log(folder, unit).open("wb") as log:
        process = subprocess.Popen(
            state["command"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            env=os.environ | state["environment"],
        )  # fmt: skip
    _write(folder, unit, state | {"pid": process.pid, "since": time.clock_gettime(time.CLOCK_MONOTONIC)})


def _stop(folder: Path, unit: str) -> None:
    state = _read(folder, unit)
    deadline = time.monotonic() + STOP_SECONDS
    for sent in (signal.SIGTERM, signal.SIGKILL):
        while state["pid"] and _runs(state["pid"]):
            os.killpg(state["pid"], sent)
            if time.monotonic() > deadline:
                break
            time.sleep(0.05)
    _write(folder, unit, state | {"pid": 0, "since": time.clock_gettime(time.CLOCK_MONOTONIC)})


def _show(folder: Path, unit: str) -> None:
    try:
        state = _read(folder, unit)
    except OSError:
        sys.stdout.write("LoadState=not-found\n")
        return
    runs = _runs(state["pid"])
    failed = bool(state["pid"]) and not runs
    since = int(state["since"] * 1e6)
    words = " ".join(state["command"])
    facts = {
        "LoadState": "loaded",
        "ActiveState": "active" if runs else "failed" if failed else "inactive",
        "SubState": "running" if runs else "dead",
        "MainPID": state["pid"] if runs else 0,
        "Result": "exit-code" if failed else "success",
        "ExecMainStatus": 1 if failed else 0,
        "ActiveEnterTimestampMonotonic": since if runs else 0,
        "InactiveEnterTimestampMonotonic": 0 if runs else since,
        "ExecStart": f"{{ path={state['command'][0]} ; argv[]={words} ; ignore_errors=no ; pid=0 }}",
        "Environment": " ".join(f"{name}={value}" for name, value in state["environment"].items()),
        "WorkingDirectory": "",
    }
    sys.stdout.writelines(f"{name}={value}\n" for name, value in facts.items())


def _journal(folder: Path, unit: str) -> None:
    file = _log(folder, unit)
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines() if file.exists() else []
    for line in lines[-300:]:
        entry = {"__REALTIME_TIMESTAMP": str(int(time.time() * 1e6)), "MESSAGE": line, "PRIORITY": "6"}
        sys.stdout.write(json.dumps(entry) + "\n")


def main() -> None:
    """Be the tool: FOLDER NAME ARGUMENTS."""
    folder, tool, arguments = Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
    unit = next((word.removeprefix("--unit=") for word in arguments if word.endswith(".service")), "")
    if tool == "journalctl":
        _journal(folder, unit)
    elif "is-system-running" in arguments:
        sys.stdout.write("running\n")
    elif "show" in arguments:
        _show(folder, unit)
    else:
        if {"stop", "restart"} & set(arguments):
            _stop(folder, unit)
        if {"start", "restart"} & set(arguments):
            _start(folder, unit)


if __name__ == "__main__":
    main()
