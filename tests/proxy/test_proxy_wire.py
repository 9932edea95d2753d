"""One connection to a backend: whatever pieces an answer comes in, it is the same answer, and nothing is left open."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.backends.base import Instance
from quarterdeck.proxy.sending import NotReached, Sender
from quarterdeck.proxy.wire import HEAD_LIMIT, READ_AHEAD, Broken, Connection

HEAD = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"


class FakeTransport:
    """Notes what a connection does to it."""

    def __init__(self) -> None:
        self.written = b""
        self.reading = True
        self.aborted = False

    def write(self, data: bytes) -> None:
        self.written += data

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def abort(self) -> None:
        self.aborted = True


def connected() -> tuple[Connection, FakeTransport]:
    connection, transport = Connection(), FakeTransport()
    connection.connection_made(transport)  # type: ignore[arg-type]
    return connection, transport


async def answered(pieces: Sequence[bytes], *, ends: bool = False) -> tuple[Connection, FakeTransport, bytes]:
    """The connection after an answer in these pieces, and its body; with `ends` the backend closes after it."""
    connection, transport = connected()

    async def read() -> bytes:
        await connection.ask(HEAD, b"{}")
        return b"".join([part async for part in connection.parts()])

    reading = asyncio.ensure_future(read())
    await asyncio.sleep(0)
    for piece in pieces:
        if not connection.reusable:
            connection.data_received(piece)
        await asyncio.sleep(0)
    if ends:
        connection.eof_received()
        connection.connection_lost(None)
    return connection, transport, await asyncio.wait_for(reading, 10)


def split(data: bytes, sizes: Sequence[int]) -> list[bytes]:
    pieces, at = [], 0
    for size in sizes:
        pieces.append(data[at : at + size])
        at += size
    return [piece for piece in (*pieces, data[at:]) if piece]


def chunked(parts: Sequence[bytes], trailer: bytes = b"") -> bytes:
    body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts if part)
    return OK + b"transfer-encoding: chunked\r\n\r\n" + body + b"0\r\n" + trailer + b"\r\n"


@given(st.lists(st.binary(max_size=50), max_size=5), st.lists(st.integers(1, 40), max_size=12), st.booleans())
def test_an_answer_in_chunks_is_the_same_in_any_pieces(parts: list[bytes], sizes: list[int], trailer: bool) -> None:
    data = chunked(parts, b"x-more: 1\r\n" if trailer else b"")
    connection, transport, body = asyncio.run(answered(split(data, sizes)))
    assert (connection.status, body) == (200, b"".join(parts))
    assert (b"content-type", b"text/plain") in connection.headers
    assert b"x-more" not in dict(connection.headers)
    assert connection.reusable
    assert transport.written == HEAD + b"{}"


@given(st.binary(max_size=100), st.lists(st.integers(1, 40), max_size=6))
def test_an_answer_of_known_length_is_the_same_in_any_pieces(body: bytes, sizes: list[int]) -> None:
    data = OK + b"content-length: %d\r\n\r\n" % len(body) + body
    connection, _, got = asyncio.run(answered(split(data, sizes)))
    assert (got, connection.reusable) == (body, True)


@given(st.binary(min_size=1, max_size=100), st.lists(st.integers(1, 40), max_size=6))
def test_an_answer_without_a_length_ends_with_its_connection(body: bytes, sizes: list[int]) -> None:
    connection, _, got = asyncio.run(answered(split(OK + b"\r\n" + body, sizes), ends=True))
    assert (got, connection.reusable) == (body, False)


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n",
    ],
)
async def test_interim_answers_are_passed_over(data: bytes) -> None:
    connection, _, body = await answered([data + OK + b"content-length: 2\r\n\r\nok"])
    assert (connection.status, body, b"link" in dict(connection.headers)) == (200, b"ok", False)


async def test_a_connection_that_the_backend_closes_is_not_used_again() -> None:
    connection, _, body = await answered([OK + b"connection: close\r\ncontent-length: 2\r\n\r\nok"])
    assert (body, connection.reusable) == (b"ok", False)


async def test_what_nobody_asked_for_closes_the_connection() -> None:
    connection, transport, _ = await answered([OK + b"content-length: 2\r\n\r\nok"])
    connection.data_received(OK + b"content-length: 0\r\n\r\n")
    assert transport.aborted
    assert not connection.reusable


async def test_more_than_was_announced_is_left_and_the_connection_too() -> None:
    connection, _, body = await answered([OK + b"content-length: 2\r\n\r\nok and more"])
    assert (body, connection.reusable) == (b"ok", False)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        OK + b"content-length: 5\r\n\r\nok",
        OK + b"transfer-encoding: chunked\r\n\r\n5\r\nhe",
    ],
)
async def test_an_answer_that_breaks_off_is_broken(data: bytes) -> None:
    with pytest.raises(Broken, match="ended before"):
        await answered([data], ends=True)


@pytest.mark.parametrize(
    "data", [b"220 smtp ready\r\n", b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"]
)
async def test_what_is_no_answer_is_broken(data: bytes) -> None:
    with pytest.raises(Broken):
        await answered([data], ends=True)


async def test_headers_without_an_end_are_broken() -> None:
    lines = [b"x-%d: %s\r\n" % (number, b"a" * 1000) for number in range(HEAD_LIMIT // 1000 + 2)]
    with pytest.raises(Broken, match="headers"):
        await answered([OK, *lines])


async def test_a_backend_is_not_read_faster_than_its_client_reads() -> None:
    connection, transport = connected()
    asking = asyncio.ensure_future(connection.ask(HEAD, b"{}"))
    await asyncio.sleep(0)
    connection.data_received(OK + b"content-length: %d\r\n\r\n" % (4 * READ_AHEAD))
    await asking
    connection.data_received(b"x" * READ_AHEAD)
    assert transport.reading
    connection.data_received(b"x" * READ_AHEAD)
    assert not transport.reading
    assert len(await anext(connection.parts())) == 2 * READ_AHEAD
    assert transport.reading


def instance(url: str, **more: Any) -> Instance:
    return Instance("m", url, None, None, asyncio.get_running_loop().create_future(), 0.0, **more)


async def lines_sent(**more: Any) -> list[str]:
    posted = Sender().post(
        instance(**more), "openai-compatible", "/v1/chat/completions", b"{}",
        content_type="application/json", stream=False, connect=1,
    )  # fmt: skip
    return posted.head.decode().split("\r\n")


async def test_a_request_goes_where_the_backend_has_its_interface() -> None:
    lines = await lines_sent(
        url="https://a.example:8443/base", api_path="/openai/v1", query={"api-version": "1 2"}, headers={"api-key": "k"}
    )
    assert lines[0] == "POST /base/openai/v1/chat/completions?api-version=1+2 HTTP/1.1"
    assert {"host: a.example:8443", "api-key: k", "content-length: 2"} <= set(lines)


async def test_a_login_in_an_address_is_sent() -> None:
    lines = await lines_sent(url="http://me:s%40fe@127.0.0.1:9")
    assert {"host: 127.0.0.1:9", "authorization: Basic bWU6c0BmZQ=="} <= set(lines)


async def test_a_key_cannot_smuggle_a_header() -> None:
    with pytest.raises(NotReached, match="line break"):
        await lines_sent(url="http://127.0.0.1:9", headers={"authorization": "Bearer a\r\nx-other: 1"})
