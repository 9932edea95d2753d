"""Who may call: known Host names, allowed Origins, API keys and the local token. Pure ASGI: disconnects get through."""

from __future__ import annotations

import ipaddress
import secrets
import socket
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from quarterdeck.control import origins
from quarterdeck.control.errors import render
from quarterdeck.control.framing import MIB, CountedBody, check_form, too_large
from quarterdeck.control.headers import Header, cache_header, security_headers
from quarterdeck.control.origins import Origins
from quarterdeck.errors import AppError
from quarterdeck.proxy.access.access import Access, keep_principal
from quarterdeck.proxy.client import headers_of
from quarterdeck.settings import Settings

CONTROL_PREFIX = "/api/"
OPEN_PATHS = frozenset({"/", "/health", "/v1/health", "/version", "/api/version", "/openapi.json"})
"""Answered without a key: whether Quarterdeck is there, and what it offers."""
UPLOAD_PREFIX = "/api/blobs/"
"""Files of models, which are as large as they are."""
# Only this machine and its containers know these names, so no page on the web can claim them.
_CONTAINER_NAMES = ("host.docker.internal", "host.containers.internal")
_STREAMS = (b"text/event-stream", b"application/x-ndjson")
_REMEMBERED = 256
# After these, what follows on the connection could be anything.
_ENDING = frozenset({400, 413, 414, 431})


def local_token(path: Path) -> str:
    """The token of this data folder, made on the first start; readable by its owner only."""
    try:
        token = path.read_text(encoding="ascii").strip()
    except (FileNotFoundError, UnicodeDecodeError):
        token = ""
    if len(token) >= 32:
        path.chmod(0o600)
        return token
    # In hexadecimal: one that begins with a minus would be taken for an option on the command line.
    token = secrets.token_hex(32)
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(token, encoding="ascii")
    return token


class _Rules:
    """What the settings say of requests, worked out once for as long as they stay."""

    def __init__(self, settings: Settings, own_names: frozenset[str]) -> None:
        self.made_of = settings
        self.origins: Origins = origins.allowed(settings)
        self.headers: list[Header] = security_headers(settings)
        self.cache: Header | None = cache_header(settings)
        self.body_limit = settings.body_limit * MIB
        self._names = own_names | {each.strip().lower() for each in settings.allowed_hosts}
        self._seen: set[str] = set()

    def knows(self, host: str) -> bool:
        """Whether a Host header names this machine."""
        if host in self._seen:
            return True
        name = _host_name(host)
        known = name in self._names or _is_loopback(name)
        if known and len(self._seen) < _REMEMBERED:
            self._seen.add(host)
        return known


