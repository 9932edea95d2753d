"""Docker, WSL and ROCm as they may be found; four causes why Docker does not answer are told apart."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from quarterdeck.diagnosis.doctor.doctor import Doctor
from quarterdeck.diagnosis.doctor.machine import GIB, Machine, Outcome, run_command
from quarterdeck.schemas.doctor import DoctorReport, StepState

INFO = {"ServerVersion": "28.2.2", "DockerRootDir": "/", "Runtimes": {"runc": {}, "nvidia": {}}, "SecurityOptions": []}


async def found(root: Path, **options: Any) -> dict[str, str]:
    """As `every`, without what this machine's disks have to do with."""
    told = await every(root, **options)
    return {name: code for name, code in told.items() if name not in ("disk", "docker_disk")}


async def every(
    root: Path,
    *,
    info: Outcome | None = None,
    compose: str = "2.30.0",
    programs: Sequence[str] = ("docker",),
    home: str = "",
) -> dict[str, str]:
    """The code of each step, empty where it is well."""

    async def run(arguments: Sequence[str], _seconds: float) -> Outcome:
        if arguments[1] == "info":
            return info or Outcome(0, json.dumps(INFO))
        return Outcome(0, compose) if compose else Outcome(1, "docker: 'compose' is not a docker command.")

    def find(name: str) -> str | None:
        return f"/usr/bin/{name}" if name in programs else None

    machine = Machine({"HOME": home or str(root)}, root=root, run=run, find=find)
    report = [step async for step in Doctor(machine=machine).examine_machine()][-1]
    assert isinstance(report, DoctorReport)
    return {step.name: step.code for step in report.steps}


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (Outcome(None, ""), "docker_timeout"),
        (Outcome(1, '{"ServerErrors":["permission denied while trying to connect"]}'), "docker_permission"),
        (Outcome(1, "Cannot connect to the Docker daemon. Is the docker daemon running?"), "docker_down"),
        (Outcome(0, '{"ServerErrors":["Cannot connect to the Docker daemon."]}'), "docker_down"),
        (Outcome(1, "some other mistake"), "docker_failed"),
    ],
)  # fmt: skip
async def test_why_docker_does_not_answer(tmp_path: Path, outcome: Outcome, code: str) -> None:
    assert await found(tmp_path, info=outcome) == {"proxies": "", "docker": code}


async def test_docker_that_nobody_started_is_no_failure(tmp_path: Path) -> None:
    async def down(_arguments: Sequence[str], _seconds: float) -> Outcome:
        return Outcome(1, "Cannot connect to the Docker daemon.")

    machine = Machine({"HOME": str(tmp_path)}, root=tmp_path, run=down, find=lambda name: name)
    report = [step async for step in Doctor(machine=machine).examine_machine()][-1]
    assert report.state is StepState.WARN


async def test_docker_as_it_should_be(tmp_path: Path) -> None:
    told = await found(tmp_path, programs=("docker", "nvidia-smi"))
    assert told == {"proxies": "", "docker": "", "compose": "", "docker_gpu": ""}


async def test_what_docker_lacks(tmp_path: Path) -> None:
    bare = Outcome(0, "WARNING: bridge\n" + json.dumps(INFO | {"Runtimes": {"runc": {}}}))
    told = await found(tmp_path, info=bare, compose="v2.20.2-desktop.1", programs=("docker", "nvidia-smi"))
    assert (told["compose"], told["docker_gpu"]) == ("compose_old", "docker_no_gpu")
    assert (await found(tmp_path, compose=""))["compose"] == "compose_missing"


async def test_nothing_is_said_of_what_is_not_there(tmp_path: Path) -> None:
    assert await found(tmp_path, programs=()) == {"proxies": ""}


@pytest.mark.parametrize(
    ("version", "gpu", "code"),
    [
        ("Linux version 4.4.0-19041-Microsoft", False, "wsl_1"),
        ("Linux version 5.15.90.1-microsoft-standard-WSL2", False, "wsl_no_gpu"),
        ("Linux version 5.15.90.1-microsoft-standard-WSL2", True, ""),
    ],
)
async def test_wsl(tmp_path: Path, version: str, gpu: bool, code: str) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/version").write_text(version)
    (tmp_path / "dev").mkdir()
    if gpu:
        (tmp_path / "dev/dxg").touch()
    assert (await found(tmp_path, programs=()))["wsl"] == code


async def test_rocm(tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/kfd").touch()
    assert (await found(tmp_path, programs=()))["rocm"] == "rocm_incomplete"
    assert (await found(tmp_path, programs=("rocminfo",)))["rocm"] == ""


async def test_a_command_that_hangs_is_ended() -> None:
    began = asyncio.get_running_loop().time()
    assert await run_command([sys.executable, "-c", "import time; time.sleep(60)"], 0.1) == Outcome(None, "")
    assert asyncio.get_running_loop().time() - began < 30
    assert await run_command([sys.executable, "-c", "print('here')"], 30) == Outcome(0, "here\n")


async def test_the_report_of_the_machine(tmp_path: Path) -> None:
    machine = Machine({"HOME": str(tmp_path)}, root=tmp_path, find=lambda _name: None)
    report = [step async for step in Doctor(machine=machine).examine_machine({"http_proxy": "set"})][-1]
    assert isinstance(report, DoctorReport)
    assert report.state is StepState.WARN
    assert report.target == "This machine"
    assert "NO_PROXY" in report.text


async def test_little_room_and_a_folder_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: SimpleNamespace(free=3 * GIB))
    told = await every(tmp_path)
    assert (told["disk"], told["docker_disk"]) == ("disk_nearly_full", "docker_disk_nearly_full")
    monkeypatch.undo()
    assert (await every(tmp_path, home="/no/such/home"))["disk"] == "no_home"


async def test_selinux_is_told(tmp_path: Path) -> None:
    secured = Outcome(0, json.dumps(INFO | {"SecurityOptions": ["name=selinux"]}))
    assert (await found(tmp_path, info=secured))["selinux"] == "selinux"


async def test_a_home_on_a_windows_disk(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/version").write_text("Linux version 5.15.90.1-microsoft-standard-WSL2")
    assert (await every(tmp_path, programs=(), home="/mnt/c/Users/me"))["wsl"] == "wsl_windows_folder"


async def test_an_amd_gpu_that_this_account_may_not_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/kfd").touch()
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)
    assert (await found(tmp_path, programs=()))["rocm"] == "rocm_permission"
