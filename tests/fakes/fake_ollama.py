"""A server that speaks as Ollama does (answers as recorded from it) and misbehaves on request.

In a test: `async with fake_ollama() as server`. As a program it is a stand-in for `ollama serve` that listens at
OLLAMA_HOST.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

SIZE = 98_363_034
HELD_SIZE = 196_310_784
STAMP = "2026-11-21T02:23:44.98658427Z"
CHAT_TEMPLATE = "{{- range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}"


def full(name: str) -> str:
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


@dataclass
class FakeModel:
    """A model on the server; `blob` names its weights."""

    blob: str
    capabilities: list[str] = field(default_factory=lambda: ["completion"])
    parameters: dict[str, Any] = field(default_factory=dict)
    template: str = CHAT_TEMPLATE

    @property
    def digest(self) -> str:
        return hashlib.sha256(json.dumps([self.blob, self.parameters]).encode()).hexdigest()


class FakeOllama:
    """The switches are plain attributes; `requests` are (path, body) in the order of arrival."""

    def __init__(self) -> None:
        self.url = ""
        self.models: dict[str, FakeModel] = {"smollm2:latest": FakeModel("a" * 64)}
        self.running: dict[str, int] = {}  # tag -> bytes in GPU memory
        self.leaving: dict[str, int] = {}  # tag -> how often /api/ps still lists it (P-20)
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.lists_longer = 0
        self.ignores_unload = False
        self.refuses_unload_by: set[str] = set()
        self.load_error: tuple[int, str] | None = None
        self.dies_in_load = False
        self.holds_load: asyncio.Event | None = None
        self.client_left = asyncio.Event()
        self.pull_steps: list[Mapping[str, Any]] = []
        self.holds_pull: asyncio.Event | None = None
        self.silent = False
        self._runner: web.AppRunner | None = None
        self._port = 0

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/", self._hello)
        app.router.add_get("/api/version", self._version)
        app.router.add_get("/api/tags", self._tags)
        app.router.add_get("/api/ps", self._ps)
        app.router.add_post("/api/show", self._show)
        for path in ("/api/generate", "/api/chat", "/api/embed"):
            app.router.add_post(path, self._run)
        app.router.add_post("/api/pull", self._pull)
        app.router.add_post("/api/create", self._create)
        app.router.add_post("/api/copy", self._copy)
        app.router.add_delete("/api/delete", self._delete)
        return app

    async def start(self, port: int = 0, host: str = "127.0.0.1") -> None:
        """Listen; a server that was stopped comes back at its port, with nothing loaded."""
        self.running.clear()
        self._runner = web.AppRunner(self.app(), handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port or self._port, reuse_address=True).start()
        self._port = self._runner.addresses[0][1]
        self.url = f"http://{host}:{self._port}"

    async def stop(self) -> None:
        if self._runner is not None:
            runner, self._runner = self._runner, None
            await runner.cleanup()

    def paths(self) -> list[str]:
        return [path for path, _ in self.requests]

    async def _hello(self, _request: web.Request) -> web.Response:
        return web.Response(text="Ollama is running")

    async def _version(self, _request: web.Request) -> web.Response:
        if self.silent:
            await asyncio.Event().wait()
        return web.json_response({"version": "0.9.3"})

    async def _tags(self, _request: web.Request) -> web.Response:
        return web.json_response({"models": [self._listed(name) for name in self.models]})

    async def _ps(self, _request: web.Request) -> web.Response:
        for name, left in list(self.leaving.items()):
            if left <= 0:
                del self.leaving[name]
                self.running.pop(name, None)
            else:
                self.leaving[name] = left - 1
        listed = [
            {**self._listed(name), "size": HELD_SIZE, "expires_at": "2319-03-03T06:19:06.9701956Z", "size_vram": vram}
            for name, vram in self.running.items()
        ]
        return web.json_response({"models": listed})

    async def _show(self, request: web.Request) -> web.Response:
        name, _ = await self._read(request)
        if name not in self.models:
            return _error(404, f"model '{name.removesuffix(':latest')}' not found")
        model = self.models[name]
        return web.json_response(
            {
                "modelfile": f"# Modelfile generated by \"ollama show\"\nFROM /models/blobs/sha256-{model.blob}\n",
                "parameters": "\n".join(f"{key:30} {value}" for key, value in model.parameters.items()),
                "template": model.template,
                "details": {
                    "format": "gguf", "family": "llama", "parameter_size": "134.52M", "quantization_level": "Q4_1",
                },
                "model_info": {
                    "general.architecture": "llama", "general.parameter_count": 134515008, "llama.context_length": 8192,
                },
                "capabilities": model.capabilities,
            }
        )  # fmt: skip

    async def _run(self, request: web.Request) -> web.StreamResponse:
        name, body = await self._read(request)
        if name not in self.models:
            return _error(404, f"model '{name}' not found")
        if body.get("keep_alive") == 0:
            return self._unload(request.path, name)
        try:
            return await self._load(request, name)
        except (asyncio.CancelledError, ConnectionResetError):
            self.client_left.set()
            raise

    def _unload(self, path: str, name: str) -> web.Response:
        if path in self.refuses_unload_by:
            return _error(400, f'"{name}" does not support this')
        if not self.ignores_unload and name in self.running:
            self.leaving[name] = self.lists_longer
        return web.json_response({"model": name, "created_at": STAMP, "response": "", "done": True,
                                  "done_reason": "unload"})  # fmt: skip

    async def _load(self, request: web.Request, name: str) -> web.StreamResponse:
        if self.holds_load is not None:
            self.running[name] = 0
            await self.holds_load.wait()
        if self.dies_in_load:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if self.load_error is not None:
            return _error(*self.load_error)
        if request.path != "/api/embed" and "completion" not in self.models[name].capabilities:
            return _error(400, f'"{name}" does not support generate')
        self.leaving.pop(name, None)
        self.running[name] = HELD_SIZE
        return web.json_response({"model": name, "created_at": STAMP, "response": "", "done": True,
                                  "done_reason": "load"})  # fmt: skip

    async def _pull(self, request: web.Request) -> web.StreamResponse:
        name, _ = await self._read(request)
        answer = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await answer.prepare(request)
        try:
            for step in self.pull_steps:
                await answer.write(json.dumps(step).encode() + b"\n")
                if self.holds_pull is not None:
                    await self.holds_pull.wait()
        except (asyncio.CancelledError, ConnectionResetError):
            self.client_left.set()
            raise
        if not any("error" in step for step in self.pull_steps):
            self.models[name] = FakeModel("b" * 64)
        return answer

    async def _create(self, request: web.Request) -> web.Response:
        name, body = await self._read(request)
        # As the real one: an unknown source makes an empty model and reports success.
        source = self.models.get(full(body["from"]), FakeModel("0" * 64))
        parameters = {**source.parameters, **body.get("parameters", {})}
        self.models[name] = FakeModel(source.blob, source.capabilities, parameters, source.template)
        return web.json_response({"status": "success"})

    async def _copy(self, request: web.Request) -> web.Response:
        _, body = await self._read(request)
        if full(body["source"]) not in self.models:
            return _error(404, f'model "{body["source"]}" not found')
        self.models[full(body["destination"])] = self.models[full(body["source"])]
        return web.Response()

    async def _delete(self, request: web.Request) -> web.Response:
        name, _ = await self._read(request)
        return web.Response() if self.models.pop(name, None) else _error(404, f"model '{name}' not found")

    async def _read(self, request: web.Request) -> tuple[str, dict[str, Any]]:
        body = await request.json()
        self.requests.append((request.path, body))
        return full(body.get("model", "")), body

    def _listed(self, name: str) -> dict[str, Any]:
        details = {"format": "gguf", "family": "llama", "parameter_size": "134.52M", "quantization_level": "Q4_1"}
        model = self.models.get(name, FakeModel("c" * 64))
        return {"name": name, "model": name, "modified_at": STAMP, "size": SIZE, "digest": model.digest,
                "details": details}  # fmt: skip


def _error(status: int, message: str) -> web.Response:
    return web.json_response({"error": message}, status=status)


@contextlib.asynccontextmanager
async def fake_ollama() -> AsyncIterator[FakeOllama]:
    server = FakeOllama()
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def _serve(host: str, port: int) -> None:
    await FakeOllama().start(port, host)
    sys.stdout.write(f"Listening on {host}:{port} (version 0.9.3)\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    assert sys.argv[1:] == ["serve"], sys.argv
    where, _, number = os.environ["OLLAMA_HOST"].rpartition(":")
    asyncio.run(_serve(where, int(number)))