class Guard:
    """Refuses requests that do not come from where they should, and dresses the answers to the others.

    Control routes need the local token or an admin key; every other path needs what `access` asks, except
    OPEN_PATHS. `ollama_paths` are those below /api/ that are no control routes; “{…}” at their end stands for anything.
    `refused` hears of each request of a client that was refused.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        access: Access,
        settings: Callable[[], Settings],
        ollama_paths: Iterable[str] = (),
        refused: Callable[[Scope, AppError], None] = lambda _scope, _error: None,
    ) -> None:
        self._app = app
        self._access = access
        self._settings = settings
        host = socket.gethostname().lower()
        self._own_names = frozenset({"localhost", host, f"{host}.local", *_CONTAINER_NAMES})
        self._ollama = frozenset(path for path in ollama_paths if "{" not in path)
        self._ollama_below = tuple(path.partition("{")[0] for path in ollama_paths if "{" in path)
        self._rules = _Rules(settings(), self._own_names)
        self._loopback: dict[str, bool] = {}
        self._refused = refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        rules = self._current()
        headers = headers_of(scope)
        extra = rules.headers
        try:
            length = check_form(scope)
            self._check_host(rules, headers, scope)
            if "origin" in headers:
                extra = extra + self._for_page(rules, headers, scope["path"])
                if _is_preflight(scope, headers):
                    extra = extra + origins.preflight_headers(scope["headers"])
                    await Response()(scope, receive, _dressed(send, extra, None))
                    return
            self._check_caller(scope, headers)
            unlimited = scope["path"].startswith(UPLOAD_PREFIX)
            if length is not None and length > rules.body_limit and not unlimited:
                raise too_large(rules.body_limit)
        except AppError as error:
            if not self._is_control(scope["path"]):
                self._refused(scope, error)
            await _refuse(error, scope, receive, _dressed(send, extra, rules.cache))
            return
        if extra or rules.cache is not None:
            send = _dressed(send, extra, rules.cache)
        if length is None and not unlimited:
            await self._counted(scope, receive, send, rules.body_limit)
        else:
            await self._app(scope, receive, send)

    def _current(self) -> _Rules:
        settings = self._settings()
        # Settings are immutable, so the same object says the same.
        if settings is not self._rules.made_of:
            self._rules = _Rules(settings, self._own_names)
        return self._rules

    async def _counted(self, scope: Scope, receive: Receive, send: Send, limit: int) -> None:
        body = CountedBody(limit, receive, send)
        try:
            await self._app(scope, body.receive, body.send)
        except Exception:
            if not body.exceeded:
                raise
        if body.exceeded and not body.answered:
            await _refuse(too_large(limit), scope, receive, send)

    def _check_host(self, rules: _Rules, headers: Mapping[str, str], scope: Scope) -> None:
        host = headers.get("host", "")
        if rules.knows(host):
            return
        # An address is not a name that could be made to point here, so the one that was reached is as good as ours.
        name = _host_name(host)
        if scope["server"] is None or name != scope["server"][0]:
            raise AppError(
                "forbidden_host",
                f"Requests for the host name “{name}” are not served.",
                "Use localhost, or add the name to “Further host names” in Settings.",
                status=403,
            )

    def _for_page(self, rules: _Rules, headers: Mapping[str, str], path: str) -> list[Header]:
        """What a page may be told. Raises AppError `forbidden_origin` for one that may not call."""
        origin = headers["origin"]
        known = origin in rules.origins.exact or origins.of_browser(origin) in rules.origins.exact
        if known or _authority(origin) == headers.get("host", "").lower():
            return origins.answer_headers(origin.encode("latin-1"), any_page=False)
        if rules.origins.any and not self._is_control(path):
            if self._access.keys.exist:
                return origins.answer_headers(b"", any_page=True)
            hint = "“*” in “Allowed web origins” counts only once there is an API key: else every page could call."
        else:
            hint = "Add the address to “Allowed web origins” in Settings if you trust the page."
        raise AppError("forbidden_origin", f"Web pages of {origin} may not call Quarterdeck.", hint, status=403)

    def _check_caller(self, scope: Scope, headers: Mapping[str, str]) -> None:
        path = scope["path"]
        if path in OPEN_PATHS:
            return
        if self._is_control(path):
            principal = self._access.check_control(headers)
        else:
            principal = self._access.check(headers, loopback_bind=self._is_from_here(scope, headers))
        keep_principal(scope, principal)

    def _is_control(self, path: str) -> bool:
        return path.startswith(CONTROL_PREFIX) and path not in self._ollama and not path.startswith(self._ollama_below)

    def _is_from_here(self, scope: Scope, headers: Mapping[str, str]) -> bool:
        """Whether a request came in on a loopback address, and no web server passed it on from elsewhere."""
        address = scope["server"][0] if scope["server"] is not None else "127.0.0.1"
        known = self._loopback.get(address)
        if known is None:
            known = self._loopback[address] = _is_loopback(address)
        forwarded = headers.get("x-forwarded-for")
        return known and (forwarded is None or all(_is_loopback(each.strip()) for each in forwarded.split(",")))


def _dressed(send: Send, extra: list[Header], cache: Header | None) -> Send:
    """`send` with headers that the answer does not have of itself; `cache` only where it is no stream."""

    async def dressed(message: Message) -> None:
        if message["type"] == "http.response.start":
            given = list(message.get("headers", ()))
            names = {name for name, _ in given} - {b"vary"}
            added = [header for header in extra if header[0] not in names]
            if cache is not None and cache[0] not in names and not _is_stream(given):
                added.append(cache)
            message = {**message, "headers": given + added}
        await send(message)

    return dressed


def _is_stream(headers: list[Header]) -> bool:
    return any(name == b"content-type" and value.startswith(_STREAMS) for name, value in headers)


async def _refuse(error: AppError, scope: Scope, receive: Receive, send: Send) -> None:
    answer = render(scope["path"], error)
    if error.status == 401:
        answer.headers["www-authenticate"] = "Bearer"
    if error.status in _ENDING:
        answer.headers["connection"] = "close"
    await answer(scope, receive, send)


def _host_name(host: str) -> str:
    if host.startswith("[") and "]" in host:
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()


def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _authority(origin: str) -> str | None:
    """Host and port of a web origin; None for one that has none, such as null."""
    try:
        return urlsplit(origin).netloc.lower() or None
    except ValueError:
        return None


def _is_preflight(scope: Scope, headers: Mapping[str, str]) -> bool:
    """A browser's question before a cross-origin call: it carries no token, and its Origin was checked."""
    return scope["method"] == "OPTIONS" and "access-control-request-method" in headers
