"""What web pages need: permission for their address (CORS), and WebSockets."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from quarterdeck.diagnosis.doctor.addresses import is_loopback
from quarterdeck.diagnosis.doctor.calling import MOST_BODY, Answer
from quarterdeck.diagnosis.doctor.catalogue import explain
from quarterdeck.diagnosis.doctor.findings import Found, failed, ok, warn
from quarterdeck.diagnosis.doctor.visit import Visit
from quarterdeck.schemas.doctor import StepState

STRANGER = "https://stranger.invalid"
"""A page that no server has reason to trust."""

_NAMES = (
    "In Open WebUI: CORS_ALLOW_ORIGIN; in Ollama: OLLAMA_ORIGINS; in vLLM: --allowed-origins; "
    "in Quarterdeck: “Allowed web origins” in Settings."
)


_NO_METHOD = failed(
    "cors_method",
    "The page may not send questions: POST is not among the methods that are allowed.",
    "Add POST to Access-Control-Allow-Methods.",
)
_TWICE = failed(
    "cors_twice",
    "The permission is given twice, by the server and by a web server in front, and browsers take none then.",
    "Let only one of them set Access-Control-Allow-Origin.",
)


async def check_cors(visit: Visit) -> Found:
    """What a browser asks before it lets a page of that address speak with the server."""
    origin = visit.target.origin.rstrip("/")
    wrong = _wrong_origin(visit, origin)
    if wrong:
        return wrong
    url = visit.at(f"{visit.api or visit.address.root + visit.address.path}/chat/completions")
    asks = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    answer = await visit.caller.ask("OPTIONS", url, headers=asks)
    refused = _not_allowed(answer, origin) or _headers(answer.headers)
    if refused:
        return refused
    found = await _actual(visit, origin)
    named = _words(answer.headers.get("Access-Control-Allow-Headers", ""))
    if found.state is StepState.OK and visit.key and "authorization" not in named:
        return warn(
            "cors_key_by_star",
            f"Pages of {origin} may use the server, but the header of the key is allowed only by “*”.",
            "Newer browsers want it by name: add authorization to Access-Control-Allow-Headers.",
        )
    return found


def _not_allowed(answer: Answer, origin: str) -> Found | None:
    allowed = _permission(answer)
    if answer.status >= 300:
        return _disallowed(answer.text, origin) or _refused(answer.status, allowed, origin)
    if allowed is None:
        return failed(
            "cors_off",
            f"The server says nothing about pages of other addresses, so browsers block {origin}.",
            f"Allow {origin} in the server. {_NAMES}",
        )
    if "," in allowed:
        return _TWICE
    if allowed not in ("*", origin):
        return failed(
            "cors_other_origin",
            f"The server allows pages of {allowed}, not of {origin}.",
            f"Add {origin} to its list. {_NAMES}",
        )
    return None


def _wrong_origin(visit: Visit, origin: str) -> Found | None:
    parts = urlsplit(origin)
    if not parts.scheme or not parts.netloc or parts.path:
        return failed(
            "bad_origin",
            f"“{origin}” is not the address of a page as browsers send it.",
            "Write scheme and host, and the port where there is one: http://localhost:3000",
        )
    if parts.scheme == "https" and visit.address.scheme == "http" and not is_loopback(visit.address.host):
        return failed(
            "mixed_content",
            "The page is loaded over https, and browsers forbid it to speak plain http.",
            "Give this server https too, best through a web server in front.",
        )
    return None


def _disallowed(said: str, origin: str) -> Found | None:
    """What FastAPI's servers refuse, in their words."""
    _, found, what = said.partition("Disallowed CORS ")
    if not found:
        return None
    if "origin" in what:
        return failed(
            "cors_other_origin",
            f"The server allows pages of some addresses, and {origin} is none of them.",
            f"Add {origin} to its list. {_NAMES}",
        )
    return _NO_METHOD if "method" in what else _no_header(["authorization", "content-type"])


def _refused(status: int, allowed: str | None, origin: str) -> Found:
    if allowed in ("*", origin):
        return failed(
            "cors_preflight_status",
            f"The page is allowed, but the question before it fails with status {status}.",
            "Let the server, or the web server in front, answer OPTIONS with 204 and without a key.",
        )
    if status == 403:
        return failed(
            "cors_other_origin",
            f"The server refuses pages of {origin} (status 403).",
            f"Add {origin} to the pages that it allows. {_NAMES}",
        )
    if status in (401, 407):
        return failed(
            "cors_preflight_refused",
            f"The question that browsers ask first (OPTIONS) is refused with status {status}.",
            f"Let OPTIONS pass without a key, and allow {origin} in the server. {_NAMES}",
        )
    return failed(
        "cors_off",
        f"The server does not know the question that browsers ask first (OPTIONS, status {status}), "
        f"so they block pages of {origin}.",
        f"Allow {origin} in the server. {_NAMES}",
    )


def _headers(headers: Mapping[str, str]) -> Found | None:
    methods = _words(headers.get("Access-Control-Allow-Methods", "post"))
    if not methods & {"post", "*"}:
        return _NO_METHOD
    names = _words(headers.get("Access-Control-Allow-Headers", ""))
    missing = [name for name in ("authorization", "content-type") if name not in names]
    if missing and "*" not in names:
        return _no_header(missing)
    return None


def _no_header(names: list[str]) -> Found:
    return failed(
        "cors_headers",
        f"The page may not send the header{'s' if len(names) > 1 else ''} {' and '.join(names)}.",
        f"Add {' and '.join(names)} to Access-Control-Allow-Headers.",
    )


