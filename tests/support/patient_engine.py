"""A server that answers whatever it is asked in a proper way, as OpenAI's interface or as Ollama's; and looks closely.

For tests in which the fault can only be ours: it never refuses anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Iterator
from typing import Any, NoReturn

from aiohttp import web

NAME = "served"
_USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
_CALL = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"at":"x"}'}}
_STAMP = "2026-11-21T02:23:44.98658427Z"
_FIGURES = {"done": True, "done_reason": "stop", "total_duration": 9, "eval_count": 2, "prompt_eval_count": 3}
_VECTORS = {"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": [0.5, -0.25]}]}


class PatientEngine:
    """`complaints` says what no engine should ever have got, `count` how many requests came."""

    def __init__(self) -> None:
        self.url = ""
        self.count = 0
        self.complaints: list[str] = []
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="patient engine")

    def start(self) -> None:
        self._thread.start()
        self._ready.wait()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()

    async def _serve(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        app = web.Application(client_max_size=0)
        app.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        self._ready.set()
        await self._stopping.wait()
        await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.count += 1
        body = await request.read()
        path = request.path
        if path in _PLAIN:
            return web.json_response(_PLAIN[path])
        if path.startswith("/v1/audio/transcriptions"):
            return web.json_response({"text": "said"})
        fields = self._looked_at(path, body)
        if path in ("/api/chat", "/api/generate"):
            return await _ollama(request, chat=path == "/api/chat", stream=fields.get("stream") is not False)
        if path in ("/v1/chat/completions", "/v1/completions"):
            return await _openai(request, chat="chat" in path, stream=fields.get("stream") is True)
        if path == "/v1/audio/speech":
            return web.Response(body=b"RIFF", content_type="audio/wav")
        if path == "/api/embeddings":
            return web.json_response({"embedding": [0.5, -0.25]})
        if path == "/api/embed":
            return web.json_response({"model": NAME, "embeddings": [[0.5, -0.25]]})
        return web.json_response({**_VECTORS, "usage": _USAGE, "results": [], "status": "success"})

    def _looked_at(self, path: str, body: bytes) -> dict[str, Any]:
        try:
            fields = json.loads(body.decode(), parse_constant=_no_number)
        except (ValueError, RecursionError) as problem:
            self._complain(path, f"{problem}: {body[:200]!r}")
            return {}
        if not isinstance(fields, dict) or not isinstance(fields.get("model"), str):
            self._complain(path, f"no model: {body[:200]!r}")
            return {}
        return fields

    def _complain(self, path: str, problem: str) -> None:
        if path in _ASKED:
            self.complaints.append(f"{path}: {problem}")


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON")


async def _openai(request: web.Request, *, chat: bool, stream: bool) -> web.StreamResponse:
    kind = "chat.completion" if chat else "text_completion"
    base = {"id": "x-1", "object": kind, "created": 1, "model": NAME}
    whole = {"message": {"role": "assistant", "content": "Hi", "tool_calls": [_CALL]}} if chat else {"text": "Hi"}
    if not stream:
        choice = {"index": 0, **whole, "finish_reason": "stop"}
        return web.json_response({**base, "choices": [choice], "usage": _USAGE})
    base["object"] = f"{kind}.chunk" if chat else kind
    pieces = [{"delta": {"content": "Hi"}}, {"delta": {"tool_calls": [_CALL]}}] if chat else [{"text": "Hi"}]
    choices: list[list[dict[str, Any]]] = [[{"index": 0, **piece, "finish_reason": None}] for piece in pieces]
    last: dict[str, Any] = {"delta": {}} if chat else {"text": ""}
    choices.append([{"index": 0, **last, "finish_reason": "stop"}])
    events = [{**base, "choices": each} for each in choices] + [{**base, "choices": [], "usage": _USAGE}]
    text = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
    return await _stream(request, "text/event-stream", text)


async def _ollama(request: web.Request, *, chat: bool, stream: bool) -> web.StreamResponse:
    base = {"model": NAME, "created_at": _STAMP}
    said = {"message": {"role": "assistant", "content": "Hi"}} if chat else {"response": "Hi"}
    nothing = {"message": {"role": "assistant", "content": ""}} if chat else {"response": ""}
    if not stream:
        return web.json_response({**base, **said, **_FIGURES})
    lines = [{**base, **said, "done": False}, {**base, **nothing, **_FIGURES}]
    return await _stream(request, "application/x-ndjson", "".join(json.dumps(line) + "\n" for line in lines))


async def _stream(request: web.Request, content_type: str, text: str) -> web.StreamResponse:
    answer = web.StreamResponse(headers={"content-type": content_type})
    await answer.prepare(request)
    await answer.write(text.encode())
    await answer.write_eof()
    return answer


_ASKED = {
    "/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/rerank", "/v1/images/generations",
    "/v1/audio/speech", "/api/chat", "/api/generate", "/api/embed", "/api/embeddings",
}  # fmt: skip
_LISTED = {"name": f"{NAME}:latest", "model": f"{NAME}:latest", "size": 1000, "digest": "0" * 64, "details": {}}
_SHOWN = {"modelfile": "", "template": "", "details": {}, "model_info": {}, "capabilities": ["completion"]}
_PLAIN: dict[str, Any] = {
    "/": "Ollama is running",
    "/api/version": {"version": "0.9.3"},
    "/api/tags": {"models": [_LISTED]},
    "/api/ps": {"models": []},
    "/api/show": _SHOWN,
    "/v1/models": {"object": "list", "data": [{"id": NAME, "object": "model", "owned_by": "somebody"}]},
}


@contextlib.contextmanager
def patient_engine() -> Iterator[PatientEngine]:
    engine = PatientEngine()
    engine.start()
    try:
        yield engine
    finally:
        engine.stop()
