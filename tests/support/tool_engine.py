"""An engine that calls the first tool it is offered, and tells what the tool said; as llama.cpp's and as Ollama's."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Iterator
from typing import Any

from aiohttp import web

Body = dict[str, Any]

CALL_ID = "call_1"
TASKS = '{"title": "A clock", "follow_ups": ["And tomorrow?"], "tags": ["Time"]}'
NO_TOOLS = "registry.ollama.ai/library/{} does not support tools"
_STAMP = "2026-11-21T10:20:00Z"
_COUNTS = {"total_duration": 9, "load_duration": 1, "prompt_eval_count": 5, "prompt_eval_duration": 4, "eval_count": 3,
           "eval_duration": 4}  # fmt: skip


class ToolEngine:
    """`asked` are the bodies of questions in the order of arrival. Without `uses_tools` it refuses them as Ollama."""

    def __init__(self) -> None:
        self.url = ""
        self.uses_tools = True
        self.asked: list[Body] = []
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="tool engine")

    def start(self) -> None:
        self._thread.start()
        self._ready.wait()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()

    async def _serve(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        app = web.Application(client_max_size=0)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/v1/embeddings", self._vectors)
        app.router.add_get("/api/version", self._fixed({"version": "0.9.3"}))
        app.router.add_get("/api/ps", self._fixed({"models": []}))
        app.router.add_get("/api/tags", self._fixed({"models": []}))
        app.router.add_post("/api/show", self._fixed({"details": {}, "model_info": {}}))
        app.router.add_post("/api/generate", self._fixed({"response": "", "done": True, "done_reason": "load"}))
        app.router.add_post("/api/chat", self._ollama_chat)
        app.router.add_post("/api/embed", self._ollama_vectors)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        self._ready.set()
        await self._stopping.wait()
        await runner.cleanup()

    def _fixed(self, body: Body) -> Any:
        async def answer(_request: web.Request) -> web.Response:
            return web.json_response(body)

        return answer

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await self._read(request)
        if body.get("tools") and not self.uses_tools:
            error = {"message": NO_TOOLS.format(body["model"]), "type": "api_error", "param": None, "code": None}
            return web.json_response({"error": error}, status=400)
        call, text = _decide(body)
        begin = {"id": "chatcmpl-1", "created": 1795226694, "model": body["model"]}
        if not body.get("stream"):
            choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
            usage = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
            return web.json_response({**begin, "object": "chat.completion", "choices": [choice], "usage": usage})
        deltas: list[Body] = [{"role": "assistant", "content": None}]
        if call:
            function = {"name": call, "arguments": ""}
            deltas.append({"tool_calls": [{"index": 0, "id": CALL_ID, "type": "function", "function": function}]})
            deltas.append({"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]})
        else:
            deltas += [{"content": text[:8]}, {"content": text[8:]}]
        choices: list[Body] = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
        choices.append({"index": 0, "delta": {}, "finish_reason": "tool_calls" if call else "stop"})
        chunks = [{**begin, "object": "chat.completion.chunk", "choices": [choice]} for choice in choices]
        lines = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks]
        return await _stream(request, "text/event-stream", [*lines, "data: [DONE]\n\n"])

    async def _ollama_chat(self, request: web.Request) -> web.StreamResponse:
        body = await self._read(request)
        model = body["model"]
        if body.get("tools") and not self.uses_tools:
            return web.json_response({"error": NO_TOOLS.format(model)}, status=400)
        call, text = _decide(body)
        begin = {"model": model, "created_at": _STAMP}
        message: Body = {"role": "assistant", "content": text}
        if call:
            message["tool_calls"] = [{"function": {"name": call, "arguments": {}}}]
        end = {**begin, "done_reason": "stop", "done": True, **_COUNTS}
        if body.get("stream") is False:
            return web.json_response({**end, "message": message})
        parts = [{**begin, "message": message, "done": False}, {**end, "message": {"role": "assistant", "content": ""}}]
        return await _stream(request, "application/x-ndjson", [json.dumps(part) + "\n" for part in parts])

    async def _vectors(self, request: web.Request) -> web.Response:
        body = await self._read(request)
        data = [{"object": "embedding", "index": i, "embedding": [0.25, -0.5]} for i in range(len(body["input"]))]
        usage = {"prompt_tokens": 4, "total_tokens": 4}
        return web.json_response({"object": "list", "model": body["model"], "data": data, "usage": usage})

    async def _ollama_vectors(self, request: web.Request) -> web.Response:
        body = await self._read(request)
        vectors = [[0.25, -0.5] for _ in body["input"]]
        return web.json_response({"model": body["model"], "embeddings": vectors, "prompt_eval_count": 4})

    async def _read(self, request: web.Request) -> Body:
        body: Body = await request.json()
        self.asked.append(body)
        return body


def _decide(body: Body) -> tuple[str | None, str]:
    """The tool that is called, or what is said."""
    last = body["messages"][-1]
    if last["role"] == "tool":
        return None, f"The tool said: {last['content']}"
    if body.get("tools"):
        return body["tools"][0]["function"]["name"], ""
    return None, TASKS


async def _stream(request: web.Request, content_type: str, lines: list[str]) -> web.StreamResponse:
    answer = web.StreamResponse(headers={"Content-Type": content_type})
    await answer.prepare(request)
    for line in lines:
        await answer.write(line.encode())
    await answer.write_eof()
    return answer


@contextlib.contextmanager
def tool_engine() -> Iterator[ToolEngine]:
    engine = ToolEngine()
    engine.start()
    try:
        yield engine
    finally:
        engine.stop()
