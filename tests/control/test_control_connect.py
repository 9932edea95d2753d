"""`/api/connect`: guides whose lines work as they are, and a test that asks as a client would."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import re
import shlex
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from fastapi import FastAPI

from quarterdeck.control import connect, errors
from quarterdeck.control.guides import ANY_MODEL, KEY_HERE, NO_KEY, PROGRAMS, guides, situation
from quarterdeck.control.services import Services
from quarterdeck.schemas.access import ConnectTest
from quarterdeck.schemas.models import ModelView

MODEL = "qwen3:8b"
ASKED = "Hello"


class Address:
    """An address for clients: answers in three dialects; asks for `key` where it is set."""

    def __init__(self) -> None:
        self.url = ""
        self.key = ""
        self.models = [MODEL]
        self.chat_status = 200
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/health", self._health)
        app.router.add_get("/v1/models", self._list)
        app.router.add_get("/api/tags", self._list)
        for path in ("/v1/chat/completions", "/api/chat", "/v1/messages"):
            app.router.add_post(path, self._chat)
        return app

    async def _health(self, _request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _list(self, request: web.Request) -> web.Response:
        if not self._may(request):
            return web.json_response({"error": {"message": "No."}}, status=401)
        field = "models" if request.path == "/api/tags" else "data"
        return web.json_response({field: [{"id": name, "name": name} for name in self.models]})

    async def _chat(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.asked.append((request.path, body))
        if not self._may(request) or self.chat_status != 200:
            return web.json_response({"error": {"message": "It broke."}}, status=self.chat_status)
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        answers = {
            "/v1/chat/completions": {
                "id": "1", "object": "chat.completion", "created": 1, "model": MODEL, "usage": usage,
                "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Ahoy"}}],
            },
            "/api/chat": {"model": MODEL, "done": True, "message": {"role": "assistant", "content": "Ahoy"}},
            "/v1/messages": {
                "id": "1", "type": "message", "role": "assistant", "model": MODEL, "stop_reason": "end_turn",
                "stop_sequence": None, "content": [{"type": "text", "text": "Ahoy"}],
                "usage": {"input_tokens": 1, "output_tokens": 1},
            },
        }  # fmt: skip
        return web.json_response(answers[request.path])

    def _may(self, request: web.Request) -> bool:
        given = request.headers.get("x-api-key") or request.headers.get("authorization", "").removeprefix("Bearer ")
        return not self.key or given == self.key


class Core:
    """The services that the routes need, and a client of them."""

    def __init__(self, url: str | None) -> None:
        self.url = url
        self.keys = SimpleNamespace(exist=False)
        self.views: list[ModelView] = []
        services = SimpleNamespace(
            public_url=lambda: self.url,
            keys=self.keys,
            scheduler=SimpleNamespace(catalog=SimpleNamespace(all=lambda: self.views)),
            preferences=SimpleNamespace(current=SimpleNamespace(port=8100)),
        )
        app = FastAPI()
        errors.install(app)
        app.include_router(connect.router(cast(Services, services)))
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://core")

    def add(self, name: str, **fields: Any) -> None:
        self.views.append(
            ModelView(name=name, backend="embedded", served_name=name, layer="curated", created_at=datetime.now(UTC),
                      **fields)
        )  # fmt: skip

    async def test(self, client: str, key: str = "") -> ConnectTest:
        answer = await self.http.post("/api/connect/test", json={"client": client, "key": key})
        assert answer.status_code == 200, answer.text
        return ConnectTest.model_validate_json(answer.content)


@pytest.fixture
async def address() -> AsyncIterator[Address]:
    made = Address()
    async with TestServer(made.app()) as server:
        made.url = str(server.make_url("")).rstrip("/")
        yield made


@pytest.fixture
async def core(address: Address) -> AsyncIterator[Core]:
    made = Core(address.url)
    async with made.http:
        yield made


@pytest.mark.parametrize("client", ["openai", "ollama", "anthropic"])
async def test_the_lines_to_paste_work_with_the_real_client(client: str, address: Address) -> None:
    address.key = KEY_HERE
    now = situation(address.url, model=MODEL, needs_key=True, host_name="deck")
    lines = next(guide.snippet for guide in guides(now) if guide.client == client)
    told = io.StringIO()

    def run() -> None:
        names: dict[str, Any] = {}
        with contextlib.redirect_stdout(told):
            exec(compile(lines, client, "exec"), names)
        # The client of ollama has no close of its own.
        getattr(names["client"], "close", names["client"]._client.close)()

    await asyncio.to_thread(run)
    assert told.getvalue() == "Ahoy\n"
    assert [(body["model"], body["messages"][0]["content"]) for _, body in address.asked] == [(MODEL, ASKED)]


async def test_the_lines_of_curl_work(address: Address) -> None:
    now = situation(address.url, model="it's", needs_key=True, host_name="")
    words = shlex.split(next(guide.snippet for guide in guides(now) if guide.client == "curl"))
    assert json.loads(words[words.index("-d") + 1])["model"] == "it's"
    assert f"Authorization: Bearer {KEY_HERE}" in words
    process = await asyncio.create_subprocess_exec(
        *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    said, _ = await process.communicate()
    assert b"Ahoy" in said


@pytest.mark.parametrize("needs_key", [False, True])
def test_every_guide_names_the_address_and_no_other_key(needs_key: bool) -> None:
    url = "http://127.0.0.1:8100"
    made = guides(situation(url, model=MODEL, needs_key=needs_key, host_name="deck"))
    assert [guide.client for guide in made] == list(PROGRAMS)
    for guide in made:
        text = "\n".join([*guide.fields.values(), guide.snippet])
        assert url in text, guide.client
        assert (KEY_HERE if not needs_key else NO_KEY) not in text, guide.client
        bases = set(re.findall(rf"{url}[\w/-]*", text))
        wanted = f"{url}/v1" if guide.dialect == "openai" else url
        assert all(base.startswith(wanted) for base in bases), guide.client
        assert any("no API key yet" in note for note in guide.notes) is not needs_key


@pytest.mark.parametrize(
    ("listens", "here"),
    [
        ("http://0.0.0.0:8100", "http://127.0.0.1:8100"),
        ("http://[::]:8100", "http://[::1]:8100"),
        ("https://0.0.0.0:443", "https://127.0.0.1:443"),
        ("http://192.168.1.5:8100/", "http://192.168.1.5:8100"),
    ],
)
def test_an_address_of_all_is_told_as_one_that_can_be_called(listens: str, here: str) -> None:
    now = situation(listens, model=MODEL, needs_key=True, host_name="deck")
    assert now.url == here
    others = [note for note in guides(now)[0].notes if "other computers" in note]
    assert bool(others) is (here != listens.rstrip("/"))
    assert all("deck:" in note for note in others)


async def test_guides_use_a_model_that_is_there(core: Core) -> None:
    async def model() -> str:
        answer = (await core.http.get("/api/connect")).json()
        return str(next(guide for guide in answer if guide["client"] == "openai")["fields"]["Model"])

    assert await model() == ANY_MODEL
    core.add("embedder", capabilities=["embeddings"])
    core.add("hidden", hidden="It is deprecated.")
    core.add("idle")
    assert await model() == "idle"
    core.add("loaded", loaded=True, capabilities=["chat", "tools"])
    assert await model() == "loaded"


@pytest.mark.parametrize(
    ("client", "paths"),
    [("openai", "/v1/chat/completions"), ("open-webui-ollama", "/api/chat"), ("anthropic", "/v1/messages")],
)
async def test_a_loaded_model_is_asked_in_the_words_of_the_client(
    client: str, paths: str, core: Core, address: Address
) -> None:
    core.add(MODEL, loaded=True)
    result = await core.test(client)
    assert result.ok
    assert [step.title for step in result.steps] == ["Address", "Key", "Models", "Answer"]
    assert [path for path, _ in address.asked] == [paths]
    assert result.steps[-1].sentence.startswith(f"{MODEL} answered after")


async def test_no_model_is_loaded_for_a_test(core: Core, address: Address) -> None:
    core.add(MODEL)
    result = await core.test("openai")
    assert result.ok
    assert address.asked == []
    assert "No model is loaded" in result.steps[-1].sentence


async def test_a_key_is_asked_for_and_checked(core: Core, address: Address) -> None:
    address.key, core.keys.exist = "qd-right", True
    missing, wrong = await core.test("openai"), await core.test("anthropic", "qd-wrong")
    assert (missing.ok, missing.steps[-1].sentence) == (False, "Clients need an API key.")
    assert (wrong.ok, wrong.steps[-1].sentence) == (False, "This key is not accepted.")
    assert "quarterdeck keys add" in wrong.steps[-1].hint
    for client in ("openai", "ollama", "anthropic"):
        right = await core.test(client, "qd-right")
        assert right.steps[1].sentence == "The key is accepted."


async def test_what_does_not_work_is_the_last_step(core: Core, address: Address) -> None:
    core.add(MODEL, loaded=True)
    address.chat_status = 502
    broken = await core.test("openai")
    assert (broken.ok, broken.steps[-1].sentence) == (False, "It broke.")
    address.models = []
    empty = await core.test("ollama")
    assert (empty.ok, empty.steps[-1].title, empty.steps[-1].sentence) == (False, "Models", "No model is listed.")
    core.url = "http://127.0.0.1:9"
    away = await core.test("openai")
    assert [(step.title, step.ok) for step in away.steps] == [("Address", False)]


async def test_what_cannot_be_asked_is_refused(core: Core) -> None:
    unknown = await core.http.post("/api/connect/test", json={"client": "nobody"})
    assert (unknown.status_code, unknown.json()["code"]) == (404, "unknown_client")
    smuggled = await core.http.post("/api/connect/test", json={"client": "openai", "key": "a\r\nx-evil: 1"})
    assert smuggled.status_code in (400, 422)
    core.url = None
    silent = await core.http.get("/api/connect")
    assert (silent.status_code, silent.json()["code"]) == (503, "no_address")
