"""Answers in the hub's words, whole and in pieces, and a server that tells them through a dialect."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from hypothesis import strategies as st

from quarterdeck.errors import AppError
from quarterdeck.proxy.dialects.base import Asked, Dialect, Fields

USAGE = {
    "prompt_tokens": 12, "completion_tokens": 7, "total_tokens": 19, "prompt_tokens_details": {"cached_tokens": 5},
    "completion_tokens_details": {"reasoning_tokens": 2},
}  # fmt: skip
_CHUNK = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "engine/served-id"}


@dataclass
class Said:
    """What a model says: its thoughts, its text and its calls (id, name, arguments as JSON)."""

    reasoning: str = ""
    text: str = ""
    calls: list[tuple[str, str, str]] = field(default_factory=list)
    finish: str = "stop"

    def message(self) -> Fields:
        """The message as it stands in an answer, and in the history of the next request."""
        message: Fields = {"role": "assistant", "content": self.text or (None if self.calls else "")}
        if self.reasoning:
            message["reasoning_content"] = self.reasoning
        if self.calls:
            message["tool_calls"] = [
                {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
                for call_id, name, arguments in self.calls
            ]
        return message

    def whole(self) -> Fields:
        choice = {"index": 0, "message": self.message(), "finish_reason": self.finish}
        return {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "engine/served-id",
                "choices": [choice], "usage": USAGE}  # fmt: skip

    def chunks(self, size: int = 3) -> list[Fields]:
        """The answer as a stream whose pieces have at most `size` letters."""
        deltas: list[Fields] = [{"role": "assistant", "content": None}]
        deltas += [{"reasoning_content": part} for part in _cut(self.reasoning, size)]
        deltas += [{"content": part} for part in _cut(self.text, size)]
        for index, (call_id, name, arguments) in enumerate(self.calls):
            begin = {"index": index, "id": call_id, "type": "function", "function": {"name": name, "arguments": ""}}
            deltas.append({"tool_calls": [begin]})
            deltas += [
                {"tool_calls": [{"index": index, "function": {"arguments": part}}]} for part in _cut(arguments, size)
            ]
        told = [{**_CHUNK, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
        told.append({**_CHUNK, "choices": [{"index": 0, "delta": {}, "finish_reason": self.finish}]})
        return [*told, {**_CHUNK, "choices": [], "usage": USAGE}]


def _cut(text: str, size: int) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text), size)]


WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NAMES = st.from_regex(r"[a-z_]{1,8}", fullmatch=True)
ARGUMENTS = st.dictionaries(
    WORDS, st.none() | st.booleans() | st.integers() | WORDS | st.lists(WORDS, max_size=2), max_size=3
)


@st.composite
def sayings(draw: st.DrawFn) -> Said:
    """Anything that a model may say."""
    drawn = draw(st.lists(st.tuples(NAMES, ARGUMENTS), max_size=3))
    calls = [(f"call_{index}", name, json.dumps(value)) for index, (name, value) in enumerate(drawn)]
    return Said(draw(WORDS), draw(WORDS), calls, "tool_calls" if calls else draw(st.sampled_from(["stop", "length"])))


class DialectServer:
    """Answers every request with `said`, or with `error`; `breaks_after` chunks a stream ends with `error`."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.said = Said(text="Hello there.")
        self.error: AppError | None = None
        self.breaks_after: int | None = None
        self.asked: Asked | None = None
        self.url = ""

    @property
    def fields(self) -> Fields:
        """The last request in the hub's words."""
        assert self.asked is not None
        return self.asked.fields

    def parts(self, fields: Fields, path: str) -> tuple[int, str, Sequence[bytes]]:
        """The answer to a request: status, type and bytes."""
        try:
            self.asked = asked = self.dialect.read(path, fields)
            if self.error is not None and self.breaks_after is None:
                raise self.error
        except AppError as error:
            return error.status, "application/json", [json.dumps(self.dialect.error(error)).encode()]
        if not asked.stream:
            answer = self.dialect.answer(asked, self.said.whole())
            return 200, "application/json", [json.dumps(answer).encode()]
        return 200, self.dialect.stream_type, list(self._stream(asked))

    def _stream(self, asked: Asked) -> Iterator[bytes]:
        writer = self.dialect.writer(asked)
        yield self.dialect.keep_alive or b""
        for number, chunk in enumerate(self.said.chunks()):
            if number == self.breaks_after:
                assert self.error is not None
                yield writer.error(self.error)
                return
            yield writer.write(chunk)
        yield writer.end()


@contextlib.contextmanager
def dialect_server(dialect: Dialect) -> Iterator[DialectServer]:
    """The server on a loopback port, at `url`."""
    serving = DialectServer(dialect)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            fields: Any = json.loads(self.rfile.read(int(self.headers["content-length"])))
            status, kind, parts = serving.parts(fields, self.path)
            self.send_response(status)
            self.send_header("content-type", kind)
            self.end_headers()
            for part in parts:
                self.wfile.write(part)
                self.wfile.flush()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, name="dialect server")
        thread.start()
        serving.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield serving
        finally:
            server.shutdown()
            thread.join()


def events(data: bytes) -> list[Fields]:
    """The values of a stream of named events; the names must be those of the values."""
    told = []
    for block in data.decode().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.split("\n") if line)
        if "data" in lines:
            value = json.loads(lines["data"])
            assert lines["event"] == value["type"]
            told.append(value)
    return told
