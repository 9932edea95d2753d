"""What stands between: a web server in front, a load balancer, and the path by which both look whether it lives."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from io import BytesIO

from quarterdeck.diagnosis.doctor.calling import Answer
from quarterdeck.diagnosis.doctor.findings import Found, StepError, failed, ok, skipped, warn
from quarterdeck.diagnosis.doctor.visit import Visit

_FRONTS = {
    "nginx": "nginx", "openresty": "nginx", "caddy": "Caddy", "apache": "Apache", "cloudflare": "Cloudflare",
    "envoy": "Envoy", "varnish": "Varnish", "traefik": "Traefik", "litespeed": "LiteSpeed", "iis": "IIS",
}  # fmt: skip
_HEALTH = ("/health/liveliness", "/health", "/v1/health", "/api/version", "/version")
"""LiteLLM's first: its /health asks every model."""
_TIMES = 4
_PICTURES = 1_200_000
"""Bytes: nginx takes no more than 1 MB unless told to, and a question with a picture is larger."""


async def check_front(visit: Visit) -> Found:
    """Which web server stands in front, whether it speaks HTTP/1.1 and lets questions with pictures pass."""
    first = visit.first
    assert first is not None
    name = front_of(first)
    who = name or "The server"
    if first.http10:
        return warn(
            "http_1_0",
            f"{who} answers with HTTP/1.0: streams cannot be told from broken answers, and WebSockets do not work.",
            "Let it speak HTTP/1.1 in both directions; in nginx: proxy_http_version 1.1;",
        )
    if name is None:
        return ok("No web server in front makes itself known.")
    if await _too_large(visit):
        return warn(
            "front_body_limit",
            f"{name} stands in front, and refuses questions of 1 MB, such as with pictures.",
            "Raise the limit; in nginx: client_max_body_size 100m;",
        )
    return ok(f"{name} stands in front.")


def front_of(answer: Answer) -> str | None:
    """The name of the web server that an answer came through."""
    told = " ".join(answer.headers.get(header, "") for header in ("Server", "Via")).lower()
    if "CF-RAY" in answer.headers:
        return "Cloudflare"
    return next(
        (name for word, name in _FRONTS.items() if word in told), "A proxy" if "Via" in answer.headers else None
    )


async def _too_large(visit: Visit) -> bool:
    """Asked with a text that no server takes for a question."""
    url = visit.at(f"{visit.address.root}{visit.address.path}/chat/completions")
    headers = {**visit.headers, "Content-Type": "application/json"}
    try:
        return (await visit.caller.ask("POST", url, headers=headers, data=BytesIO(b" " * _PICTURES))).status == 413
    except StepError:
        return False


async def check_balance(visit: Visit) -> Found:
    """Ask several times over new connections: a load balancer shows by answers that differ."""
    url = visit.at(f"{visit.api}/models")
    answers = await asyncio.gather(
        *(visit.caller.ask("GET", url, headers=visit.headers) for _ in range(_TIMES)), return_exceptions=True
    )
    good = [answer for answer in answers if isinstance(answer, Answer) and answer.status < 400]
    if not good:
        return failed(
            "unsteady", "The list of models came once, and not when asked again.", "Look at the server's log."
        )
    if any(isinstance(answer, Answer) and answer.status == 429 for answer in answers):
        return skipped("The server limits how often it may be asked.")
    if len(good) < len(answers):
        return warn(
            "balance_partly_down",
            f"{len(answers) - len(good)} of {len(answers)} requests failed: "
            "one of several servers behind a load balancer may be down.",
            "Check each server, and that the load balancer looks at a path that tells the truth (/health).",
        )
    if len({_names(answer) for answer in good}) > 1:
        return warn(
            "balance_different",
            "Several servers answer in turn, and they have different models.",
            "Give all of them the same models, or send each model to its own server.",
        )
    if await _is_scattered(visit):
        return warn(
            "balance_not_sticky",
            "A session that one server began is answered by another, which does not know it.",
            "Switch sticky sessions on in the load balancer (in nginx: ip_hash), or share them through Redis.",
        )
    return ok(f"{len(answers)} requests over separate connections got the same answer.")


def _names(answer: Answer) -> frozenset[str]:
    body = answer.json()
    rows: Sequence[object] = (body.get("data") or body.get("models") or []) if isinstance(body, dict) else body or []
    return frozenset(str(row.get("id") or row.get("name")) for row in rows if isinstance(row, dict))


async def _is_scattered(visit: Visit) -> bool:
    """Of a Socket.IO path: a session is begun by one request and gone on with by others."""
    path = visit.target.websocket.strip("/")
    if "socket.io" not in path:
        return False
    url = f"{visit.address.root}/{path}/?EIO=4&transport=polling"
    headers = {"Origin": visit.target.origin or visit.address.root}
    try:
        begun = (await visit.caller.ask("GET", url, headers=headers)).text
        sid = begun.partition('"sid":"')[2].partition('"')[0]
        if not sid:
            return False
        # An empty answer to a ping: servers that know the session take it.
        again = []
        for _ in range(_TIMES):
            again.append(await visit.caller.ask("POST", f"{url}&sid={sid}", headers=headers, data=BytesIO(b"3")))
    except StepError:
        return False
    return any(answer.status == 400 and "session" in answer.text.lower() for answer in again)


async def check_health(visit: Visit) -> Found:
    """The path that a load balancer can look at without a key."""
    locked = ""
    for path in _HEALTH:
        try:
            answer = await visit.caller.ask("GET", visit.address.root + path)
        except StepError:
            continue
        if answer.status < 300 and not answer.is_page:
            return ok(f"A load balancer can look at {path} to see whether the server lives.")
        if answer.status in (401, 403):
            locked = locked or path
        if answer.status >= 500:
            return warn(
                "unhealthy",
                f"{path} answers with status {answer.status}: the server itself says it is not well.",
                "Look at its log; a load balancer would send nobody there.",
            )
    if locked:
        return ok(f"{locked} wants a key.", "health_needs_key", "A load balancer needs a path without one.")
    return ok(
        "None of the usual paths for health checks answers.",
        "no_health_path",
        "A load balancer can look at the list of models instead.",
    )
