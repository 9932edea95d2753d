"""Servers that speak OpenAI's interface, each as its product does: plain, LM Studio, TabbyAPI, a LiteLLM gateway.

As a program it is a stand-in for the litellm command, or for any server that a start command starts.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web


class FakeOpenAI:
    """`api` is the path below which the interface is; `requests` are (method, path, body) in the order of arrival."""

    def __init__(self, *, product: str = "plain", models: tuple[str, ...] = ("a", "b"), api: str = "/v1") -> None:
        self.product = product
        self.models = list(models)
        self.api = api
        self.key: str | None = None
        self.lists_models = True
        self.old = False
        self.loaded: list[str] = []
        self.requests: list[tuple[str, str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.queries: list[dict[str, str]] = []
        self.url = ""
        self._runner: web.AppRunner | None = None

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()
        self.url = f"http://{host}:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    def paths(self) -> list[str]:
        return [path for _, path, _ in self.requests]

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json() if request.can_read_body else None
        self.requests.append((request.method, request.path, body))
        self.headers.append(dict(request.headers))
        self.queries.append(dict(request.query))
        if self.product == "litellm" and request.path == "/health/liveliness":
            return web.json_response("I'm alive!")
        if self.key and self.key not in (request.headers.get("api-key"), self._bearer(request)):
            return web.json_response({"error": {"message": "Authentication Error, No api key passed in."}}, status=401)
        if request.path == f"{self.api}/models" and self.lists_models:
            owner = {"tabby": "tabbyAPI"}.get(self.product, "somebody")
            return web.json_response(
                {"object": "list", "data": [{"id": name, "object": "model", "owned_by": owner} for name in self.models]}
            )
        return getattr(self, f"_{self.product}")(request, body)  # type: ignore[no-any-return]

    def _bearer(self, request: web.Request) -> str:
        return request.headers.get("Authorization", "").removeprefix("Bearer ")

    def _plain(self, _request: web.Request, _body: Any) -> web.Response:
        return web.json_response({"detail": "Not Found"}, status=404)

    def _litellm(self, request: web.Request, _body: Any) -> web.Response:
        if request.path == "/model/info":
            info = {"mode": "chat", "max_input_tokens": 8192, "supports_vision": True}
            return web.json_response({"data": [{"model_name": self.models[0], "model_info": info}]})
        return web.json_response({"detail": "Not Found"}, status=404)

    def _lm_studio(self, request: web.Request, body: Any) -> web.Response:
        if request.path == "/api/v0/models":
            data = [{"id": name, "state": "loaded" if name in self.loaded else "not-loaded"} for name in self.models]
            return web.json_response({"object": "list", "data": data})
        if request.path == "/api/v1/models/load" and not self.old:
            self.loaded.append(body["model"])
            return web.json_response({"type": "llm", "instance_id": body["model"], "status": "loaded"})
        if request.path == "/api/v1/models/unload" and not self.old:
            self.loaded.remove(body["instance_id"])
            return web.json_response({"instance_id": body["instance_id"]})
        return web.json_response({"error": f"Unexpected endpoint or method. ({request.method} {request.path})"})

    def _tabby(self, request: web.Request, body: Any) -> web.Response:
        if request.path == "/v1/model":
            if not self.loaded:
                return web.json_response({"detail": "No models are currently loaded."}, status=400)
            return web.json_response({"id": self.loaded[-1], "object": "model", "owned_by": "tabbyAPI"})
        if request.path == "/v1/model/load":
            self.loaded = [body["model_name"]]
            return web.Response(text='data: {"status":"finished"}\n\n', content_type="text/event-stream")
        if request.path == "/v1/model/unload":
            self.loaded = []
            return web.Response()
        return web.json_response({"detail": "Not Found"}, status=404)


@contextlib.asynccontextmanager
async def fake_openai(**options: Any) -> AsyncIterator[FakeOpenAI]:
    server = FakeOpenAI(**options)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def _serve() -> None:
    parser = argparse.ArgumentParser()
    for name in ("--config", "--host", "--port", "--telemetry", "--product"):
        parser.add_argument(name)
    given = parser.parse_args()
    models = ("a", "b")
    if given.config:
        config = yaml.safe_load(Path(given.config).read_text(encoding="utf-8"))
        models = tuple(entry["model_name"] for entry in config["model_list"])
    await FakeOpenAI(product=given.product or "plain", models=models).start(given.host or "127.0.0.1", int(given.port))
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve())
