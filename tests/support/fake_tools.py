"""Stand-ins for systemctl, journalctl and docker that print what the real ones print; found by their folder."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

_SCRIPT = """#!/bin/sh
exec {python} -I -S {program} {folder} {name} "$@"
"""

_PROGRAM = """
import json, os, sys, time
folder, name, *arguments = sys.argv[1:]
with open(os.path.join(folder, "calls"), "a") as calls:
    calls.write(json.dumps([name, *arguments]) + "\\n")
answers = json.load(open(os.path.join(folder, name + ".json")))
for words, answer in answers:
    if all(word in arguments for word in words):
        if answer.get("touch"):
            open(os.path.join(folder, answer["touch"]), "w").close()
        time.sleep(answer.get("sleep", 0))
        sys.stdout.write(answer.get("stdout", ""))
        sys.stderr.write(answer.get("stderr", ""))
        sys.exit(answer.get("code", 0))
sys.stderr.write("unexpected: " + " ".join(arguments) + "\\n")
sys.exit(64)
"""

USER_BUS_MISSING = "Failed to connect to bus: No medium found\n"
DOCKER_IS_DOWN = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?\n"
DOCKER_IS_DENIED = (
    "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock: "
    'Get "http://%2Fvar%2Frun%2Fdocker.sock/v1.50/containers/json": dial unix /var/run/docker.sock: '
    "connect: permission denied\n"
)


class FakeTools:
    """`path` is a PATH on which the stand-ins are. `answer` says what one of them prints for arguments with `words`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = str(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self._program = folder / "program.py"
        self._program.write_text(_PROGRAM, encoding="utf-8")
        self._answers: dict[str, list[tuple[list[str], dict[str, Any]]]] = {}

    def answer(
        self, tool: str, *words: str, stdout: str = "", stderr: str = "", code: int = 0, sleep: float = 0
    ) -> None:
        """A later answer for the same words replaces the earlier one; the first that fits is given."""
        known = [each for each in self._answers.get(tool, []) if each[0] != list(words)]
        known.insert(0, (list(words), {"stdout": stdout, "stderr": stderr, "code": code, "sleep": sleep}))
        self._answers[tool] = known
        # In one step, because a tool may be reading it.
        fresh = self.folder / f"{tool}.new"
        fresh.write_text(json.dumps(known), encoding="utf-8")
        fresh.replace(self.folder / f"{tool}.json")
        script = self.folder / tool
        if not script.exists():
            parts = {"python": sys.executable, "program": self._program, "folder": self.folder, "name": tool}
            script.write_text(
                _SCRIPT.format(**{key: shlex.quote(str(part)) for key, part in parts.items()}), encoding="utf-8"
            )
            script.chmod(0o755)

    @property
    def calls(self) -> list[list[str]]:
        calls = self.folder / "calls"
        if not calls.exists():
            return []
        whole = calls.read_text(encoding="utf-8").rpartition("\n")[0]
        return [json.loads(line) for line in whole.splitlines()]

    def unit(self, name: str, **facts: object) -> None:
        """What `systemctl --user show` says of a unit."""
        known = {
            "LoadState": "loaded", "ActiveState": "inactive", "SubState": "dead", "MainPID": 0, "Result": "success",
            "ExecMainStatus": 0, "ActiveEnterTimestampMonotonic": 0, "InactiveEnterTimestampMonotonic": 0, **facts,
        }  # fmt: skip
        self.answer("systemctl", "show", name, stdout="".join(f"{key}={value}\n" for key, value in known.items()))

    def container(self, name: str, ports: str = "", id: str = "a" * 64, **state: object) -> None:
        """A container as `docker ps` and `docker inspect` print it."""
        known = {
            "Status": "running", "Running": True, "OOMKilled": False, "Pid": 4242, "ExitCode": 0, "Error": "",
            "StartedAt": "2026-11-20T08:00:00.123456789Z", "FinishedAt": "0001-01-01T00:00:00Z", **state,
        }  # fmt: skip
        listed = {"ID": id, "Names": name, "Image": "vllm/vllm-openai", "Ports": ports, "State": known["Status"]}
        self.answer("docker", "ps", stdout=json.dumps(listed) + "\n" if known["Status"] == "running" else "")
        self.answer("docker", "inspect", name, stdout=json.dumps(known) + "\n")
