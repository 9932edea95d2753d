"""The list of servers: found, added, looked at, started and stopped; systemctl and docker are played by stand-ins."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from fake_tools import DOCKER_IS_DOWN, FakeTools
from hypothesis import given
from hypothesis import strategies as st
from recorded_server import RecordedServer, Reply, models, recorded, reply, serve

from quarterdeck.backends.owners import Owners
from quarterdeck.errors import AppError
from quarterdeck.scheduling import server_actions, server_list, servers
from quarterdeck.scheduling.server_views import duration
from quarterdeck.scheduling.servers import Servers
from quarterdeck.schemas.backends import BackendKind, BackendState, BackendView, Owner, OwnerKind, ServerCreate
from quarterdeck.settings import Folders, Settings
from quarterdeck.storage.database import Database
from quarterdeck.storage.secrets import Secrets

RECORDINGS = Path(__file__).parents[1] / "backends" / "recorded_http"
OLLAMA = recorded(RECORDINGS / "ollama.txt")
VLLM = recorded(RECORDINGS / "vllm.txt")
NOBODY = "http://127.0.0.1:9"
RUNNING, STOPPED, UNKNOWN = BackendState.RUNNING, BackendState.STOPPED, BackendState.UNKNOWN
STARTING, STOPPING, FAILED = BackendState.STARTING, BackendState.STOPPING, BackendState.FAILED


class Bench:
    """A list of servers with a database of its own, and servers that can come and go."""

    def __init__(self, folder: Path) -> None:
        self.places = Folders(folder / "data", folder / "data")
        self.tools = FakeTools(folder / "tools")
        self.settings = Settings(ollama_url=NOBODY, litellm_url=NOBODY, probe_ports=[])
        self.own_ports: set[int] = set()
        self.told: list[tuple[str, BackendState | None]] = []
        self.watched = False
        self.running: dict[int, tuple[AsyncExitStack, RecordedServer]] = {}
        self.database = Database(self.places)
        self.database.open()

    async def open(self) -> Servers:
        secrets = Secrets(self.places)
        secrets.open()
        self.servers = Servers(
            self.database,
            secrets,
            settings=lambda: self.settings,
            owners=Owners(path=self.tools.path, proc=self.places.data / "proc"),
            own_ports=lambda: self.own_ports,
            watched=lambda: self.watched,
            on_change=self._changed,
        )
        await self.servers.open()
        return self.servers

    async def reopen(self) -> Servers:
        await self.servers.close()
        return await self.open()

    def set(self, **values: Any) -> None:
        self.settings = self.settings.model_copy(update=values)

    async def start(self, replies: dict[str, Reply], port: int = 0) -> RecordedServer:
        stack = AsyncExitStack()
        server = await stack.enter_async_context(serve(replies, port))
        self.running[server.port] = stack, server
        return server

    async def stop(self, server: RecordedServer) -> None:
        await self.running.pop(server.port)[0].aclose()

    def view(self, name: str) -> BackendView:
        return next(view for view in self.servers.views() if view.name == name)

    @property
    def names(self) -> list[str]:
        return [view.name for view in self.servers.views()]

    async def close(self) -> None:
        await self.servers.close()
        for stack, _ in self.running.values():
            await stack.aclose()
        self.database.close()

    def _changed(self, name: str, view: BackendView | None) -> None:
        self.told.append((name, view.state if view else None))


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path)
    await made.open()
    yield made
    await made.close()


async def refused(coroutine: Awaitable[object]) -> AppError:
    with pytest.raises(AppError) as caught:
        await coroutine
    return caught.value


async def test_what_answers_is_listed_by_what_it_is(bench: Bench) -> None:
    ollama, vllm, page = await bench.start(OLLAMA), await bench.start(VLLM), await bench.start({"/": reply("hello")})
    bench.set(probe_ports=[ollama.port, vllm.port, page.port])

    await bench.servers.refresh()

    assert bench.names == [f"ollama-{ollama.port}", f"vllm-{vllm.port}"]
    view = bench.view(f"vllm-{vllm.port}")
    assert (view.state, view.kind, view.version, view.models) == (RUNNING, "vllm", "0.32.0", ["smollm2"])
    assert (view.address, view.pid, view.title) == (vllm.url, os.getpid(), "vLLM")
    assert view.uptime_s is not None
    assert view.memory_bytes is not None
    assert (view.owner.kind, view.actions) == (OwnerKind.OTHER, [])
    assert {found.product for found in bench.servers.found()} == {"ollama", "vllm", "other"}


async def test_the_main_ones_have_their_plain_names_and_are_listed_while_they_answer(bench: Bench) -> None:
    ollama = await bench.start(OLLAMA)
    bench.set(ollama_url=ollama.url, probe_ports=[ollama.port])
    await bench.servers.refresh()
    assert bench.names == ["ollama"]

    await bench.stop(ollama)
    await bench.servers.refresh()

    assert bench.names == []
    assert bench.told == [("ollama", RUNNING), ("ollama", None)]


async def test_another_server_at_the_main_address_is_not_called_ollama(bench: Bench) -> None:
    vllm = await bench.start(VLLM)
    bench.set(ollama_url=vllm.url)

    await bench.servers.refresh()

    assert bench.names == [f"vllm-{vllm.port}"]


async def test_one_server_under_several_addresses_is_one(bench: Bench) -> None:
    ollama = await bench.start(OLLAMA)
    bench.set(
        ollama_url=f"127.0.0.1:{ollama.port}", ollama_urls=[f"http://localhost:{ollama.port}/"],
        server_urls=[f"http://localhost:{ollama.port}/v1"], probe_ports=[ollama.port],
    )  # fmt: skip

    await bench.servers.refresh()

    assert len(bench.names) == 1
    assert bench.servers.by_url(f"http://localhost:{ollama.port}") is not None


async def test_our_own_ports_are_not_looked_at(bench: Bench) -> None:
    ours = await bench.start(VLLM)
    bench.set(probe_ports=[ours.port], server_urls=[ours.url])
    bench.own_ports = {ours.port}

    await bench.servers.refresh()

    assert bench.names == []
    assert ours.asked == []
    assert (await refused(bench.servers.add(ServerCreate(url=ours.url)))).code in ("own_address", "server_known")


async def test_a_server_that_becomes_ours_leaves_the_list(bench: Bench) -> None:
    ollama = await bench.start(OLLAMA)
    bench.set(probe_ports=[ollama.port])
    await bench.servers.refresh()

    bench.own_ports = {ollama.port}
    await bench.servers.refresh()

    assert bench.names == []
    assert bench.told[-1] == (f"ollama-{ollama.port}", None)


async def test_servers_of_the_settings_are_listed_with_their_keys(bench: Bench, unused_tcp_port: int) -> None:
    keyed = await bench.start({"/v1/models": models("m")})
    bench.set(server_urls=[f"http://127.0.0.1:{unused_tcp_port}/v1", keyed.url], server_keys=["", "sk-second"])

    await bench.servers.refresh()

    assert bench.view(f"server-{unused_tcp_port}").state is STOPPED
    assert bench.view(f"server-{keyed.port}").models == ["m"]
    assert set(keyed.keys) == {"Bearer sk-second"}
    assert bench.servers.key_for(f"http://localhost:{keyed.port}") == "sk-second"
    assert bench.servers.key_for(f"http://127.0.0.1:{unused_tcp_port}") is None


async def test_configured_servers_are_listed_before_they_are_looked_at(bench: Bench) -> None:
    bench.set(server_urls=["http://127.0.0.1:8/v1"])

    await bench.reopen()

    assert [(view.name, view.state) for view in bench.servers.views()] == [("server-8", UNKNOWN)]


async def test_an_address_that_is_none_harms_nobody(bench: Bench) -> None:
    bench.set(server_urls=["not an address", "", "ftp://x"], ollama_urls=["http://[::"], probe_ports=[0, 99999, -1])

    await bench.servers.refresh()

    assert bench.names == []


async def test_adding_a_server_asks_what_it_is_and_keeps_it(bench: Bench) -> None:
    vllm = await bench.start(VLLM)

    view = await bench.servers.add(ServerCreate(url=f"{vllm.url}/v1/", api_key="sk-mine"))

    assert (view.name, view.kind, view.state) == (f"vllm-{vllm.port}", "vllm", RUNNING)
    assert view.actions == ["remove"]
    again = await bench.reopen()
    await again.refresh()
    assert bench.view(view.name).models == ["smollm2"]
    assert again.key_for(vllm.url) == "sk-mine"


async def test_a_server_that_is_down_can_be_added(bench: Bench, unused_tcp_port: int) -> None:
    url = f"http://127.0.0.1:{unused_tcp_port}"

    view = await bench.servers.add(ServerCreate(url=url, kind=BackendKind.VLLM, name="big box"))

    assert (view.name, view.state, view.kind, view.title) == ("big box", STOPPED, "vllm", "vLLM")
    assert view.detail is not None
    assert "Nothing listens" in view.detail
    unknown = await bench.servers.add(ServerCreate(url="http://127.0.0.1:9"))
    assert (unknown.name, unknown.kind, unknown.state) == ("server-9", "", STOPPED)


async def test_what_a_server_is_can_be_learnt_later(bench: Bench, unused_tcp_port: int) -> None:
    view = await bench.servers.add(ServerCreate(url=f"http://127.0.0.1:{unused_tcp_port}"))
    await bench.start(VLLM, unused_tcp_port)

    await bench.servers.refresh()

    assert (bench.view(view.name).kind, bench.view(view.name).state) == ("vllm", RUNNING)


async def test_what_cannot_be_added_is_refused_with_a_reason(bench: Bench) -> None:
    page, vllm = await bench.start({"/": reply("hello")}), await bench.start(VLLM)
    await bench.servers.add(ServerCreate(url=vllm.url, name="mine"))
    cases = {
        "bad_address": ServerCreate(url="http://"),
        "not_a_model_server": ServerCreate(url=page.url),
        "server_known": ServerCreate(url=f"localhost:{vllm.port}"),
        "name_taken": ServerCreate(url="http://127.0.0.1:9", name="mine"),
        "bad_owner": ServerCreate(url="http://127.0.0.1:9", owner=Owner(kind=OwnerKind.SYSTEMD, name="a b")),
        "tool_missing": ServerCreate(url="http://127.0.0.1:9", owner=Owner(kind=OwnerKind.DOCKER, name="x")),
    }

    for code, new in cases.items():
        assert (await refused(bench.servers.add(new))).code == code
    assert (await refused(bench.servers.add(ServerCreate(url=NOBODY, name="vllm")))).code == "name_taken"
    assert bench.names == ["mine"]


async def test_a_server_is_believed_to_be_what_a_person_says(bench: Bench) -> None:
    page = await bench.start({"/": reply("hello")})

    view = await bench.servers.add(ServerCreate(url=page.url, kind=BackendKind.OPENAI_COMPATIBLE))

    assert (view.kind, view.state) == ("openai-compatible", UNKNOWN)


async def test_removing(bench: Bench, unused_tcp_port: int) -> None:
    vllm = await bench.start(VLLM)
    bench.set(probe_ports=[vllm.port], server_urls=["http://127.0.0.1:8"])
    await bench.servers.add(ServerCreate(url=f"http://127.0.0.1:{unused_tcp_port}", name="gone", api_key="k"))
    await bench.servers.refresh()

    await bench.servers.remove("gone")

    assert bench.names == ["server-8", f"vllm-{vllm.port}"]
    assert bench.servers.key_for(f"http://127.0.0.1:{unused_tcp_port}") is None
    assert (await refused(bench.servers.remove("server-8"))).code == "not_added"
    assert (await refused(bench.servers.remove(f"vllm-{vllm.port}"))).code == "not_added"
    assert (await refused(bench.servers.remove("never"))).code == "unknown_backend"


async def test_one_that_was_found_and_added_is_found_again_when_it_is_removed(bench: Bench) -> None:
    vllm = await bench.start(VLLM)
    bench.set(probe_ports=[vllm.port])
    await bench.servers.refresh()
    view = await bench.servers.add(ServerCreate(url=vllm.url))

    await bench.servers.remove(view.name)

    assert bench.names == [f"vllm-{vllm.port}"]
    assert bench.view(view.name).actions == []


async def test_a_port_with_another_server_than_before(bench: Bench) -> None:
    first = await bench.start(OLLAMA)
    bench.set(probe_ports=[first.port])
    await bench.servers.refresh()
    await bench.stop(first)
    await bench.start(VLLM, first.port)

    await bench.servers.refresh()

    assert bench.names == [f"vllm-{first.port}"]


async def test_a_server_too_busy_to_answer_keeps_its_place(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quarterdeck.backends.answers.LIMIT_SECONDS", 0.2)
    vllm = await bench.start(VLLM)
    bench.set(probe_ports=[vllm.port])
    await bench.servers.refresh()
    vllm.silent = True

    await bench.servers.refresh()

    view = bench.view(f"vllm-{vllm.port}")
    assert (view.state, view.title, view.models) == (UNKNOWN, "vLLM", ["smollm2"])


async def test_nothing_is_told_when_nothing_changed(bench: Bench) -> None:
    vllm = await bench.start(VLLM)
    bench.set(probe_ports=[vllm.port])
    for _ in range(3):
        await bench.servers.refresh()

    assert bench.told == [(f"vllm-{vllm.port}", RUNNING)]


async def test_ports_that_refused_rest_unless_somebody_asks(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = await bench.start(VLLM)
    bench.set(probe_ports=[gone.port])
    await bench.stop(gone)
    await bench.servers.refresh()
    back = await bench.start(VLLM, gone.port)

    await bench.servers.refresh(automatic=True)
    assert back.asked == []
    await bench.servers.refresh()
    assert bench.names == [f"vllm-{back.port}"]


async def test_the_list_refreshes_itself_only_while_somebody_looks(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "REFRESH_SECONDS", 0.01)
    vllm = await bench.start(VLLM)
    bench.set(probe_ports=[vllm.port])
    await bench.reopen()
    await asyncio.sleep(0.1)
    assert vllm.asked == []

    bench.watched = True

    async with asyncio.timeout(10):
        while not bench.names:
            await asyncio.sleep(0.01)


UNIT = "vllm.service"


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


@pytest.mark.parametrize(
    ("product", "url", "name"),
    [
        ("vllm", "http://127.0.0.1:8001", "vllm-8001"),
        ("ollama", "http://nas:11434", "ollama-nas"),
        ("ollama", "http://nas:9000", "ollama-nas-9000"),
        ("server", "https://api.openai.com", "api.openai.com"),
        ("server", "http://[fe80::1]:8000", "fe80-1-8000"),
    ],
)
def test_names_of_servers(product: str, url: str, name: str) -> None:
    assert server_list.server_name(product, url) == name


@given(st.floats(min_value=0, max_value=1e9))
def test_lengths_of_time_read_well(seconds: float) -> None:
    assert duration(seconds)
    assert duration(40) == "40 s"
    assert duration(169 * 60) == "2 h 49 min"
    assert duration(76 * 3600) == "3 d 4 h"


@given(st.lists(st.sampled_from(["a", "a-2", "b", "a-3"])), st.sampled_from(["a", "b"]))
def test_a_name_is_given_once(taken: list[str], name: str) -> None:
    assert server_list.unused(name, taken) not in taken
