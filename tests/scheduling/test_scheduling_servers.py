"""The list of servers: found, added, looked at, removed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded_server import models, reply
from servers_bench import NOBODY, OLLAMA, RUNNING, STOPPED, UNKNOWN, VLLM, Bench, refused

from quarterdeck.scheduling import server_list, servers
from quarterdeck.schemas.backends import BackendKind, Owner, OwnerKind, ServerCreate
from quarterdeck.schemas.lengths import duration


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path)
    await made.open()
    yield made
    await made.close()


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
