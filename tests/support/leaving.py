"""Clients that leave in the middle of an answer, and when the engine stops working for them."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import psutil
from client_cells import ANTHROPIC, OLLAMA, OPENAI, RESPONSES, STREAM, Question
from openai_words import chat_fields, responses_fields
from real_clients.anthropic_sdk import message_fields
from real_clients.ollama_sdk import chat_fields as ollama_fields

_ASKED: dict[str, tuple[str, Callable[[Question], dict[str, Any]]]] = {
    OPENAI: ("/v1/chat/completions", chat_fields),
    RESPONSES: ("/v1/responses", responses_fields),
    OLLAMA: ("/api/chat", ollama_fields),
    ANTHROPIC: ("/v1/messages", lambda question: {**message_fields(question), "stream": True}),
}
DIALECTS = tuple(_ASKED)

LONG = 800
"""Tokens of the answer that is asked for."""

# The system counts what a process worked in hundredths of a second.
_TICK = 0.01
_QUIET = 0.15


def leave(url: str, dialect: str, model: str) -> float:
    """Ask for a long stream, read its beginning and go; the moment (time.perf_counter) of going."""
    path, fields = _ASKED[dialect]
    body = json.dumps(fields(Question(model, STREAM, "Tell a very long story.", limit=LONG))).encode()
    place = urlsplit(url)
    head = f"POST {path} HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Type: application/json\r\n"
    with socket.create_connection((place.hostname, place.port), timeout=60) as connection:
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        read = b""
        # Every dialect has said more than its greeting by then.
        while len(read) < 4000:
            data = connection.recv(65536)
            assert data, f"the stream ended after {read!r}"
            read += data
        assert read.startswith(b"HTTP/1.1 200")
    return time.perf_counter()


class Work:
    """What the engines work that the program `pid` has started by now."""

    def __init__(self, pid: int) -> None:
        self._engines = psutil.Process(pid).children(recursive=True)

    def seconds(self) -> float:
        """Of processor time, so far."""
        times = [engine.cpu_times() for engine in self._engines]
        return sum(each.user + each.system for each in times)

    def goes_on(self, since: float, *, most: float = 20.0) -> float:
        """Seconds from the moment `since` until nothing is done any more; AssertionError when there is no rest."""
        before, last = self.seconds(), since
        while time.perf_counter() - since < most:
            time.sleep(0.005)
            now = self.seconds()
            if now > before + _TICK / 2:
                before, last = now, time.perf_counter()
            elif time.perf_counter() - last > _QUIET:
                return last - since
        raise AssertionError(f"the engine works on, {most:.0f} s after its client left")
