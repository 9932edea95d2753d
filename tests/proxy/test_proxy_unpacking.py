"""Packed answers in any pieces, and lines that are passed on whole."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.proxy.sending import passed_on
from quarterdeck.proxy.unpacking import unpacked
from quarterdeck.proxy.upstreams.lines import HELD_BACK, WholeLines
from quarterdeck.proxy.values import parsed
from quarterdeck.proxy.wire import Garbled

PACKERS = {"gzip": gzip.compress, " X-GZip ": gzip.compress, "deflate": zlib.compress}


async def _pieces(data: bytes, size: int) -> AsyncIterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


async def unpack(data: bytes, packing: str, size: int = 1000) -> list[bytes]:
    return [part async for part in unpacked(_pieces(data, size), packing)]


@given(st.binary(max_size=5000), st.sampled_from(sorted(PACKERS)), st.integers(1, 6000))
async def test_what_was_packed_comes_out_again(body: bytes, packing: str, size: int) -> None:
    assert b"".join(await unpack(PACKERS[packing](body), packing, size)) == body


@given(st.binary(min_size=1, max_size=500), st.integers(1, 8))
async def test_what_breaks_off_is_not_taken_for_whole(body: bytes, missing: int) -> None:
    with pytest.raises(Garbled):
        await unpack(gzip.compress(body)[:-missing], "gzip")


@pytest.mark.parametrize(("data", "packing"), [(b"no gzip at all", "gzip"), (b"x", "br"), (b"x", "zstd, gzip")])
async def test_what_cannot_be_unpacked_is_refused(data: bytes, packing: str) -> None:
    with pytest.raises(Garbled):
        await unpack(data, packing)


async def test_a_bomb_comes_out_in_pieces_of_a_sane_size() -> None:
    parts = await unpack(gzip.compress(bytes(20_000_000)), "gzip", size=10_000)
    assert sum(map(len, parts)) == 20_000_000
    assert max(map(len, parts)) <= 256 * 1024


@given(st.binary(max_size=300), st.integers(1, 400))
def test_lines_are_passed_on_whole(body: bytes, size: int) -> None:
    lines = WholeLines()
    told = [lines.feed(body[at : at + size]) for at in range(0, len(body), size)]
    assert all(not each or each.endswith(b"\n") for each in told)
    assert b"".join(told) + lines.rest == body


def test_a_line_that_does_not_end_is_not_kept_for_ever() -> None:
    lines = WholeLines()
    longest = 0
    for _ in range(100):
        assert lines.feed(b"x" * 10_000) or lines.rest
        longest = max(longest, len(lines.rest))
    assert longest <= HELD_BACK


@pytest.mark.parametrize(
    ("rest", "last"), [(b'data: {"a": 1}', True), (b"data: [DONE]", True), (b'data: {"a": ', False), (b"", False)]
)
def test_a_last_line_without_an_end_is_known(rest: bytes, last: bool) -> None:
    lines = WholeLines()
    lines.feed(rest)
    assert lines.is_last_line() is last


def test_json_with_bytes_that_are_no_utf8_is_read() -> None:
    assert parsed(b'{"a": "h\xe9ron"}') == {"a": "h\ufffdron"}
    with pytest.raises(ValueError, match="Expecting"):
        parsed(b'{"a": \xe9')


def test_headers_of_the_upstream_that_speak_of_its_connection_or_place_stay_with_it() -> None:
    wanted = [(b"content-type", b"a"), (b"openai-processing-ms", b"1"), (b"x-ratelimit-remaining-tokens", b"2")]
    others = [
        b"content-length", b"set-cookie", b"x-request-id", b"x-quarterdeck-route", b"access-control-allow-origin",
        b"cross-origin-opener-policy", b"alt-svc", b"location", b"www-authenticate", b"content-encoding", b"server",
    ]  # fmt: skip
    assert passed_on([*wanted, *((name, b"x") for name in others)]) == wanted
