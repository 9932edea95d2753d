"""Servers that systemd or Docker start and stop, and those of somebody else."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from fake_tools import DOCKER_IS_DOWN
from recorded_server import RecordedServer
from servers_bench import FAILED, NOBODY, RUNNING, STARTING, STOPPED, STOPPING, VLLM, Bench, refused

from quarterdeck.scheduling import server_actions
from quarterdeck.schemas.backends import BackendKind, Owner, OwnerKind, ServerCreate

UNIT = "vllm.service"


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path)
    await made.open()
    yield made
    await made.close()


class Service:
    """A server in a unit: systemctl start and stop really start and stop the recorded server."""

    def __init__(self, bench: Bench, port: int) -> None:
        self.bench = bench
        self.port = port
        self.server: RecordedServer | None = None
        self.mode = ""

    async def run(self) -> None:
        """Does what the stand-in for systemctl was asked to do."""
        done = 0
        while True:
            calls = self.bench.tools.calls
            for call in calls[done:]:
                await self._do(call)
            done = len(calls)
            await asyncio.sleep(0.01)

    async def _do(self, call: list[str]) -> None:
        if "start" in call and self.mode != "fails":
            self.server = await self.bench.start(VLLM, self.port)
            self.bench.tools.unit(UNIT, ActiveState="active", MainPID=os.getpid())
        if "stop" in call and self.server is not None:
            await self.bench.stop(self.server)
            self.server = None
            self.bench.tools.unit(UNIT, InactiveEnterTimestampMonotonic=1)


@pytest.fixture
async def service(bench: Bench, unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Service]:
    monkeypatch.setattr(server_actions, "LONGEST_WAIT_SECONDS", 0.1)
    for action in ("start", "stop", "restart"):
        bench.tools.answer("systemctl", action)
    bench.tools.unit(UNIT)
    made = Service(bench, unused_tcp_port)
    running = asyncio.ensure_future(made.run())
    owner = Owner(kind=OwnerKind.SYSTEMD, name=UNIT)
    await bench.servers.add(
        ServerCreate(url=f"http://127.0.0.1:{unused_tcp_port}", name="v", kind=BackendKind.VLLM, owner=owner)
    )
    yield made
    running.cancel()


async def test_a_unit_is_started_and_stopped_and_the_server_agrees(bench: Bench, service: Service) -> None:
    assert (bench.view("v").state, bench.view("v").actions) == (STOPPED, ["start", "remove"])
    bench.tools.unit(UNIT, ActiveState="activating")

    started = await bench.servers.act("v", "start")
    assert (started.state, started.models, started.actions) == (RUNNING, ["smollm2"], ["stop", "restart", "remove"])
    stopped = await bench.servers.act("v", "stop")

    assert (stopped.state, stopped.actions, stopped.models) == (STOPPED, ["start", "remove"], [])
    assert stopped.detail is not None
    assert stopped.detail.startswith(f"The unit {UNIT} ended ")
    assert [state for name, state in bench.told if name == "v"] == [
        STOPPED, STARTING, RUNNING, STOPPING, STOPPED,
    ]  # fmt: skip


async def test_a_unit_that_does_not_come_up_says_why(bench: Bench, service: Service) -> None:
    service.mode = "fails"
    bench.tools.unit(UNIT, ActiveState="failed", Result="exit-code", ExecMainStatus=1)
    bench.tools.answer(
        "journalctl", f"--unit={UNIT}",
        stdout='{"__REALTIME_TIMESTAMP": "1795226356000000", "MESSAGE": "CUDA out of memory", "PRIORITY": "3"}\n',
    )  # fmt: skip

    error = await refused(bench.servers.act("v", "start"))

    assert error.code == "server_not_ready"
    assert f"{UNIT} failed: it ended with exit code 1." in error.sentence
    assert "CUDA out of memory" in error.hint
    view = bench.view("v")
    assert (view.state, view.last_error) == (FAILED, error.sentence)
    assert [line.text for line in await bench.servers.logs("v", 10)] == ["CUDA out of memory"]


async def test_only_one_thing_at_a_time(bench: Bench, service: Service) -> None:
    bench.tools.answer("systemctl", "start", sleep=0.5)
    bench.tools.unit(UNIT, ActiveState="activating")
    starting = asyncio.ensure_future(bench.servers.act("v", "start"))
    while bench.view("v").state is not STARTING:
        await asyncio.sleep(0)

    assert bench.view("v").actions == []
    assert (await refused(bench.servers.act("v", "stop"))).code == "server_busy"
    assert (await refused(bench.servers.remove("v"))).code == "server_busy"
    await bench.servers.refresh()
    assert bench.view("v").state is STARTING
    await starting


async def test_a_unit_that_runs_before_its_server_answers_is_starting(bench: Bench, service: Service) -> None:
    bench.tools.unit(UNIT, ActiveState="active", MainPID=1)

    await bench.servers.refresh()

    assert (bench.view("v").state, bench.view("v").actions) == (STARTING, ["stop", "restart", "remove"])


async def test_a_tool_that_cannot_be_asked_is_said_and_forgotten(bench: Bench, service: Service) -> None:
    bench.tools.answer("systemctl", "show", UNIT, stderr="Failed to connect to bus: No medium found\n", code=1)
    await bench.servers.refresh()
    assert bench.view("v").last_error == "There is no systemd session of this user."

    bench.tools.unit(UNIT)
    await bench.servers.refresh()

    assert bench.view("v").last_error is None


async def test_guests_do_not_start_or_stop(bench: Bench) -> None:
    vllm = await bench.start(VLLM)
    bench.set(probe_ports=[vllm.port])
    await bench.servers.refresh()
    name = bench.names[0]

    for action in ("start", "stop", "restart"):
        assert (await refused(bench.servers.act(name, action))).code == "not_ours"
    assert (await refused(bench.servers.logs(name, 10))).code == "no_log"


async def test_a_container_that_was_found_and_stopped_stays_in_the_list(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nobody is seen to listen, as with a container of the system's Docker.
    monkeypatch.setattr("quarterdeck.scheduling.server_owners.listeners", lambda _ports: {})
    vllm = await bench.start(VLLM)
    bench.set(probe_ports=[vllm.port])
    bench.tools.container("vllm", f"0.0.0.0:{vllm.port}->8000/tcp")
    await bench.servers.refresh()
    view = bench.view(f"vllm-{vllm.port}")
    assert (view.owner, view.actions) == (Owner(kind=OwnerKind.DOCKER, name="vllm"), ["stop", "restart"])
    assert view.pid == 4242

    bench.tools.answer("docker", "stop")
    stopping = asyncio.ensure_future(bench.servers.act(view.name, "stop"))
    while not any("stop" in call for call in bench.tools.calls):
        await asyncio.sleep(0.01)
    bench.tools.container("vllm", Status="exited", ExitCode=137, FinishedAt="2026-11-20T09:00:00Z")
    await bench.stop(vllm)
    stopped = await stopping

    assert (stopped.state, stopped.actions) == (STOPPED, ["start", "remove"])
    await (await bench.reopen()).refresh()
    assert bench.view(view.name).owner == Owner(kind=OwnerKind.DOCKER, name="vllm")


async def test_a_docker_that_stops_answering_does_not_lose_the_server(bench: Bench) -> None:
    bench.tools.container("vllm", Status="exited")
    owner = Owner(kind=OwnerKind.DOCKER, name="vllm")
    await bench.servers.add(ServerCreate(url=NOBODY, name="v", kind=BackendKind.VLLM, owner=owner))
    bench.tools.answer("docker", "inspect", "vllm", stderr=DOCKER_IS_DOWN, code=1)

    await bench.servers.refresh()

    assert bench.view("v").last_error == "Docker is installed, but it does not run."
    assert (await refused(bench.servers.act("v", "start"))).code in ("no_docker", "docker_failed")
    assert bench.view("v").state is STOPPED
