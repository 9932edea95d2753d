"""Servers that are wrong in one way each, on real sockets, for the doctor to examine."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import trustme
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID

PIECES = 12
WORDS = [f"word{number} " for number in range(PIECES)]
ORIGIN = "http://localhost:3000"
CORS = {
    "Access-Control-Allow-Origin": ORIGIN,
    "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
    "Access-Control-Allow-Headers": "authorization, content-type",
}
PREFLIGHT_ONLY = CORS | {"Access-Control-Max-Age": "0"}
ANYBODY = CORS | {"Access-Control-Allow-Credentials": "true"}
PAGE = "<!doctype html><html><body>Sign in</body></html>"
HELLO = '0{"sid":"abc","upgrades":[],"pingInterval":25000,"pingTimeout":20000}'


@dataclass
class Server:
    """A good server of the OpenAI interface below `root`; each field makes it wrong in one way."""

    root: str = "/v1"
    key: str = ""
    open_list: bool = False
    models: list[dict[str, Any]] = field(default_factory=lambda: [{"id": "tiny", "object": "model"}])
    ollama: bool = False
    loaded: list[str] | None = None
    page: bool = False
    redirect: str = ""
    cors: dict[str, str] | None = None
    stream: str = "good"
    tools: str = "good"
    chat: str = "good"
    websocket: str = "none"
    refusal: tuple[int, str] = (401, "Incorrect API key provided: {key}")
    preflight: tuple[int, str] | None = None
    health: str = "/health"
    health_status: int = 200
    listing: str = "good"
    front: dict[str, str] = field(default_factory=dict)
    hangs: bool = False
    pause: float = 0.0
    asked: list[str] = field(default_factory=list)
    turns: int = 0

    def app(self) -> web.Application:
        made = web.Application(client_max_size=16 * 1024 * 1024)
        made.router.add_route("*", "/{path:.*}", self._answer)
        made.on_response_prepare.append(self._headers)
        return made

    async def _headers(self, request: web.Request, answer: web.StreamResponse) -> None:
        answer.headers.update(self._allowances(request))
        # As a web server in front adds headers, whether they are there or not; its name takes another's place.
        answer.headers.popall("Server", None)
        answer.headers.extend(self.front)

    def _allowances(self, request: web.Request) -> dict[str, str]:
        if self.cors == PREFLIGHT_ONLY and request.method != "OPTIONS":
            return {}
        if self.cors == ANYBODY:
            return ANYBODY | {"Access-Control-Allow-Origin": request.headers.get("Origin", "")}
        return self.cors or {}

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(f"{request.method} {request.path}")
        if self.hangs:
            await asyncio.Event().wait()
        if self.redirect:
            raise web.HTTPMovedPermanently(self.redirect.rstrip("/") + request.path)
        if self.page and request.path != "/":
            return web.Response(text=PAGE, content_type="text/html")
        if request.method == "OPTIONS" and self.preflight:
            return web.Response(status=self.preflight[0], text=self.preflight[1])
        if request.method == "OPTIONS":
            return web.Response(status=204 if self.cors else 405)
        return await self._route(request)

    async def _route(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        if path == self.health:
            return web.json_response({"status": self.health_status}, status=self.health_status)
        if "socket.io" in path or path == "/live":
            return await self._socket(request)
        guarded = path.startswith(self.root) and not (self.open_list and path.endswith("/models"))
        if self.key and guarded and request.headers.get("Authorization") != f"Bearer {self.key}":
            return self._refuse("Authorization" in request.headers)
        handler = {
            f"GET {self.root}/models": self._list,
            f"POST {self.root}/chat/completions": self._chat,
            "GET /api/tags": self._tags,
            "GET /api/ps": self._running,
        }.get(f"{request.method} {path}")
        if handler is None:
            return web.json_response({"detail": "Not Found"}, status=404)
        return await handler(request)

    def _refuse(self, sent: bool) -> web.Response:
        status, words = self.refusal
        said = words.format(key=self.key) if sent else "You didn't provide an API key."
        return web.json_response({"error": {"message": said}}, status=status if sent else 401)

    async def _list(self, _request: web.Request) -> web.Response:
        self.turns += 1
        if self.listing == "strange":
            return web.json_response({"hello": "world"})
        if self.listing == "uneven" and self.turns % 2:
            return web.json_response({"data": [{"id": "other"}]})
        if (self.listing == "partly down" and self.turns % 2 == 0) or (self.listing == "once" and self.turns > 1):
            return web.json_response({}, status=502)
        return web.json_response({"object": "list", "data": self.models})

    async def _tags(self, _request: web.Request) -> web.Response:
        if not self.ollama:
            return web.json_response({}, status=404)
        return web.json_response({"models": [{"name": model["id"]} for model in self.models]})

    async def _running(self, _request: web.Request) -> web.Response:
        if self.loaded is None:
            return web.json_response({}, status=404)
        return web.json_response({"models": [{"name": name} for name in self.loaded]})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        try:
            asked = await request.json()
        except ValueError:
            return web.json_response({"error": {"message": "invalid json"}}, status=400)
        if self.chat == "context":
            message = "This model's maximum context length is 8 tokens."
            return web.json_response({"error": {"message": message}}, status=400)
        if self.chat == "other":
            return web.json_response({"generated_text": "Hi"})
        if asked.get("stream"):
            return await self._stream(request)
        if asked.get("tools"):
            return self._tools()
        return web.json_response(_said({"role": "assistant", "content": "Hi"}))

    def _tools(self) -> web.Response:
        if self.tools == "off":
            words = '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'
            return web.json_response({"error": {"message": words}}, status=400)
        if self.tools == "unsupported":
            return web.json_response({"error": {"message": "tiny does not support tools"}}, status=400)
        call: dict[str, str] = {"name": "get_weather", "arguments": '{"town": "Oslo"}'}
        message: dict[str, Any] = {"role": "assistant", "content": None, "tool_calls": [{"function": call}]}
        if self.tools == "malformed":
            call["arguments"] = '{"town": '
        if self.tools == "ignored":
            message = {"role": "assistant", "content": "It may rain."}
        if self.tools == "text":
            message = {"role": "assistant", "content": f"<tool_call>{json.dumps(call)}</tool_call>"}
        return web.json_response(_said(message))

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        if self.stream == "ignored":
            return web.json_response(_said({"role": "assistant", "content": "".join(WORDS)}))
        kind = {"ndjson": "application/x-ndjson", "wrong type": "text/plain"}.get(self.stream, "text/event-stream")
        answer = web.StreamResponse(headers={"Content-Type": kind})
        if self.stream == "compressed":
            answer.enable_compression()
        await answer.prepare(request)
        lead = "" if self.stream == "ndjson" else "data: "
        if self.stream == "empty":
            return answer
        for number, word in enumerate(WORDS):
            await asyncio.sleep(self.pause)
            chunk = json.dumps({"choices": [{"index": 0, "delta": {"content": word}}]})
            await answer.write(f"{lead}{chunk}\n{'' if self.stream == 'ndjson' else chr(10)}".encode())
            if self.stream == "cut" and number == 5:
                assert request.transport is not None
                request.transport.abort()
                return answer
            if self.stream == "stalled" and number == 5:
                await asyncio.Event().wait()
        if self.stream != "no done":
            await answer.write(b"data: [DONE]\n\n")
        return answer

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        if request.query.get("transport") == "polling":
            return self._poll(request)
        if self.websocket == "none":
            return web.json_response({}, status=404)
        if self.websocket == "refused" and "Origin" in request.headers:
            return web.Response(status=403)
        if self.websocket == "redirect":
            raise web.HTTPMovedPermanently("https://127.0.0.1/ws")
        if self.websocket == "origin":
            return web.Response(status=400, text='"Not an accepted origin."')
        if self.websocket == "dropped" or "Upgrade" not in request.headers:
            return web.Response(status=400, text='"Invalid websocket upgrade"')
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        if self.websocket != "silent":
            await socket.send_str(HELLO)
        await socket.receive()
        return socket

    def _poll(self, request: web.Request) -> web.Response:
        if "sid" not in request.query:
            return web.Response(text=HELLO)
        if self.websocket == "scattered":
            return web.Response(status=400, text='"Invalid session abc"')
        return web.Response(text="ok")


def _said(message: dict[str, Any]) -> dict[str, Any]:
    return {"object": "chat.completion", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}


@asynccontextmanager
async def serving(server: Server, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> AsyncIterator[int]:
    """The port at which it answers."""
    runner = web.AppRunner(server.app(), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, host, 0, ssl_context=tls)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def talking(talk: Talk) -> AsyncIterator[int]:
    """A bare socket that speaks as `talk` does."""
    tasks: set[asyncio.Task[None]] = set()
    writers: list[asyncio.StreamWriter] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        writers.append(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await talk(reader, writer)
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in writers:
            writer.transport.abort()


def forwarding(port: int, *, buffers: bool = False, http10: bool = False, drops: Sequence[str] = ()) -> Talk:
    """A proxy in front of `port`: it may collect answers, speak HTTP/1.0, or drop headers (small letters)."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        lines = [line for line in head.decode("latin-1").split("\r\n") if line]
        dropped = ("connection:", *(f"{name}:" for name in drops))
        kept = [line for line in lines if not line.lower().startswith(dropped)]
        if http10:
            kept[0] = kept[0].replace("HTTP/1.1", "HTTP/1.0")
        length = next((int(line.split(":")[1]) for line in lines if line.lower().startswith("content-length:")), 0)
        behind, before = await asyncio.open_connection("127.0.0.1", port)
        try:
            before.write(("\r\n".join([*kept, "Connection: close"]) + "\r\n\r\n").encode("latin-1"))
            before.write(await reader.readexactly(length) if length else b"")
            await _back(behind, writer, buffers=buffers)
        finally:
            before.transport.abort()

    return talk


