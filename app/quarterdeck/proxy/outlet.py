"""Gives an answer to a client in the client's own words: whole, or as a stream."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from quarterdeck.proxy.client import Client, Header
from quarterdeck.proxy.dialects.base import Asked, Dialect, Fields, Writer
from quarterdeck.proxy.records.record import RequestRecord
from quarterdeck.proxy.remaking import chunks_of

NO_BUFFER = ((b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no"))


def json_headers(body: bytes) -> list[Header]:
    return [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]


@dataclass(slots=True)
class Outlet:
    """The client's end of one answer. `headers` are those that we add to every answer."""

    client: Client
    dialect: Dialect
    writer: Writer
    asked: Asked
    record: RequestRecord
    headers: Callable[[], list[Header]]

    async def give(self, answer: Fields) -> None:
        """An answer of the hub in the form that the client wants."""
        await (self.remade(answer) if self.asked.stream else self.whole(answer))

    async def own(self, answer: Fields) -> None:
        """An answer that is in the client's words already, and never a stream."""
        body = json.dumps(answer).encode()
        await self.start(200, json_headers(body))
        await self.end(body)

    async def whole(self, answer: Fields) -> None:
        self.record.saw_chunk(answer)
        await self.own(self.dialect.answer(self.asked, answer))

    async def remade(self, answer: Fields) -> None:
        """A stream out of a whole answer."""
        for chunk in chunks_of(answer):
            await self.chunk(chunk)
        await self.finish()

    async def chunk(self, chunk: Fields) -> None:
        """A chunk of the hub."""
        self.record.saw_chunk(chunk)
        data = self.writer.write(chunk)
        if data:
            await self.start_stream()
            self.record.answer(data)
            await self.client.send(data)

    async def finish(self) -> None:
        """The end of a stream of chunks."""
        await self.start_stream()
        await self.end(self.writer.end())

    async def start_stream(self) -> None:
        await self.start(200, [(b"content-type", self.dialect.stream_type.encode()), *NO_BUFFER])

    async def start(self, status: int, headers: Iterable[Header]) -> None:
        """The status line, unless it is gone already."""
        self.record.status = status
        if not self.client.started:
            await self.client.start(status, [*headers, *self.headers()])

    async def end(self, data: bytes) -> None:
        self.record.answer(data)
        await self.client.end(data)
