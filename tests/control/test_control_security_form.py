"""Requests that two programs could read differently never come through, whatever follows them on the connection."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from access_room import access_room
from guarded import Guarded, guarded, parsed
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quarterdeck.control import protocol

HOST = b"Host: localhost\r\n"
CLOSE = b"Connection: close\r\n"
HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Guarded]:
    with access_room(tmp_path) as room:
        async with guarded(room) as made:
            yield made


def request(
    headers: bytes = b"", body: bytes = b"", *, line: bytes = b"POST /v1/chat HTTP/1.1", host: bytes = HOST
) -> bytes:
    return line + b"\r\n" + host + headers + b"\r\n" + body


SMUGGLING = {
    "length and chunks": request(b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n" + HIDDEN),
    "chunks and length": request(b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", b"0\r\n\r\n" + HIDDEN),
    "two lengths": request(b"Content-Length: 5\r\nContent-Length: 60\r\n", b"hello" + HIDDEN),
    "the same length twice": request(b"Content-Length: 5\r\nContent-Length: 5\r\n", b"hello" + HIDDEN),
    "a list of lengths": request(b"Content-Length: 5, 5\r\n", b"hello" + HIDDEN),
    "a length with a sign": request(b"Content-Length: +5\r\n", b"hello" + HIDDEN),
    "a length below zero": request(b"Content-Length: -1\r\n", b"hello" + HIDDEN),
    "a length in hex": request(b"Content-Length: 0x5\r\n", b"hello" + HIDDEN),
    "no length": request(b"Content-Length: \r\n", b"hello" + HIDDEN),
    "a length beyond 64 bits": request(b"Content-Length: 99999999999999999999999\r\n", b"hello" + HIDDEN),
    "an unknown encoding": request(b"Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n" + HIDDEN),
    "identity": request(b"Transfer-Encoding: identity\r\n", b"0\r\n\r\n" + HIDDEN),
    "chunks, then identity": request(b"Transfer-Encoding: chunked, identity\r\n", b"0\r\n\r\n" + HIDDEN),
    "identity, then chunks": request(b"Transfer-Encoding: identity, chunked\r\n", b"0\r\n\r\n" + HIDDEN),
    "gzip in chunks": request(b"Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n" + HIDDEN),
    "two encodings": request(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", b"0\r\n\r\n" + HIDDEN),
    "a hidden encoding": request(b"Transfer-Encoding: \x0bchunked\r\n", b"0\r\n\r\n" + HIDDEN),
    "a space before the colon": request(b"Transfer-Encoding : chunked\r\n", b"0\r\n\r\n" + HIDDEN),
    "a space after the length": request(b"Content-Length : 5\r\n", b"hello" + HIDDEN),
    "chunks in HTTP 1.0": request(
        b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n" + HIDDEN, line=b"POST /v1/chat HTTP/1.0"
    ),
    "an encoding on the next line": request(b"Transfer-Encoding:\r\n chunked\r\n", b"0\r\n\r\n" + HIDDEN),
    "a chunk that is no number": request(b"Transfer-Encoding: chunked\r\n", b"g\r\nhello\r\n0\r\n\r\n" + HIDDEN),
    "a chunk below zero": request(b"Transfer-Encoding: chunked\r\n", b"-5\r\nhello\r\n0\r\n\r\n" + HIDDEN),
    "a chunk beyond 64 bits": request(b"Transfer-Encoding: chunked\r\n", b"f" * 17 + b"\r\nhello\r\n" + HIDDEN),
    "a chunk without its end": request(b"Transfer-Encoding: chunked\r\n", b"5\r\nhelloXX0\r\n\r\n" + HIDDEN),
    "chunks with bare line feeds": request(b"Transfer-Encoding: chunked\r\n", b"5\nhello\n0\n\n" + HIDDEN),
    "a bare line feed in a chunk": request(b"Transfer-Encoding: chunked\r\n", b"5;a\nhello\r\n0\r\n\r\n" + HIDDEN),
}  # fmt: skip

INJECTION = {
    "a bare line feed": request(b"X-A: a\nX-B: b\r\n"),
    "a bare carriage return": request(b"X-A: a\rX-B: b\r\n"),
    "a zero byte in a value": request(b"X-A: a\0b\r\n"),
    "a zero byte in a name": request(b"X\0A: a\r\n"),
    "a control character": request(b"X-A: a\x01b\r\n"),
    "a folded line": request(b"X-A: a\r\n b\r\n"),
    "no colon": request(b"XA\r\n"),
    "no name": request(b": a\r\n"),
    "only line feeds": b"GET /v1/x HTTP/1.1\nHost: localhost\n\n",
    "two hosts": request(b"Host: localhost\r\n"),
    "two hosts, one foreign": request(b"Host: evil.example\r\n"),
    "an address of another server": request(line=b"GET http://evil.example/v1/x HTTP/1.1"),
    "a tunnel": request(line=b"CONNECT evil.example:80 HTTP/1.1"),
    "a space in the address": request(line=b"GET /v1/x y HTTP/1.1"),
    "bytes beyond ASCII in the address": request(line=b"GET /v1/\xff HTTP/1.1"),
    "HTTP 2 without asking": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP 9.9": request(line=b"GET /v1/x HTTP/9.9"),
    "a method that is none": request(line=b"get /v1/x HTTP/1.1"),
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}

HOSTS = {
    "none": request(CLOSE, host=b""),
    "empty": request(CLOSE, host=b"Host:\r\n"),
    "none in HTTP 1.0": request(host=b"", line=b"GET /v1/x HTTP/1.0"),
    "none in HTTP 0.9": b"GET /v1/x\r\n\r\n",
    "a list": request(CLOSE, host=b"Host: localhost, evil.example\r\n"),
    "with a user": request(CLOSE, host=b"Host: localhost@evil.example\r\n"),
    "with a path": request(CLOSE, host=b"Host: localhost/evil\r\n"),
}


@pytest.mark.parametrize("raw", [pytest.param(raw, id=name) for name, raw in {**SMUGGLING, **INJECTION}.items()])
async def test_ambiguous_requests_are_refused_and_end_the_connection(server: Guarded, raw: bytes) -> None:
    answer = await server.raw(raw)
    assert parsed(answer).status == 400
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"connection: close" in answer.lower()
    assert server.seen == []


@pytest.mark.parametrize("raw", [pytest.param(raw, id=name) for name, raw in HOSTS.items()])
async def test_requests_without_a_known_host_are_refused(server: Guarded, raw: bytes) -> None:
    assert parsed(await server.raw(raw)).status == 403
    assert server.seen == []


TOO_MUCH = {
    "headers": (request(b"".join(b"X-%d: a\r\n" % number for number in range(101))), 431),
    "a header": (request(b"X: " + b"a" * 40_000 + b"\r\n"), 431),
    "a header in pieces": (request(b"X: " + b"a" * 200_000 + b"\r\n"), 431),
    "a header without end": (b"GET / HTTP/1.1\r\nX: " + b"a" * 1_000_000, 431),
    "a name without end": (b"GET / HTTP/1.1\r\n" + b"a" * 1_000_000, 431),
    "headers without end": (b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 100_000, 431),
    "an address without end": (b"GET /" + b"a" * 1_000_000, 431),
    "an address": (request(line=b"GET /v1/" + b"a" * 20_000 + b" HTTP/1.1"), 414),
    "a query": (request(line=b"GET /v1/x?" + b"a" * 20_000 + b" HTTP/1.1"), 414),
}


@pytest.mark.parametrize(("raw", "status"), [pytest.param(*case, id=name) for name, case in TOO_MUCH.items()])
async def test_a_head_that_is_too_large_is_refused(server: Guarded, raw: bytes, status: int) -> None:
    assert parsed(await server.raw(raw)).status == status
    assert server.seen == []


async def test_a_head_that_does_not_come_is_not_waited_for(server: Guarded, monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio

    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.05)
    for begin in (b"", b"GET /v1/x HTTP/1.1\r\nHost: loc", request(line=b"GET /v1/x HTTP/1.1") + b"GET /v1/y HT"):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(begin)
        answer = await asyncio.wait_for(reader.read(), 20)
        assert b"HTTP/1.1 408 " in answer
        writer.close()
        await writer.wait_closed()


async def test_well_formed_requests_come_through(server: Guarded) -> None:
    chunks = b"5;a=b\r\nhello\r\n1\r\n!\r\n0\r\n\r\n"
    for raw, body in (
        (request(CLOSE + b"Content-Length: 5\r\n", b"hello"), "hello"),
        (request(CLOSE + b"Transfer-Encoding: Chunked\r\n", chunks), "hello!"),
        (request(CLOSE + "X-A: é\t b\r\n".encode()), ""),
        (b"\r\n" + request(CLOSE, line=b"GET /v1/x HTTP/1.1"), ""),
        (request(CLOSE + b"".join(b"X-%d: a\r\n" % number for number in range(98))), ""),
    ):
        server.seen.clear()
        assert parsed(await server.raw(raw)).status == 200
        assert [each["body"] for each in server.seen] == [body]


async def test_requests_one_after_the_other_on_one_connection(server: Guarded) -> None:
    one = request(b"Content-Length: 5\r\n", b"hello")
    last = request(CLOSE + b"Content-Length: 5\r\n", b"hello")
    answer = await server.raw(one + one, last[:20], last[20:])
    assert answer.count(b"HTTP/1.1 200 ") == 3
    assert [each["body"] for each in server.seen] == ["hello"] * 3


async def test_headers_after_the_body_change_nothing(server: Guarded) -> None:
    trailers = b"0\r\nAuthorization: Bearer x\r\nHost: evil.example\r\nX-Quarterdeck-Force: true\r\n\r\n"
    await server.raw(request(CLOSE + b"Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n" + trailers))
    assert [name for name, _ in server.seen[0]["headers"]] == ["host", "connection", "transfer-encoding"]


@pytest.mark.parametrize("offer", [b"Upgrade: h2c", b"upgrade:h2c", b"Upgrade: websocket"])
async def test_an_offer_of_another_protocol_is_left_alone(
    server: Guarded, offer: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Java's client offers HTTP/2 in its first request; its body must not get lost."""
    headers = b"Connection: close, Upgrade, HTTP2-Settings\r\nContent-Length: 5\r\nHTTP2-Settings: AAEAAEAA\r\n" + offer
    with caplog.at_level(logging.WARNING):
        answer = await server.raw(request(headers + b"\r\n", b"hello"))
    assert parsed(answer).status == 200
    assert server.seen[0]["body"] == ("" if b"websocket" in offer else "hello")
    assert "websockets" not in caplog.text