async def _back(behind: asyncio.StreamReader, writer: asyncio.StreamWriter, *, buffers: bool) -> None:
    collected = b""
    while piece := await behind.read(65536):
        collected += piece
        if not buffers:
            writer.write(piece)
            await writer.drain()
    if buffers:
        writer.write(collected)
        await writer.drain()


class Certificates:
    """An authority, and certificates that are good or wrong in one way."""

    def __init__(self) -> None:
        self.authority = trustme.CA()

    def trust(self) -> ssl.SSLContext:
        """What a client of this authority checks with."""
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        return context

    def good(self, *names: str, **dates: Any) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert(*(names or ("127.0.0.1", "localhost")), **dates).configure_cert(context)
        return context

    def expired(self) -> ssl.SSLContext:
        now = datetime.datetime.now(datetime.UTC)
        return self.good(not_before=now - datetime.timedelta(days=90), not_after=now - datetime.timedelta(days=3))

    def soon_over(self) -> ssl.SSLContext:
        return self.good(not_after=datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=3))

    def of_tomorrow(self) -> ssl.SSLContext:
        return self.good(not_before=datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1))

    def self_signed(self, folder: Any) -> ssl.SSLContext:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        return self._made(folder, issuer=name, subject=name, key=None)

    def without_chain(self, folder: Any) -> ssl.SSLContext:
        """Signed by an authority between, whose certificate is not sent; it says where that could be had."""
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Authority Between")])
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        return self._made(folder, issuer=issuer, subject=subject, key=ec.generate_private_key(ec.SECP256R1()))

    @staticmethod
    def _made(
        folder: Any, *, issuer: x509.Name, subject: x509.Name, key: ec.EllipticCurvePrivateKey | None
    ) -> ssl.SSLContext:
        own = ec.generate_private_key(ec.SECP256R1())
        now = datetime.datetime.now(datetime.UTC)
        names = [x509.DNSName("localhost")]
        made = (
            x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(own.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=60))
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
        )  # fmt: skip
        if key is not None:
            place = x509.AccessDescription(
                AuthorityInformationAccessOID.CA_ISSUERS,
                x509.UniformResourceIdentifier("http://authority.invalid/ca.der"),
            )
            made = made.add_extension(x509.AuthorityInformationAccess([place]), critical=False)
        signed = made.sign(key or own, hashes.SHA256())
        pem = folder / "server.pem"
        pem.write_bytes(
            own.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + signed.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        return context
