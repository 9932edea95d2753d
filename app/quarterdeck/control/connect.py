"""`/api/connect`: what client programs need to reach Quarterdeck, and a test that asks as they would."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Mapping
from typing import Any

import aiohttp
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from quarterdeck.control.guides import ANY_MODEL, NO_KEY, PROGRAMS, Program, guides, situation
from quarterdeck.control.services import Services
from quarterdeck.control.strict import StrictRoute
from quarterdeck.errors import AppError
from quarterdeck.schemas.access import ConnectGuide, ConnectStep, ConnectTest
from quarterdeck.schemas.models import ModelView

QUICK_S = 10.0
ANSWER_S = 60.0
FEW_TOKENS = 8
# Certificates are made for the name that clients use; here we ask ourselves under another one.
_ANY_CERTIFICATE = False


class ConnectQuestion(BaseModel):
    """Which client to be, and with which API key; a key has no blanks, as in a header."""

    model_config = ConfigDict(extra="forbid")

    client: str
    key: str = Field(default="", max_length=512, pattern=r"^[\x21-\x7e]*$")


def router(services: Services) -> APIRouter:
    """Routes about clients; no model is loaded by them."""
    routes = APIRouter(prefix="/api/connect", tags=["connect"], route_class=StrictRoute)

    @routes.get("")
    async def connect_guides() -> list[ConnectGuide]:
        """Settings to copy and lines to paste, for each client program."""
        example = next((view.name for view in _examples(services)), ANY_MODEL)
        now = situation(
            _address(services), model=example, needs_key=services.keys.exist, host_name=socket.gethostname().lower()
        )
        return guides(now)

    @routes.post("/test")
    async def test_connection(question: ConnectQuestion) -> ConnectTest:
        """Ask as that client would; a model that is loaded answers a word, none is loaded for it."""
        program = PROGRAMS.get(question.client)
        if program is None:
            raise AppError(
                "unknown_client",
                f"There is no guide for “{question.client}”.",
                f"Choose one of these: {', '.join(PROGRAMS)}.",
                status=404,
            )
        address = situation(_address(services), model="", needs_key=False, host_name="").url
        loaded = next((view.name for view in _examples(services) if view.loaded), None)
        return await _Trial(program, address, question.key, services.keys.exist).run(loaded)

    return routes


def _address(services: Services) -> str:
    url = services.public_url()
    if url is None:
        port = services.preferences.current.port
        raise AppError(
            "no_address",
            "Clients cannot reach Quarterdeck: it does not listen on an address for them.",
            f"Free port {port}, or choose another port in Settings.",
            status=503,
        )
    return url


def _examples(services: Services) -> Iterator[ModelView]:
    """The models that clients see and can chat with, the loaded ones first."""
    views = [view for view in services.scheduler.catalog.all() if view.hidden is None and _chats(view)]
    return iter(sorted(views, key=lambda view: not view.loaded))


def _chats(view: ModelView) -> bool:
    return not view.capabilities or bool({"chat", "completion"} & set(view.capabilities))


class _Trial:
    """One test: each step is tried only when the one before it worked."""

    def __init__(self, program: Program, url: str, key: str, keys_exist: bool) -> None:
        self._program, self._url, self._keys_exist = program, url, keys_exist
        self._given = bool(key)
        token = key or NO_KEY
        self._headers = {"authorization": f"Bearer {token}"}
        if program.dialect == "anthropic":
            self._headers = {"x-api-key": token, "anthropic-version": "2023-06-01"}
        self._steps: list[ConnectStep] = []

    async def run(self, model: str | None) -> ConnectTest:
        timeout = aiohttp.ClientTimeout(total=QUICK_S)
        async with aiohttp.ClientSession(timeout=timeout, headers=self._headers, trust_env=False) as http:
            ok = await self._reach(http) and await self._list(http) and await self._ask(http, model)
        return ConnectTest(client=self._program.client, ok=ok, steps=self._steps)

    async def _reach(self, http: aiohttp.ClientSession) -> bool:
        status, _ = await self._call(http, "GET", "/health")
        hint = "Look for a firewall, or another program on this port."
        return self._tell("Address", status == 200, f"Quarterdeck answers at {self._url}.",
                          f"Nothing that is Quarterdeck answers at {self._url}.", hint)  # fmt: skip

    async def _list(self, http: aiohttp.ClientSession) -> bool:
        path, field = ("/api/tags", "models") if self._program.dialect == "ollama" else ("/v1/models", "data")
        status, body = await self._call(http, "GET", path)
        good = "No key is needed." if not self._keys_exist else "The key is accepted."
        hint = "Make one under “API keys”, or with: quarterdeck keys add NAME"
        bad = "This key is not accepted." if self._given else "Clients need an API key."
        if not self._tell("Key", status not in (401, 403), good, bad, hint):
            return False
        models = body.get(field) if status == 200 else None
        count = len(models) if isinstance(models, list) else 0
        return self._tell("Models", count > 0, f"{count:,} {'model is' if count == 1 else 'models are'} listed.",
                          _said(status, body) or "No model is listed.",
                          "" if status != 200 else "Add a model, or look for models on the Models page.")  # fmt: skip

    async def _ask(self, http: aiohttp.ClientSession, model: str | None) -> bool:
        if model is None:
            return self._tell("Answer", True, "No model is loaded, so none was asked. The first request loads one.")
        began = time.perf_counter()
        path, fields = _chat(self._program.dialect, model)
        status, body = await self._call(http, "POST", path, fields, seconds=ANSWER_S)
        took = time.perf_counter() - began
        return self._tell("Answer", status == 200, f"{model} answered after {took:.1f} s.",
                          _said(status, body) or f"{model} did not answer.", "Look at the Requests page.")  # fmt: skip

    async def _call(
        self, http: aiohttp.ClientSession, method: str, path: str, fields: Mapping[str, Any] | None = None,
        *, seconds: float = QUICK_S,
    ) -> tuple[int, dict[str, Any]]:  # fmt: skip
        """Status and JSON object of the answer; 0 when there was none."""
        try:
            async with http.request(
                method, self._url + path, json=fields, ssl=_ANY_CERTIFICATE,
                timeout=aiohttp.ClientTimeout(total=seconds),
            ) as answer:  # fmt: skip
                body = await answer.json(content_type=None)
                return answer.status, body if isinstance(body, dict) else {}
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return 0, {}

    def _tell(self, title: str, ok: bool, good: str, bad: str = "", hint: str = "") -> bool:
        self._steps.append(ConnectStep(title=title, ok=ok, sentence=good if ok else bad, hint="" if ok else hint))
        return ok


def _chat(dialect: str, model: str) -> tuple[str, dict[str, Any]]:
    """Path and body of a short question in the words of a dialect."""
    asked: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": "Say OK."}], "stream": False}
    match dialect:
        case "ollama":
            return "/api/chat", asked | {"options": {"num_predict": FEW_TOKENS}}
        case "anthropic":
            return "/v1/messages", asked | {"max_tokens": FEW_TOKENS}
    return "/v1/chat/completions", asked | {"max_tokens": FEW_TOKENS}


def _said(status: int, body: Mapping[str, Any]) -> str:
    """What an error answer says, in any of the dialects."""
    error = body.get("error", body.get("detail"))
    text = error.get("message") if isinstance(error, dict) else error
    return str(text) if status and isinstance(text, str) else ""