async def test_words_in_a_body_are_no_offer(server: Guarded) -> None:
    body = b"a\r\nupgrade: h2c\r\n\r\nb"
    head = request(CLOSE + b"Content-Length: %d\r\n" % len(body))
    await server.raw(head + body)
    await server.raw(head, body[:3], body[3:])
    assert [each["body"].encode() for each in server.seen] == [body, body]


@pytest.mark.parametrize("path", ["/v1/%0d%0aX-Evil:%20y", "/v1/%00", "/api/%0d%0aSet-Cookie:%20a=b", "/%0a"])
async def test_line_ends_in_addresses_do_not_reach_the_headers(server: Guarded, path: str) -> None:
    answer = await server.ask(f"GET {path}")
    assert answer.status in {200, 401}
    assert not {"x-evil", "set-cookie"} & set(answer.headers)


@given(
    pieces=st.lists(
        st.one_of(
            st.binary(max_size=40),
            st.sampled_from(
                [b"\r\n", b"\r\n\r\n", b"\n", b"\0", HOST, b"GET / HTTP/1.1\r\n", b"POST /v1/chat HTTP/1.1\r\n",
                 b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n",
                 b"5\r\nhello\r\n", b"Origin: null\r\n", b"Authorization: Bearer \xff\r\n", b"Upgrade: h2c\r\n",
                 b"Connection: Upgrade\r\n", b"Expect: 100-continue\r\n", b"Cookie: a\r\n"]
            ),
        ),
        max_size=12,
    )
)  # fmt: skip
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
async def test_whatever_is_sent_is_answered_without_a_defect(server: Guarded, pieces: list[bytes]) -> None:
    answer = await server.raw(b"".join(pieces), eof=True)
    statuses = {line.split()[1] for line in answer.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")}
    assert all(status[:1] in b"124" for status in statuses), answer
