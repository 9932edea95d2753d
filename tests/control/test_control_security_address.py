"""Where clients may be served: beyond this machine only with keys, moved without a gap, left alone when it fails."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
from access_room import AccessRoom, access_room, bearer
from guarded import Guarded, parsed

from quarterdeck.control.address import PublicAddress
from quarterdeck.control.security import Guard
from quarterdeck.errors import AppError
from quarterdeck.settings import Settings


class Served(Guarded):
    """The guard behind an address that can be moved."""

    def __init__(self, room: AccessRoom) -> None:
        super().__init__(room)
        self.address = PublicAddress(Guard(self.app, access=room.access, settings=lambda: room.settings))

    async def open(self, host: str, port: int) -> None:
        await self.address.open(Settings(host=host, port=port), keyed=self.room.keys.exist)
        assert self.address.url is not None
        self.port = int(self.address.url.rpartition(":")[2])


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    with access_room(tmp_path) as room:
        made = Served(room)
        try:
            yield made
        finally:
            await made.address.close()


async def _from(address: str, port: int, headers: dict[str, str]) -> int:
    """The status of a request to `address`, asked for by that address."""
    reader, writer = await asyncio.open_connection(address, port)
    host = f"[{address}]" if ":" in address else address
    head = "".join(f"{name}: {value}\r\n" for name, value in {"Host": f"{host}:{port}", **headers}.items())
    writer.write(f"GET /v1/models HTTP/1.1\r\nConnection: close\r\n{head}\r\n".encode())
    answer = await reader.read()
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    return parsed(answer).status


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _outer_address() -> str | None:
    """An address of this machine that is not loopback."""
    for addresses in psutil.net_if_addrs().values():
        for each in addresses:
            if each.family == socket.AF_INET and not each.address.startswith("127."):
                return str(each.address)
    return None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org", ""])
async def test_beyond_this_machine_only_with_a_key(served: Served, host: str) -> None:
    with pytest.raises(AppError) as refusal:
        await served.open(host, 0)
    assert refusal.value.code == "not_loopback"
    assert "API key" in refusal.value.sentence
    assert "quarterdeck keys add" in refusal.value.hint
    assert served.address.url is None


@pytest.mark.parametrize("host", ["example.org", "", "1.2.3", "localhost.example"])
async def test_only_addresses_can_be_listened_on(served: Served, host: str) -> None:
    await served.room.add()
    with pytest.raises(AppError) as refusal:
        await served.open(host, 0)
    assert refusal.value.code == "cannot_bind"


async def test_an_address_of_another_machine_cannot_be_bound(served: Served) -> None:
    await served.room.add()
    with pytest.raises(AppError) as refusal:
        await served.open("192.0.2.1", 0)
    assert refusal.value.code == "cannot_bind"


async def test_on_every_address_everybody_needs_a_key(served: Served) -> None:
    key = await served.room.add()
    await served.open("0.0.0.0", 0)
    assert served.address.url == f"http://127.0.0.1:{served.port}"
    outer = _outer_address()
    for address in filter(None, ("127.0.0.1", outer)):
        assert await _from(address, served.port, {}) == 401
        assert await _from(address, served.port, bearer(key)) == 200
    await served.room.keys.revoke("laptop")
    if outer is not None:
        assert await _from(outer, served.port, {}) == 401
        assert await _from(outer, served.port, bearer(key)) == 401
        assert await _from(outer, served.port, {"Origin": "https://evil.example"}) == 403


async def test_a_name_that_points_here_is_not_enough(served: Served) -> None:
    key = await served.room.add()
    await served.open("0.0.0.0", 0)
    for host in ("evil.example", "192.0.2.1", "0.0.0.0"):
        answer = await served.ask(headers={"Host": host, **bearer(key)})
        assert (answer.status, answer.code) == (403, "forbidden_host")


async def test_the_same_port_on_more_addresses(served: Served) -> None:
    port = _free_port()
    await served.open("127.0.0.1", port)
    assert (await served.ask()).status == 200
    key = await served.room.add()
    await served.open("0.0.0.0", port)
    assert (await served.ask(headers=bearer(key))).status == 200
    await served.open("127.0.0.1", port)
    assert (await served.ask(headers=bearer(key))).status == 200


async def test_an_answer_under_way_survives_the_move(served: Served) -> None:
    port = _free_port()
    await served.open("127.0.0.1", port)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST /v1/chat HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhe")
    await writer.drain()
    await served.ask()
    await served.room.add()
    moving = asyncio.ensure_future(served.open("0.0.0.0", port))
    writer.write(b"llo")
    answer = await asyncio.wait_for(reader.read(), 20)
    await moving
    assert parsed(answer).json["body"] == "hello"
    writer.close()


async def test_what_cannot_be_bound_leaves_all_as_it_was(served: Served) -> None:
    await served.room.add()
    key = await served.room.add("second")
    port = _free_port()
    await served.open("127.0.0.1", port)
    with pytest.raises(AppError):
        await served.open("192.0.2.1", port)
    assert (await served.ask(headers=bearer(key))).status == 200
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(AppError) as refusal:
            await served.open("127.0.0.1", taken.getsockname()[1])
        assert (refusal.value.code, refusal.value.status) == ("port_in_use", 409)
    assert served.port == port
    assert (await served.ask(headers=bearer(key))).status == 200


async def test_version_six(served: Served) -> None:
    await served.open("::1", 0)
    assert served.address.url == f"http://[::1]:{served.port}"
    assert await _from("::1", served.port, {}) == 200
    await served.room.add()
    await served.open("::", 0)
    assert served.address.url == f"http://[::1]:{served.port}"
    assert await _from("::1", served.port, {}) == 401
    assert await _from("127.0.0.1", served.port, {}) == 401
