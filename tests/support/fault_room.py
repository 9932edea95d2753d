"""A core in front of an upstream that misbehaves, and clients of every dialect that ask it over bare connections."""

from __future__ import annotations

import contextlib
import http.client
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import upstream_faults  # noqa: F401 - fills the list of behaviours
from faulty_upstream import FaultyUpstream, faulty_upstream
from scripted_core import ScriptedCore, scripted_core, wait_for
from upstream_refusals import UPSTREAM_KEY

NATIVE = "native"
"""Ollama's client in front of an upstream that speaks Ollama's own words."""
DIALECTS = ("openai", "ollama", "anthropic", "responses", NATIVE)
PATHS = {
    "openai": "/v1/chat/completions",
    "ollama": "/api/chat",
    "anthropic": "/v1/messages",
    "responses": "/v1/responses",
    NATIVE: "/api/chat",
}
SECONDS = 60.0
_SAID = [{"role": "user", "content": "What do herons do?"}]


def question(dialect: str, model: str, *, stream: bool) -> dict[str, Any]:
    """A chat in the words of the dialect."""
    said = {"input": _SAID} if dialect == "responses" else {"messages": _SAID}
    return {"model": model, "stream": stream, **said, **({"max_tokens": 50} if dialect == "anthropic" else {})}


@dataclass
class Got:
    """What a client got. `code` and `message` are those of an error, wherever it stood; `ended` tells whether the
    answer came to the end that its dialect has for it. `usable` says whether the connection took one more request;
    None where the server closed it in order.
    """

    status: int
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    text: str = ""
    code: str | None = None
    message: str = ""
    ended: bool = False
    broken_off: bool = False
    usable: bool | None = None

    @property
    def outcome(self) -> str:
        """In a word: ok, an error status with its code, or an error in the stream."""
        if self.code is None:
            return (
                "ok" if self.status == 200 and self.ended and not self.broken_off else f"{self.status} without an end"
            )
        return f"{self.status} {self.code}" if self.status != 200 else f"cut {self.code}"

    def header(self, name: str) -> str | None:
        return next((value for known, value in self.headers if known.lower() == name), None)


class FaultRoom:
    """Asks models that are named after the behaviour of their upstream."""

    def __init__(self, core: ScriptedCore, upstream: FaultyUpstream) -> None:
        self.core = core
        self.upstream = upstream
        self._known: set[str] = set()
        for name, url in (("faulty", upstream.url), ("refusing", upstream.refusing_url)):
            body = {"url": url, "name": name, "kind": "openai-compatible", "api_key": UPSTREAM_KEY}
            core.http.post("/api/servers", json=body).raise_for_status()

    def model(self, behaviour: str, dialect: str = "openai") -> str:
        """The name of a loaded model that behaves so; made at its first use."""
        name = f"{behaviour}@{NATIVE}" if dialect == NATIVE else behaviour
        if name not in self._known:
            self._known.add(name)
            self._add(name, behaviour, native=dialect == NATIVE)
        elif dialect == NATIVE:
            self._wake(name)
        return name

    def _add(self, name: str, behaviour: str, *, native: bool) -> None:
        if native:
            self.core.add(name)
            self._wake(name)
            return
        url = self.upstream.refusing_url if behaviour == "refuses" else self.upstream.url
        body = {"model_name": name, "url": url, "backend": "openai-compatible", "served_name": behaviour}
        self.core.http.post("/api/models", json=body).raise_for_status()
        self.core.load(name).raise_for_status()
        if behaviour == "refuses":
            self.upstream.refuse()

    def _wake(self, name: str) -> None:
        """A scripted engine has room for one model at a time; let this one in, as one that speaks Ollama's words."""
        self.core.load(name).raise_for_status()
        instance = self.core.backend.instances[name]
        instance.speaks, instance.record = frozenset({"ollama"}), None
        if name.startswith("refuses@"):
            instance.base_url = "http://127.0.0.1:9"

    def ask(self, behaviour: str, dialect: str, *, stream: bool, **headers: str) -> Got:
        """Ask over a connection of its own; see afterwards what became of the connection."""
        return self.post(question(dialect, self.model(behaviour, dialect), stream=stream), dialect, **headers)

    def post(self, body: dict[str, Any], dialect: str, **headers: str) -> Got:
        connection = self.connect()
        try:
            sent = {"Content-Type": "application/json", **{name.replace("_", "-"): headers[name] for name in headers}}
            connection.request("POST", PATHS[dialect], json.dumps(body), sent)
            answer = connection.getresponse()
            got = Got(answer.status, answer.getheaders())
            try:
                got.body = answer.read()
            except http.client.IncompleteRead as error:
                got.body, got.broken_off = error.partial, True
            read(got, dialect, stream=body["stream"])
            if connection.sock is not None and not got.broken_off:
                connection.request("GET", "/health")
                got.usable = connection.getresponse().status == 200
        finally:
            connection.close()
        return got

    def connect(self) -> http.client.HTTPConnection:
        """A connection to the public address that never opens another one by itself."""
        place = urlsplit(self.core.public_url)
        connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=SECONDS)
        connection.connect()
        connection.auto_open = False
        return connection

    def record(self, got: Got) -> dict[str, Any]:
        """What is remembered of the request."""
        ids = [value for name, value in got.headers if name.lower() == "x-request-id"]

        def found() -> list[dict[str, Any]]:
            return [each for each in self.core.http.get("/api/requests").json() if each["id"] in ids]

        return dict(wait_for(found)[0])

    def active(self) -> int:
        """How many requests hold a model."""
        views = self.core.http.get("/api/backends").json()
        return sum(instance["active_requests"] for view in views for instance in view["instances"])


