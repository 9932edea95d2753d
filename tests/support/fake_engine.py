"""A server that speaks as llama.cpp's does (answers as recorded from it) and misbehaves on request."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Iterator
from typing import NamedTuple

from aiohttp import web

_CHUNK = (
    '{{"choices":[{{"finish_reason":{finish},"index":0,"delta":{delta}}}],"created":1795226694,'
    '"id":"chatcmpl-0zOwqx1es80Q9vLtWcNErjesc65dNYtW","model":"smollm2-gguf","system_fingerprint":"b0-unknown",'
    '"object":"chat.completion.chunk"}}'
)
_USAGE = (
    '{"choices":[],"created":1795226696,"id":"chatcmpl-0zOwqx1es80Q9vLtWcNErjesc65dNYtW","model":"smollm2-gguf",'
    '"system_fingerprint":"b0-unknown","object":"chat.completion.chunk","usage":{"completion_tokens":12,'
    '"prompt_tokens":37,"total_tokens":49,"prompt_tokens_details":{"cached_tokens":36}},"timings":{"cache_n":36,'
    '"prompt_n":1,"prompt_ms":5538.552,"predicted_n":12,"predicted_ms":2343.91,'
    '"predicted_per_second":4.6930129569821375}}'
)


def _event(data: str) -> bytes:
    return f"data: {data}\n\n".encode()


EVENTS = [
    _event(_CHUNK.format(finish="null", delta='{"role":"assistant","content":null}')),
    *(_event(_CHUNK.format(finish="null", delta=json.dumps({"content": word}))) for word in ("I", "'m", " hére")),
    _event(_CHUNK.format(finish='"length"', delta="{}")),
    _event(_USAGE),
    b"data: [DONE]\n\n",
]
PLAIN = {
    "/v1/chat/completions": (
        '{"choices":[{"finish_reason":"length","index":0,"message":{"role":"assistant","content":"I\'m hére"}}],'
        '"created":1795226688,"model":"smollm2-gguf","system_fingerprint":"b0-unknown","object":"chat.completion",'
        '"usage":{"completion_tokens":24,"prompt_tokens":37,"total_tokens":61},"id":"chatcmpl-mZwFOQd8oCnXkZKAMgUS",'
        '"timings":{"predicted_n":24,"predicted_per_second":1.5170245107628932}}'
    ).encode(),
    "/v1/completions": (
        b'{"choices":[{"text":" three","index":0,"logprobs":null,"finish_reason":"length"}],"created":1795226688,'
        b'"model":"smollm2-gguf","object":"text_completion","usage":{"completion_tokens":1,"prompt_tokens":4,'
        b'"total_tokens":5},"id":"chatcmpl-1"}'
    ),
    "/v1/embeddings": (
        b'{"model":"smollm2-gguf","object":"list","usage":{"prompt_tokens":1,"total_tokens":1},'
        b'"data":[{"embedding":[0.25,-0.5],"index":0,"object":"embedding"}]}'
    ),
}
REFUSAL = b'{"error":{"code":400,"message":"Unsupported param: echo","type":"invalid_request_error"}}'
LLAMA_HEADERS = {"Server": "llama.cpp", "Access-Control-Allow-Origin": "", "Keep-Alive": "timeout=5, max=100"}
FLOOD_LIMIT = 512 * 1024 * 1024


class Received(NamedTuple):
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes
    query: dict[str, str]


class FakeEngine:
    """`mode` is one of ok, slow (each event waits for `let_go`), dies, dies_in_event, 400, 503, hangs, flood.

    In `fades` a stream ends in order, but too early, as Ollama's does when its runner died.
    """

    def __init__(self) -> None:
        self.url = ""
        self.reset()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="fake engine")

    def reset(self) -> None:
        self.mode = "ok"
        self.refusal = REFUSAL
        self.received: list[Received] = []
        self.got_request = threading.Event()
        self.client_left = threading.Event()
        self.blocked = threading.Event()
        self.sent = 0
        self._steps = asyncio.Semaphore(0)

    def let_go(self) -> None:
        """Let a slow stream send its next event."""
        self._loop.call_soon_threadsafe(self._steps.release)

    def start(self) -> None:
        self._thread.start()
        self._ready.wait()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()

    async def _serve(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        app = web.Application(client_max_size=0)
        app.router.add_post("/{path:.*}", self._answer)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        self._ready.set()
        await self._stopping.wait()
        await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.received.append(Received(request.path, dict(request.headers), body, dict(request.query)))
        self.got_request.set()
        try:
            return await self._act(request, streams=json.loads(body).get("stream") is True)
        except (asyncio.CancelledError, ConnectionResetError):
            self.client_left.set()
            raise

    async def _act(self, request: web.Request, *, streams: bool) -> web.StreamResponse:
        if self.mode in ("400", "503"):
            return self._plain(self.refusal, int(self.mode))
        if self.mode == "hangs":
            await asyncio.Event().wait()
        if self.mode == "dies_at_once":
            return self._die(request)
        if streams or self.mode == "flood":
            return await self._stream(request)
        if self.mode == "dies":
            return await self._half(request)
        return self._plain(PLAIN[request.path], 200)

    def _plain(self, body: bytes, status: int) -> web.Response:
        headers = {**LLAMA_HEADERS, "Content-Type": "application/json; charset=utf-8"}
        return web.Response(body=body, status=status, headers=headers)

    async def _half(self, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={**LLAMA_HEADERS, "Content-Type": "application/json"})
        whole = PLAIN[request.path]
        answer.content_length = len(whole)
        await answer.prepare(request)
        await answer.write(whole[:40])
        return self._die(request)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={**LLAMA_HEADERS, "Content-Type": "text/event-stream"})
        await answer.prepare(request)
        if self.mode == "flood":
            await self._flood(answer)
        for number, event in enumerate(EVENTS):
            if self.mode == "slow":
                await asyncio.wait_for(self._steps.acquire(), 20)
            if number == 2 and self.mode == "fades":
                break
            if number == 2 and self.mode == "dies":
                return self._die(request)
            if number == 2 and self.mode == "dies_in_event":
                await answer.write(event[:20])
                return self._die(request)
            await answer.write(event)
        await answer.write_eof()
        return answer

    async def _flood(self, answer: web.StreamResponse) -> None:
        block = b": " + b"x" * 65_532 + b"\n\n"
        while self.sent < FLOOD_LIMIT:
            write = asyncio.ensure_future(answer.write(block))
            done, _ = await asyncio.wait({write}, timeout=0.5)
            if not done:
                self.blocked.set()
            await write
            self.sent += len(block)

    def _die(self, request: web.Request) -> web.Response:
        assert request.transport is not None
        # What was written before still goes out; then the connection ends without a word.
        request.transport.close()
        return web.Response()


@contextlib.contextmanager
def fake_engine() -> Iterator[FakeEngine]:
    engine = FakeEngine()
    engine.start()
    try:
        yield engine
    finally:
        engine.stop()
