"""Who owns a server, and acting through systemd and Docker, whose tools are played by stand-ins."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from fake_tools import DOCKER_IS_DENIED, DOCKER_IS_DOWN, USER_BUS_MISSING, FakeTools
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.backends import listeners, tools
from quarterdeck.backends.docker_container import published_ports
from quarterdeck.backends.listeners import Listener
from quarterdeck.backends.owners import Owners, owner_by_control_group
from quarterdeck.errors import AppError
from quarterdeck.schemas.backends import Owner, OwnerKind

UNIT = Owner(kind=OwnerKind.SYSTEMD, name="litellm.service")
CONTAINER = Owner(kind=OwnerKind.DOCKER, name="vllm")
UID = os.getuid()


@pytest.fixture
def fakes(tmp_path: Path) -> FakeTools:
    return FakeTools(tmp_path / "tools")


@pytest.fixture
def owners(fakes: FakeTools, tmp_path: Path) -> Owners:
    return Owners(path=fakes.path, proc=tmp_path / "proc")


async def refused(owners: Owners, owner: Owner, action: str = "start", timeout: float = 5) -> AppError:
    with pytest.raises(AppError) as caught:
        await owners.act(owner, action, timeout=timeout)
    return caught.value


async def test_a_running_unit(owners: Owners, fakes: FakeTools) -> None:
    began = int((time.clock_gettime(time.CLOCK_MONOTONIC) - 60) * 1e6)
    fakes.unit("litellm.service", ActiveState="active", SubState="running", MainPID=77,
               ActiveEnterTimestampMonotonic=began)  # fmt: skip

    status = await owners.status(UNIT)

    assert status is not None
    assert (status.running, status.failed, status.pid, status.error) == (True, False, 77, None)
    assert status.running_s == pytest.approx(60, abs=30)


async def test_a_unit_that_failed_says_how(owners: Owners, fakes: FakeTools) -> None:
    fakes.unit("litellm.service", ActiveState="failed", SubState="failed", Result="exit-code", ExecMainStatus=3,
               InactiveEnterTimestampMonotonic=1)  # fmt: skip

    status = await owners.status(UNIT)

    assert status is not None
    assert (status.running, status.failed) == (False, True)
    assert status.error == "litellm.service failed: it ended with exit code 3."
    assert status.stopped_s is not None


@pytest.mark.parametrize("action", ["start", "stop", "restart"])
async def test_a_unit_is_asked_by_an_argument_list(owners: Owners, fakes: FakeTools, action: str) -> None:
    fakes.answer("systemctl", action, "litellm.service")

    await owners.act(UNIT, action, timeout=5)

    assert fakes.calls == [["systemctl", "--user", action, "--", "litellm.service"]]


async def test_a_unit_without_its_ending(owners: Owners, fakes: FakeTools) -> None:
    fakes.answer("systemctl", "start", "litellm.service")

    await owners.act(Owner(kind=OwnerKind.SYSTEMD, name="litellm"), "start", timeout=5)

    assert fakes.calls[0][-1] == "litellm.service"


@pytest.mark.parametrize(
    ("stderr", "code"),
    [
        ("Failed to start litellm.service: Unit litellm.service not found.\n", "unknown_unit"),
        (USER_BUS_MISSING, "no_systemd"),
        (
            "Job for litellm.service failed because the control process exited with error code.\n"
            'See "systemctl --user status litellm.service" for details.\n',
            "unit_failed",
        ),
    ],
)
async def test_what_systemd_refuses_is_explained(owners: Owners, fakes: FakeTools, stderr: str, code: str) -> None:
    fakes.answer("systemctl", "start", stderr=stderr, code=1)

    error = await refused(owners, UNIT)

    assert error.code == code
    assert error.hint


async def test_systemd_is_hidden_where_there_is_no_session(owners: Owners, fakes: FakeTools) -> None:
    assert not await owners.systemd_available(), "no systemctl at all"
    fakes.answer("systemctl", "is-system-running", stderr=USER_BUS_MISSING, code=1)
    assert not await owners.systemd_available()
    fakes.answer("systemctl", "is-system-running", stdout="degraded\n", code=1)
    assert await owners.systemd_available()


async def test_the_journal_of_a_unit(owners: Owners, fakes: FakeTools) -> None:
    garbled = [69, 114, 195, 40, 27, 91, 51, 49, 109]
    entries = [
        {"__REALTIME_TIMESTAMP": "1795226356000000", "MESSAGE": "started", "PRIORITY": "6"},
        {"__REALTIME_TIMESTAMP": "1795226357000000", "MESSAGE": garbled, "PRIORITY": "3"},
        {"__REALTIME_TIMESTAMP": "1795226358000000", "MESSAGE": None, "PRIORITY": "6"},
    ]  # fmt: skip
    text = "".join(json.dumps(entry) + "\n" for entry in entries) + "not a journal line\n"
    fakes.answer("journalctl", "--unit=litellm.service", "--lines=50", stdout=text)

    lines = await owners.logs(UNIT, 50)

    assert [(line.text, line.level) for line in lines[:2]] == [("started", "info"), ("Er\ufffd(", "error")]
    assert lines[0].at.year == 2026
    assert "--user" in fakes.calls[0]
    assert await owners.logs(UNIT, 0) == []


async def test_a_tool_that_hangs_is_ended(owners: Owners, fakes: FakeTools) -> None:
    fakes.answer("systemctl", "stop", sleep=60)

    began = time.monotonic()
    error = await refused(owners, UNIT, "stop", timeout=0.2)

    assert error.code == "tool_timeout"
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("name", ["-rf", "a b", "a;b", "", "$(id)", "a/b", "x" * 300])
async def test_what_is_no_name_reaches_no_tool(owners: Owners, fakes: FakeTools, name: str) -> None:
    for tool in ("systemctl", "docker"):
        fakes.answer(tool)
    for kind in (OwnerKind.SYSTEMD, OwnerKind.DOCKER):
        assert (await refused(owners, Owner(kind=kind, name=name))).code == "bad_owner"

    assert fakes.calls == []


async def test_a_running_container(owners: Owners, fakes: FakeTools) -> None:
    fakes.container("vllm", "0.0.0.0:8001->8000/tcp")

    status = await owners.status(CONTAINER)

    assert status is not None
    assert (status.running, status.pid, status.failed) == (True, 4242, False)
    assert status.running_s is not None
    assert status.running_s > 0


@pytest.mark.parametrize(
    ("state", "error"),
    [
        ({"Status": "exited", "ExitCode": 1}, "The container vllm ended with exit code 1."),
        ({"Status": "exited", "ExitCode": 137, "OOMKilled": True},
         "The container vllm was ended because memory ran out."),
        ({"Status": "created", "ExitCode": 128, "Error": "no GPU"}, "The container vllm failed: no GPU"),
        ({"Status": "exited", "ExitCode": 137}, None),
        ({"Status": "exited", "ExitCode": 0}, None),
    ],
)  # fmt: skip
async def test_a_container_that_ended(
    owners: Owners, fakes: FakeTools, state: dict[str, object], error: str | None
) -> None:
    fakes.container("vllm", **{"Running": False, "Pid": 0, "FinishedAt": "2026-11-20T09:00:00Z", **state})

    status = await owners.status(CONTAINER)

    assert status is not None
    assert (status.running, status.pid, status.error) == (False, None, error)
    assert status.stopped_s is not None


@pytest.mark.parametrize(
    ("stderr", "code"),
    [
        (DOCKER_IS_DOWN, "no_docker"),
        (DOCKER_IS_DENIED, "docker_denied"),
        ("Error response from daemon: No such container: vllm\n", "unknown_container"),
        ("Error response from daemon: driver failed programming external connectivity: port is already allocated\n",
         "docker_failed"),
    ],
)  # fmt: skip
async def test_what_docker_refuses_is_explained(owners: Owners, fakes: FakeTools, stderr: str, code: str) -> None:
    fakes.answer("docker", "start", stderr=stderr, code=1)

    error = await refused(owners, CONTAINER)

    assert error.code == code
    assert error.hint
    assert fakes.calls == [["docker", "container", "start", "--", "vllm"]]


async def test_docker_that_is_not_installed(owners: Owners) -> None:
    assert (await refused(owners, CONTAINER)).code == "tool_missing"


@pytest.mark.skipif(shutil.which("docker") is None, reason="no docker here: its real words of refusal are not tested")
async def test_the_real_docker_without_its_daemon() -> None:
    with pytest.raises(AppError) as caught:
        await Owners().status(Owner(kind=OwnerKind.DOCKER, name="quarterdeck-has-no-such-container"))

    assert caught.value.code in ("no_docker", "docker_denied", "unknown_container")


async def test_the_log_of_a_container_in_order(owners: Owners, fakes: FakeTools) -> None:
    fakes.answer(
        "docker", "logs",
        stdout="2026-11-20T08:00:02.000000001Z second\n2026-11-20T08:00:04Z WARNING fourth\n",
        stderr="2026-11-20T08:00:01.5Z first\n2026-11-20T08:00:03Z third\n",
    )  # fmt: skip

    lines = await owners.logs(CONTAINER, 3)

    assert [(line.number, line.text, line.level) for line in lines] == [
        (1, "second", "info"), (2, "third", "info"), (3, "WARNING fourth", "warning"),
    ]  # fmt: skip


async def test_of_others_we_are_guests(owners: Owners) -> None:
    nobody = Owner(kind=OwnerKind.OTHER)
    system = Owner(kind=OwnerKind.OTHER, name="ollama.service")

    assert (await refused(owners, nobody)).code == "not_ours"
    assert "ollama.service" in (await refused(owners, system)).sentence
    assert await owners.status(nobody) is None
    with pytest.raises(AppError) as caught:
        await owners.logs(nobody, 10)
    assert caught.value.code == "no_log"
    assert (await refused(owners, UNIT, "obliterate")).code == "bad_action"


USER = f"/user.slice/user-{UID}.slice/user@{UID}.service"


@pytest.mark.parametrize(
    ("path", "owner"),
    [
        (f"{USER}/app.slice/ollama.service", Owner(kind=OwnerKind.SYSTEMD, name="ollama.service")),
        (f"{USER}/app.slice/app-vllm.slice/vllm@one.service", Owner(kind=OwnerKind.SYSTEMD, name="vllm@one.service")),
        (f"{USER}/app.slice/app-org.kde.konsole-99.scope", Owner(kind=OwnerKind.OTHER)),
        (f"{USER}/app.slice/app-org.kde.konsole@8f3b1c.service", Owner(kind=OwnerKind.OTHER)),
        (f"{USER}/init.scope", Owner(kind=OwnerKind.OTHER)),
        (f"/user.slice/user-{UID + 1}.slice/user@{UID + 1}.service/app.slice/x.service", Owner(kind=OwnerKind.OTHER)),
        ("/system.slice/ollama.service", Owner(kind=OwnerKind.OTHER, name="ollama.service")),
        (f"/user.slice/user-{UID}.slice/session-2.scope", Owner(kind=OwnerKind.OTHER)),
        ("/", Owner(kind=OwnerKind.OTHER)),
        ("", Owner(kind=OwnerKind.OTHER)),
    ],
)
def test_the_control_group_names_the_unit(path: str, owner: Owner) -> None:
    assert owner_by_control_group(path) == owner


ID = "3f" * 32


@pytest.mark.parametrize(
    "lines",
    [
        f"0::/system.slice/docker-{ID}.scope\n",
        f"12:pids:/docker/{ID}\n1:name=systemd:/docker/{ID}\n0::/\n",
        f"0::{USER}/app.slice/docker.service/docker-{ID}.scope\n",
    ],
)
async def test_a_container_is_found_by_the_control_group_of_its_process(
    owners: Owners, fakes: FakeTools, tmp_path: Path, lines: str
) -> None:
    fakes.container("vllm", "0.0.0.0:8001->8000/tcp", id=ID)
    described = tmp_path / "proc" / "4242"
    described.mkdir(parents=True)
    (described / "cgroup").write_text(lines, encoding="ascii")

    found = await owners.find({8000: Listener(4242, 1.0, "python3")})

    assert found == {8000: CONTAINER}


@pytest.mark.parametrize("case", ["service", "terminal", "our own unit"])
async def test_a_unit_in_which_more_runs_than_the_server_is_left_alone(
    owners: Owners, tmp_path: Path, case: str
) -> None:
    for pid in (4242, os.getpid() if case == "our own unit" else 1):
        described = tmp_path / "proc" / str(pid)
        described.mkdir(parents=True)
        (described / "cgroup").write_text(f"0::{USER}/app.slice/tmux.service\n", encoding="ascii")

    found = await owners.find({8000: Listener(4242, 1.0, "python3", interactive=case == "terminal")})

    unit = Owner(kind=OwnerKind.SYSTEMD, name="tmux.service")
    assert found == {8000: unit if case == "service" else Owner(kind=OwnerKind.OTHER)}


def test_a_server_started_in_a_terminal_is_recognised() -> None:
    serve = (
        "import socket; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); s.accept()"
    )
    spawn = f"import pty, sys; pty.spawn([sys.executable, '-I', '-S', '-c', {serve!r}])"
    with subprocess.Popen(
        [sys.executable, "-c", spawn], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stdout is not None
        try:
            port = int(process.stdout.readline())
            assert listeners.listeners([port])[port].interactive
        finally:
            os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.skipif(shutil.which("systemctl") is None, reason="no systemd here: its real words are not tested")
async def test_the_real_systemd_and_a_unit_that_is_none() -> None:
    with pytest.raises(AppError) as caught:
        await Owners().status(Owner(kind=OwnerKind.SYSTEMD, name="quarterdeck-has-no-such-unit.service"))

    assert caught.value.code in ("no_systemd", "unknown_unit")


async def test_a_unit_that_systemd_does_not_know(owners: Owners, fakes: FakeTools) -> None:
    fakes.unit("litellm.service", LoadState="not-found")

    with pytest.raises(AppError) as caught:
        await owners.status(UNIT)

    assert caught.value.code == "unknown_unit"


async def test_a_container_is_found_by_its_published_port(owners: Owners, fakes: FakeTools) -> None:
    fakes.container("vllm", "0.0.0.0:8001->8000/tcp, [::]:8001->8000/tcp")

    found = await owners.find({8001: None, 8002: None, 8003: Listener(1, 1.0, "docker-proxy")})

    assert found[8001] == CONTAINER
    assert found[8002] == found[8003] == Owner(kind=OwnerKind.OTHER)


async def test_a_docker_that_cannot_be_asked_owns_nothing(owners: Owners, fakes: FakeTools) -> None:
    fakes.answer("docker", "ps", stderr=DOCKER_IS_DENIED, code=1)

    assert await owners.find({8001: None}) == {8001: Owner(kind=OwnerKind.OTHER)}


async def test_our_own_processes_and_their_children_are_ours(fakes: FakeTools) -> None:
    parent = psutil.Process().parent()
    assert parent is not None
    owners = Owners(own_pids=lambda: {parent.pid}, path=fakes.path)

    found = await owners.find({1: Listener(os.getpid(), psutil.Process().create_time(), "python")})

    assert found == {1: Owner(kind=OwnerKind.QUARTERDECK)}


def test_published_ports_in_the_words_of_docker() -> None:
    said = "0.0.0.0:8001->8000/tcp, [::]:8001->8000/tcp, 9000/tcp, 127.0.0.1:7000-7002->70-72/udp, :::5000->5000/tcp"

    assert published_ports(said) == {8001, 7000, 7001, 7002, 5000}


@given(st.text(max_size=60))
def test_no_text_breaks_the_reading_of_ports(text: str) -> None:
    published_ports(text)
    owner_by_control_group(text)


def test_who_listens_on_a_port() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = listening.getsockname()[1]

        found = listeners.listeners([port, 1])

        assert found[port].pid == os.getpid()
        assert 1 not in found
        create_time = psutil.Process().create_time()
        assert listeners.listens(os.getpid(), create_time, port)
        assert not listeners.listens(os.getpid(), create_time + 5, port), "a later process with the same pid"
        with subprocess.Popen(["sleep", "60"]) as other:
            assert not listeners.listens(other.pid, psutil.Process(other.pid).create_time(), port), "somebody else's"
            other.kill()
    assert not listeners.listens(os.getpid(), create_time, port), "the right process, another port"


def test_a_system_that_does_not_tell_of_all_processes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(**_: object) -> None:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil, "net_connections", denied)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = listening.getsockname()[1]

        assert listeners.listeners([port])[port].pid == os.getpid()


def test_keys_are_not_shown_in_command_lines() -> None:
    shown = listeners.masked(["vllm", "serve", "--api-key", "sekret", "--port", "1", "--hf-token=abc", "--api-key=x y"])

    assert shown == "vllm serve --api-key … --port 1 --hf-token=… --api-key=…"


async def test_the_run_time_folder_of_the_user_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/somewhere")

    assert tools._environment()["XDG_RUNTIME_DIR"] == "/somewhere"
