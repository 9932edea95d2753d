"""The ways in which an upstream misbehaves before and in its answers, by name; refusals are in upstream_refusals.

What clients should get is in tests/support/fault_table.py.
"""

from __future__ import annotations

import asyncio
import gzip

from faulty_upstream import CHUNKED, Talk, behaviour, three
from upstream_words import DONE, WORDS

GIANT = 17 * 1024 * 1024

# -- the connection


@behaviour
async def sturdy(talk: Talk) -> None:
    await talk.right()


@behaviour
async def refuses(talk: Talk) -> None:
    """Its port is closed before it is asked, so that this is never reached."""
    await talk.close()


@behaviour
async def resets_before_headers(talk: Talk) -> None:
    await talk.reset()


@behaviour
async def closes_before_headers(talk: Talk) -> None:
    await talk.close()


@behaviour
async def resets_after_headers(talk: Talk) -> None:
    await talk.begin()
    await talk.reset()


@behaviour
async def resets_after_3_tokens(talk: Talk) -> None:
    await three(talk)
    await talk.reset()


@behaviour
async def closes_after_3_tokens(talk: Talk) -> None:
    await three(talk)
    await talk.close()


@behaviour
async def ends_after_3_tokens(talk: Talk) -> None:
    """In order, as far as HTTP can tell."""
    await three(talk)
    await talk.last()


@behaviour
async def half_chunk(talk: Talk) -> None:
    await talk.begin()
    await talk.send(b"%x\r\n" % len(talk.parts[0]) + talk.parts[0][:20])
    await talk.close()


@behaviour
async def bad_chunk_size(talk: Talk) -> None:
    await talk.begin()
    await talk.send(b"zz\r\n" + talk.parts[0] + b"\r\n")
    await talk.close()


@behaviour
async def closes_kept_connection(talk: Talk) -> None:
    """It promises to keep the connection and closes it when the answer is out."""
    await talk.right()
    await talk.close()


@behaviour
async def closes_at_second_request(talk: Talk) -> None:
    """The close crosses the next request on its way, as it looks from the other side."""
    if talk.asked.number > 1:
        await talk.close()
    await talk.right()


@behaviour
async def old_http(talk: Talk) -> None:
    """No length and no chunks: the end of the connection is the end of the answer."""
    kind = talk.stream_type if talk.stream else "application/json"
    await talk.send(f"HTTP/1.0 200 OK\r\nContent-Type: {kind}\r\n\r\n".encode() + b"".join(talk.parts))
    await talk.close()


# -- the head


@behaviour
async def interim_answers(talk: Talk) -> None:
    await talk.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n")
    await talk.send(b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n")
    await talk.right()


@behaviour
async def endless_headers(talk: Talk) -> None:
    await talk.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        await talk.send(b"".join(b"x-more-%d: and more\r\n" % number for number in range(100)))
        await asyncio.sleep(0)


@behaviour
async def header_too_large(talk: Talk) -> None:
    await talk.head(200, "X-Large: " + "x" * 100_000, "Content-Type: application/json", "Content-Length: 2")
    await talk.send(b"{}")


@behaviour
async def no_http(talk: Talk) -> None:
    await talk.send(b"SSH-2.0-OpenSSH_9.6\r\n")
    await talk.close()


@behaviour
async def switches_protocols(talk: Talk) -> None:
    await talk.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
    await talk.close()


@behaviour
async def length_too_long(talk: Talk) -> None:
    await _with_length(talk, 500)
    await talk.close()


@behaviour
async def length_too_short(talk: Talk) -> None:
    await _with_length(talk, -60)


@behaviour
async def no_content_type(talk: Talk) -> None:
    await talk.head(200, CHUNKED)
    for part in talk.parts:
        await talk.chunk(part)
    await talk.last()


@behaviour
async def redirect(talk: Talk) -> None:
    await talk.answer(b"", "text/html", "Location: http://127.0.0.1:9/elsewhere", status=307)


# -- the body


@behaviour
async def slow_drip(talk: Talk) -> None:
    await talk.begin()
    for part in talk.parts:
        for byte in part:
            await talk.chunk(bytes([byte]))
            await asyncio.sleep(0)
    await talk.last()


@behaviour
async def trailers(talk: Talk) -> None:
    await talk.begin()
    for part in talk.parts:
        await talk.chunk(part)
    await talk.last(b"X-Trailer: upstream-secret\r\nSet-Cookie: late=upstream-secret\r\n")


@behaviour
async def gzip_unasked(talk: Talk) -> None:
    await _packed(talk, gzip.compress(b"".join(talk.parts)))


@behaviour
async def gzip_broken(talk: Talk) -> None:
    await _packed(talk, gzip.compress(b"".join(talk.parts))[:-20])


@behaviour
async def invalid_utf8(talk: Talk) -> None:
    await talk.begin()
    for part in talk.parts:
        await talk.chunk(part.replace("é".encode(), b"\xe9"))
    await talk.last()


@behaviour
async def giant_line(talk: Talk) -> None:
    if not talk.stream:
        await talk.answer(talk.whole.replace(WORDS[3].encode(), b"x" * GIANT))
        return
    await talk.begin()
    at = next(index for index, piece in enumerate(talk.pieces) if WORDS[1].encode() in piece)
    for part in talk.pieces[:at]:
        await talk.chunk(part)
    line = talk.pieces[at].replace(WORDS[1].encode(), b"x" * GIANT)
    for start in range(0, len(line), 1024 * 1024):
        await talk.chunk(line[start : start + 1024 * 1024])
    for part in talk.pieces[at + 1 :]:
        await talk.chunk(part)
    await talk.last()


@behaviour
async def half_json(talk: Talk) -> None:
    """Cut in the middle, though every length is right."""
    await talk.answer(talk.whole[:-60])


@behaviour
async def html_page(talk: Talk) -> None:
    await talk.answer(b"<html><title>Router login</title><body>Please log in</body></html>", "text/html")


@behaviour
async def html_lines(talk: Talk) -> None:
    await talk.answer(b"<html>\n<title>Ollama is running</title>\n<body>Yes\n</body>\n</html>\n", "text/html")


@behaviour
async def stream_as_html(talk: Talk) -> None:
    """As frameworks call what nobody gave a name."""
    await talk.head(200, "Content-Type: text/html; charset=utf-8", CHUNKED)
    for part in talk.parts:
        await talk.chunk(part)
    await talk.last()


@behaviour
async def empty(talk: Talk) -> None:
    await talk.answer(b"")


@behaviour
async def no_content(talk: Talk) -> None:
    await talk.head(204)


@behaviour
async def json_list(talk: Talk) -> None:
    await talk.answer(b"[1, 2]")


@behaviour
async def json_for_stream(talk: Talk) -> None:
    await talk.answer(talk.whole)


@behaviour
async def stream_for_json(talk: Talk) -> None:
    await talk.answer(b"".join(talk.pieces), talk.stream_type)


@behaviour
async def no_done(talk: Talk) -> None:
    await talk.begin()
    for part in talk.parts:
        if part != DONE:
            await talk.chunk(part)
    await talk.last()


async def _with_length(talk: Talk, error: int) -> None:
    body = b"".join(talk.parts)
    kind = talk.stream_type if talk.stream else "application/json"
    await talk.head(200, f"Content-Type: {kind}", f"Content-Length: {len(body) + error}")
    await talk.send(body)


async def _packed(talk: Talk, body: bytes) -> None:
    kind = talk.stream_type if talk.stream else "application/json"
    await talk.answer(body, kind, "Content-Encoding: gzip")
