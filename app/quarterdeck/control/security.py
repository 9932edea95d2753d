"""Who may call: known Host names, allowed Origins, the local token for `/api`. Pure ASGI: disconnects get through."""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import socket
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from quarterdeck.control.errors import render
from quarterdeck.errors import AppError

CONTROL_PREFIX = "/api/"


def local_token(path: Path) -> str:
    """The token of this data folder, made on the first start; readable by its owner only."""
    try:
        token = path.read_text(encoding="ascii").strip()
    except (FileNotFoundError, UnicodeDecodeError):
        token = ""
    if len(token) >= 32:
        path.chmod(0o600)
        return token
    token = secrets.token_urlsafe(32)
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(token, encoding="ascii")
    return token


class Guard:
    """Refuses requests that do not come from where they should."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        token: str,
        allowed_hosts: Callable[[], list[str]],
        allowed_origins: Callable[[], list[str]],
    ) -> None:
        self._app = app
        self._token = token.encode()
        self._allowed_hosts = allowed_hosts
        self._allowed_origins = allowed_origins
        self._own_names = {"localhost", socket.gethostname().lower()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        try:
            self._check_host(headers)
            self._check_origin(headers)
            self._check_token(scope["path"], headers, preflight=_is_preflight(scope, headers))
        except AppError as error:
            await render(scope["path"], error)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _check_host(self, headers: Headers) -> None:
        name = _host_name(headers.get("host", ""))
        known = name in self._own_names or _is_loopback(name)
        if not known and name not in (each.lower() for each in self._allowed_hosts()):
            raise AppError(
                "forbidden_host",
                f"Requests for the host name “{name}” are not served.",
                "Use localhost, or add the name to “Further host names” in Settings.",
                status=403,
            )

    def _check_origin(self, headers: Headers) -> None:
        origin = headers.get("origin")
        if origin is None or origin in self._allowed_origins():
            return
        if _authority(origin) == headers.get("host", "").lower():
            return
        raise AppError(
            "forbidden_origin",
            f"Web pages of {origin} may not call Quarterdeck.",
            "Add the address to “Allowed web origins” in Settings if you trust the page.",
            status=403,
        )

    def _check_token(self, path: str, headers: Headers, *, preflight: bool) -> None:
        if not path.startswith(CONTROL_PREFIX) or preflight:
            return
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), self._token):
            raise AppError(
                "unauthorized",
                "This address needs the local token.",
                "Send “Authorization: Bearer …” with the text of the file “token” in the data folder.",
                status=401,
            )


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


def _is_preflight(scope: Scope, headers: Headers) -> bool:
    """A browser's question before a cross-origin call: it carries no token, and its Origin was checked."""
    return scope["method"] == "OPTIONS" and "origin" in headers and "access-control-request-method" in headers
