"""What on this machine itself stands in the way: Docker, WSL, ROCm, proxies of the environment. Only what is there."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from quarterdeck.diagnosis.doctor.addresses import Address
from quarterdeck.diagnosis.doctor.findings import Found, failed, ok, short, warn
from quarterdeck.diagnosis.doctor.network import check_proxies

DOCKER_S = 10.0
GIB = 1024**3
_LEAST_DISK = 5 * GIB
_LEAST_DOCKER_DISK = 10 * GIB
_COMPOSE = (2, 23, 1)


class Outcome(NamedTuple):
    """How a command ended; `code` None: not within its time."""

    code: int | None
    output: str


Run = Callable[[Sequence[str], float], Awaitable[Outcome]]


async def run_command(arguments: Sequence[str], seconds: float) -> Outcome:
    """Both outputs together. A command that takes too long is killed."""
    process = await asyncio.create_subprocess_exec(
        *arguments, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(seconds):
            output, _ = await process.communicate()
        return Outcome(process.returncode, output.decode("utf-8", "replace"))
    except TimeoutError:
        return Outcome(None, "")
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


class Machine:
    """The machine as the checks see it; `root` stands for / and `find` finds programs."""

    def __init__(
        self,
        environment: Mapping[str, str],
        *,
        root: Path = Path("/"),
        run: Run = run_command,
        find: Callable[[str], str | None] = shutil.which,
    ) -> None:
        self.environment, self.root, self.run, self.find = environment, root, run, find

    @property
    def in_container(self) -> bool:
        return (self.root / ".dockerenv").exists() or (self.root / "run/.containerenv").exists()

    def text(self, path: str) -> str:
        """Empty where it cannot be read."""
        try:
            return (self.root / path).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""


async def check_machine(machine: Machine, proxies: Mapping[str, str]) -> AsyncGenerator[tuple[str, str, Found], None]:
    """Name, title and finding of each check that applies here."""
    yield "proxies", "Proxies", check_proxies(Address("http", "127.0.0.1", 8100), proxies)
    yield "disk", "Disk", await asyncio.to_thread(_disk, machine)
    if machine.find("docker"):
        async for each in _docker(machine):
            yield each
    if "microsoft" in (await asyncio.to_thread(machine.text, "proc/version")).lower():
        yield "wsl", "WSL", await asyncio.to_thread(_wsl, machine)
    if await asyncio.to_thread((machine.root / "dev/kfd").exists):
        yield "rocm", "ROCm", await asyncio.to_thread(_rocm, machine)


def _disk(machine: Machine) -> Found:
    home = Path(machine.environment.get("HOME", "/"))
    try:
        free = shutil.disk_usage(home).free
    except OSError:
        return warn("no_home", f"The home folder {home} cannot be read.", "Check that it exists and belongs to you.")
    if free < _LEAST_DISK:
        return warn(
            "disk_nearly_full",
            f"Only {free / GIB:.1f} GiB are free where {home} lies.",
            "Remove models that are no longer used, or keep them on another disk.",
        )
    return ok(f"{free / GIB:.0f} GiB are free in the home folder.")


async def _docker(machine: Machine) -> AsyncGenerator[tuple[str, str, Found], None]:
    outcome = await machine.run(["docker", "info", "--format", "{{json .}}"], DOCKER_S)
    facts = _facts(outcome)
    trouble = _docker_trouble(outcome, facts)
    if trouble:
        yield "docker", "Docker", trouble
        return
    yield "docker", "Docker", ok(f"Docker {facts.get('ServerVersion', '')} answers.")
    yield (
        "compose",
        "Docker Compose",
        _compose(await machine.run(["docker", "compose", "version", "--short"], DOCKER_S)),
    )
    yield "docker_disk", "Docker storage", await asyncio.to_thread(_docker_disk, facts)
    if machine.find("nvidia-smi"):
        yield "docker_gpu", "GPU in containers", _docker_gpu(facts, machine)
    if "selinux" in str(facts.get("SecurityOptions")):
        yield (
            "selinux",
            "SELinux",
            ok(
                "Docker keeps containers apart with SELinux.",
                "selinux",
                "A folder of this machine needs :z behind its volume to be readable inside.",
            ),
        )


def _facts(outcome: Outcome) -> dict[str, Any]:
    start = outcome.output.find("{")
    with contextlib.suppress(ValueError):
        found, _ = json.JSONDecoder().raw_decode(outcome.output[max(start, 0) :])
        if isinstance(found, dict):
            return found
    return {}


def _docker_trouble(outcome: Outcome, facts: dict[str, Any]) -> Found | None:
    """Four causes that look alike to people: no permission, not running, no answer, anything else.

    None is a failure: nothing may need containers here.
    """
    if outcome.code is None:
        return warn(
            "docker_timeout",
            f"Docker does not answer within {DOCKER_S:g} s.",
            "Restart it: sudo systemctl restart docker",
        )
    errors = " ".join(facts.get("ServerErrors") or []) or ("" if facts.get("ServerVersion") else outcome.output)
    if "permission denied" in errors.lower():
        return warn(
            "docker_permission",
            "Docker runs, and this account may not use it.",
            "sudo usermod -aG docker $USER, then log out and in again.",
        )
    if re.search(r"cannot connect|is the docker daemon running|failed to connect|no such file", errors, re.IGNORECASE):
        return warn(
            "docker_down",
            "Docker is installed and does not run.",
            "If you use containers, start it: sudo systemctl start docker",
        )
    if outcome.code or errors:
        return warn(
            "docker_failed",
            f"Docker reports a mistake: {short(errors or outcome.output)}",
            "Look at its log: journalctl -u docker",
        )
    return None


def _compose(outcome: Outcome) -> Found:
    if outcome.code != 0:
        return warn("compose_missing", "Docker has no “compose”.", "Install the package docker-compose-plugin.")
    version = tuple(int(number) for number in re.findall(r"\d+", outcome.output)[:3])
    said = ".".join(map(str, version))
    if version < _COMPOSE:
        return warn(
            "compose_old",
            f"Docker Compose is {said}; before {'.'.join(map(str, _COMPOSE))} it merges files in another way.",
            "Update the package docker-compose-plugin.",
        )
    return ok(f"Docker Compose is {said}.")


def _docker_disk(facts: dict[str, Any]) -> Found:
    folder = Path(str(facts.get("DockerRootDir") or "/var/lib/docker"))
    try:
        free = shutil.disk_usage(folder).free
    except OSError:
        return ok(f"The free space in {folder} cannot be seen from here.")
    if free < _LEAST_DOCKER_DISK:
        return warn(
            "docker_disk_nearly_full",
            f"Only {free / GIB:.1f} GiB are free in {folder}.",
            "See what takes it with: docker system df; remove what is unused with: docker system prune",
        )
    return ok(f"{free / GIB:.0f} GiB are free in {folder}.")


def _docker_gpu(facts: dict[str, Any], machine: Machine) -> Found:
    devices = any("nvidia" in str(device).lower() for device in facts.get("DiscoveredDevices") or [])
    if "nvidia" in (facts.get("Runtimes") or {}) or devices or machine.find("nvidia-ctk"):
        return ok("Containers can use the NVIDIA GPU.")
    return warn(
        "docker_no_gpu",
        "Containers cannot use the NVIDIA GPU: the toolkit for it is missing.",
        "Install nvidia-container-toolkit, run: sudo nvidia-ctk runtime configure, and restart Docker.",
    )


def _wsl(machine: Machine) -> Found:
    version = machine.text("proc/version")
    if "WSL2" not in version and "microsoft-standard" not in version:
        return failed(
            "wsl_1",
            "This is WSL 1, which has no GPU and no containers.",
            "In PowerShell: wsl --set-version DISTRIBUTION 2",
        )
    home = machine.environment.get("HOME", "")
    if re.match(r"/mnt/[a-z](/|$)", home):
        return warn(
            "wsl_windows_folder",
            f"The home folder {home} lies on a Windows disk, which is slow from WSL.",
            "Keep models and data inside WSL, such as in /home.",
        )
    if not (machine.root / "dev/dxg").exists():
        return warn(
            "wsl_no_gpu",
            "WSL 2 runs without a GPU.",
            "Install the newest graphics driver in Windows, then in PowerShell: wsl --update; wsl --shutdown",
        )
    return ok("WSL 2 with a GPU. Programs in Windows reach servers here under localhost.")


def _rocm(machine: Machine) -> Found:
    kfd = machine.root / "dev/kfd"
    if not os.access(kfd, os.R_OK | os.W_OK):
        return failed(
            "rocm_permission",
            "This account may not use the AMD GPU (/dev/kfd).",
            "sudo usermod -aG render,video $USER, then log out and in again.",
        )
    if not (machine.root / "opt/rocm").exists() and machine.find("rocminfo") is None:
        return warn(
            "rocm_incomplete",
            "The kernel offers the AMD GPU, and the ROCm programs are not installed.",
            "Install ROCm, or use engines that bring it along, such as Ollama or containers.",
        )
    return ok("The AMD GPU can be used, and ROCm is installed.")