@contextlib.contextmanager
def fault_room(folder: Path, **settings: Any) -> Iterator[FaultRoom]:
    with (
        faulty_upstream() as upstream,
        scripted_core(folder, engine_url=upstream.url, every_engine=True, **settings) as core,
    ):
        yield FaultRoom(core, upstream)


def read(got: Got, dialect: str, *, stream: bool) -> None:
    """Read the body of an answer strictly, as a client of the dialect does."""
    if got.status != 200 or not stream:
        value = json.loads(got.body)
        if got.status == 200:
            got.text, got.ended = _whole(value, dialect), True
        else:
            _error(got, value, dialect)
        return
    if dialect in ("ollama", NATIVE):
        _lines(got)
    else:
        _events(got, dialect)


def _whole(value: dict[str, Any], dialect: str) -> str:
    match dialect:
        case "openai":
            return str(value["choices"][0]["message"]["content"])
        case "anthropic":
            return "".join(block["text"] for block in value["content"])
        case "responses":
            return "".join(part["text"] for item in value["output"] for part in item["content"])
        case _:
            assert value["done"] is True
            return str(value["message"]["content"])


def _error(got: Got, value: dict[str, Any], dialect: str) -> None:
    """The code and words of an error in the dialect's own form."""
    if dialect in ("ollama", NATIVE):
        assert isinstance(value["error"], str)
        got.code, got.message = str(value.get("code", "own")), value["error"]
        return
    if dialect == "anthropic":
        assert value["type"] == "error"
    error = value["error"]
    assert isinstance(error["type"], str)
    # Ours have a hint; an error without one is in the words of the upstream.
    got.code, got.message = str(error["code"] if "hint" in error else "own"), str(error["message"])


def _lines(got: Got) -> None:
    assert got.body.endswith(b"\n")
    for line in got.body.splitlines():
        assert not got.ended, "something follows the end"
        value = json.loads(line.decode("utf-8", "replace"))
        if "error" in value:
            _error(got, value, "ollama")
            got.ended = True
            continue
        got.text += value["message"]["content"]
        got.ended = value["done"]


def _events(got: Got, dialect: str) -> None:
    """Server-sent events: each is whole, and the last one is the end."""
    *blocks, rest = got.body.decode("utf-8", "replace").split("\n\n")
    assert rest == "", "the last event is not whole"
    for block in blocks:
        data = [line.removeprefix("data:").strip() for line in block.split("\n") if line.startswith("data:")]
        if not data:
            continue
        assert not got.ended, "something follows the end"
        if data == ["[DONE]"]:
            got.ended = True
            continue
        with contextlib.suppress(ValueError):  # an event that broke off is not the last one
            _event(got, json.loads("\n".join(data)), dialect)


def _event(got: Got, value: dict[str, Any], dialect: str) -> None:
    kind = value.get("type")
    if dialect == "openai":
        if "error" in value:
            _error(got, value, dialect)
        elif value["choices"]:
            got.text += value["choices"][0]["delta"].get("content") or ""
    elif dialect == "anthropic":
        got.ended = kind in ("message_stop", "error")
        if kind == "error":
            _error(got, value, dialect)
        elif kind == "content_block_delta":
            got.text += value["delta"]["text"]
    else:
        got.ended = kind in ("response.completed", "response.failed")
        if kind == "error":
            got.code, got.message = str(value["code"]), str(value["message"])
        elif kind == "response.output_text.delta":
            got.text += value["delta"]