async def _actual(visit: Visit, origin: str) -> Found:
    """The permission must stand in the answer itself too; and strangers should have none."""
    url = visit.at(f"{visit.api or visit.address.root}/models")
    answer = await visit.caller.ask("GET", url, headers={**visit.headers, "Origin": origin})
    given = _permission(answer)
    if given is not None and "," in given:
        return _TWICE
    if given not in ("*", origin):
        return failed(
            "cors_answer",
            "The first question is allowed, but the answer itself lacks the permission.",
            "Set Access-Control-Allow-Origin on every answer, on errors too (in nginx: always).",
        )
    other = await visit.caller.ask("GET", url, headers={**visit.headers, "Origin": STRANGER})
    echoed = _permission(other) == STRANGER
    if echoed and other.headers.get("Access-Control-Allow-Credentials", "").lower() == "true":
        return warn(
            "cors_open",
            f"Pages of {origin} are allowed, and so is every other page, with its cookies.",
            "Name the pages that may use the server in place of “*”.",
        )
    return ok(f"Pages of {origin} may use the server.")


def _permission(answer: Answer) -> str | None:
    """As browsers read it: a header that is there twice has both values."""
    given = answer.headers.getall("Access-Control-Allow-Origin", [])
    return ", ".join(given) if given else None


def _words(text: str) -> set[str]:
    return {word.strip().lower() for word in text.split(",")}


async def check_websocket(visit: Visit) -> Found:
    """Whether a WebSocket comes through; at a Socket.IO path, up to its first word."""
    path = "/" + visit.target.websocket.lstrip("/")
    socketio = "socket.io" in path
    url = visit.address.root + (f"{path.rstrip('/')}/?EIO=4&transport=websocket" if socketio else path)
    origin = visit.target.origin or visit.address.root
    headers = {**visit.headers, "Origin": origin}
    status, body, http10 = await _wish(visit, url, headers)
    if status in (401, 403) and (await _wish(visit, url, visit.headers))[0] == 101:
        return failed("websocket_origin", f"The server does not accept WebSockets from pages of {origin}.",
                      "Add the address of the page to CORS_ALLOW_ORIGIN and restart the server.")  # fmt: skip
    if status != 101:
        return _not_upgraded(status, body, path, http10=http10)
    return await _first_word(visit, url, headers) if socketio else ok(f"A WebSocket opens at {path}.")


async def _wish(visit: Visit, url: str, headers: Mapping[str, str]) -> tuple[int, str, bool]:
    """Status and text of the answer to a wish to become a WebSocket, and whether it is HTTP/1.0."""
    wish = {
        "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
    }  # fmt: skip
    limit = visit.limits.websocket
    async with visit.caller.open("GET", url, headers={**headers, **wish}, limit=limit, read_until_eof=False) as answer:
        http10 = answer.version == aiohttp.HttpVersion10
        if answer.status == 101:
            return 101, "", http10
        return answer.status, (await answer.content.read(MOST_BODY)).decode("utf-8", "replace"), http10


def _not_upgraded(status: int, body: str, path: str, *, http10: bool) -> Found:
    told = explain(status, body)
    if told.code == "websocket_origin":
        return failed(told.code, told.meaning, told.fix)
    if status == 404:
        return failed(
            "websocket_path",
            f"There is nothing at {path}.",
            "Check the path; Open WebUI's is /ws/socket.io. A web server in front must pass it on.",
        )
    if status in (301, 302, 303, 307, 308):
        return failed(
            "websocket_redirect",
            "The wish to become a WebSocket is answered with another address, which browsers do not follow.",
            "Enter that address, often the one with https, in place of this one.",
        )
    if status in (401, 403):
        return failed(
            "websocket_refused",
            f"The WebSocket is refused with status {status}.",
            "Check the key, and the addresses of pages that the server accepts (CORS_ALLOW_ORIGIN).",
        )
    if status in (502, 503, 504):
        return failed(told.code, told.meaning, told.fix)
    by = " The answer is HTTP/1.0, which has no WebSockets." if http10 else ""
    return failed(
        "websocket_not_upgraded",
        f"The connection did not become a WebSocket (status {status}): the wish got lost on the way.{by}",
        "In nginx: proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; "
        'proxy_set_header Connection "upgrade"; in Apache: ProxyPass … upgrade=websocket.',
    )


async def _first_word(visit: Visit, url: str, headers: Mapping[str, str]) -> Found:
    timeout = aiohttp.ClientTimeout(total=visit.limits.websocket)
    patience = aiohttp.ClientWSTimeout(ws_receive=visit.limits.websocket, ws_close=visit.limits.websocket)
    try:
        async with (
            visit.caller.session(timeout) as http,
            http.ws_connect(url, headers=headers, timeout=patience) as socket,
        ):
            word = await socket.receive()
    except (TimeoutError, aiohttp.ClientError, OSError):
        return _silent()
    hello = _hello(word.data)
    if hello is None:
        return _silent()
    return ok(
        f"A WebSocket opens, and the server greets; it looks every {hello.get('pingInterval', 0) / 1000:g} s "
        "whether the page is still there."
    )


def _silent() -> Found:
    return warn(
        "websocket_silent",
        "The WebSocket opens, but the server says nothing.",
        "Something on the way holds it back, or the server behind it is busy.",
    )


def _hello(data: Any) -> dict[str, Any] | None:
    if not isinstance(data, str) or not data.startswith("0"):
        return None
    try:
        hello = json.loads(data[1:])
    except ValueError:
        return None
    return hello if isinstance(hello, dict) else None
