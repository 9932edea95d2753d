"""Addresses as people write them: what is wrong with one, and how it should read."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import urlsplit

from quarterdeck.diagnosis.doctor.findings import StepError

_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
_MISTYPED = {
    "htp": "http", "htpp": "http", "hhtp": "http", "httpp": "http", "ttp": "http", "htttp": "http", "hppt": "http",
    "htps": "https", "htpps": "https", "hhtps": "https", "httpss": "https", "ttps": "https", "htttps": "https",
}  # fmt: skip
_START = re.compile(r"(?i)([a-z][a-z0-9+.-]*)(:[/\\]*|;/+|/{2,})(?=[^/\\]|$)")
_PORT = re.compile(r":(\d+)(?=[/?#]|$)")
_ENDPOINTS = (
    "/chat/completions", "/completions", "/embeddings", "/models", "/responses", "/messages", "/rerank",
    "/audio/speech", "/audio/transcriptions", "/images/generations",
    "/api/tags", "/api/chat", "/api/generate", "/api/version", "/api/ps", "/api/show", "/api/embed",
)  # fmt: skip
_QUOTES = "\"'`<>“”‘’,; \t\r\n\u00a0\u200b\ufeff"


class Repair(NamedTuple):
    """One thing that was put right; `harmless`: programs put it right as well."""

    code: str
    finding: str
    harmless: bool = False


@dataclass(frozen=True, slots=True)
class Address:
    """A repaired address in its parts. `path` has no slash at its end; `port` is always known."""

    scheme: str
    host: str
    port: int
    path: str = ""
    query: str = ""
    repairs: tuple[Repair, ...] = field(default=(), compare=False)

    @property
    def netloc(self) -> str:
        name = f"[{self.host}]" if ":" in self.host else self.host
        usual = 443 if self.scheme == "https" else 80
        return name if self.port == usual else f"{name}:{self.port}"

    @property
    def root(self) -> str:
        """Scheme, host and port."""
        return f"{self.scheme}://{self.netloc}"

    @property
    def url(self) -> str:
        return self.root + self.path + (f"?{self.query}" if self.query else "")

    @property
    def is_loopback(self) -> bool:
        return is_loopback(self.host)


def is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def read_address(text: str) -> Address:
    """Put an address right as far as that needs no guess about the server. Raises StepError where it cannot be read."""
    repairs: list[Repair] = []
    written = text.strip(_QUOTES)
    if written != text:
        repairs.append(Repair("stray_characters", "There were blanks or quotation marks around the address."))
    written = _bracketed(_with_scheme(written, repairs), repairs)
    try:
        parts = urlsplit(written)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise _unreadable(text) from None
    if not host or re.search(r"[\s\\,;]", host + parts.path):
        raise _unreadable(text)
    if parts.username is not None or parts.password is not None:
        repairs.append(Repair("password_in_address", "It holds a user name or a password, which end up in logs."))
    host = _reachable(host, repairs)
    path = _path(parts.path, repairs)
    usual = 443 if parts.scheme == "https" else 80
    return Address(parts.scheme, host, port or usual, path, parts.query, tuple(repairs))


def _with_scheme(written: str, repairs: list[Repair]) -> str:
    found = _START.match(written)
    if found is None or (found[1].lower() not in _SCHEMES | _MISTYPED and "//" not in found[2]):
        port = _PORT.search(written)
        scheme = "https" if port and port[1] in ("443", "8443") else "http"
        repairs.append(Repair("scheme_missing", f"It does not begin with http:// or https://; {scheme}:// was taken."))
        return f"{scheme}://{written}"
    word, rest = found[1].lower(), written[found.end() :]
    scheme = _SCHEMES.get(_MISTYPED.get(word, word), "")
    if not scheme:
        raise StepError("bad_scheme", f"“{found[1]}” is not a way to reach a language-model server.",
                      "Begin the address with http:// or https://.")  # fmt: skip
    if word in ("ws", "wss"):
        repairs.append(Repair("scheme_websocket", f"{word}:// is for WebSockets; the address begins with {scheme}://."))
    elif word in _MISTYPED or found[2] != "://":
        repairs.append(Repair("scheme_mistyped", f"“{found[0]}” should read {scheme}://."))
    return f"{scheme}://{rest}"


def _bracketed(written: str, repairs: list[Repair]) -> str:
    """An IPv6 address gets its brackets; its last group may have been meant as the port."""
    scheme, _, rest = written.partition("://")
    netloc, slash, path = rest.partition("/")
    if netloc.count(":") < 2 or "[" in netloc or "@" in netloc:
        return written
    head, _, port = netloc.rpartition(":")
    for host, end in ((head, f":{port}"), (netloc, "")):
        if _is_ipv6(host) and (not end or (port.isdigit() and len(port) > 3)):
            repairs.append(Repair("ipv6_brackets", "An IPv6 address needs square brackets around it."))
            return f"{scheme}://[{host}]{end}{slash}{path}"
    return written


def _is_ipv6(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).version == 6
    except ValueError:
        return False


def _reachable(host: str, repairs: list[Repair]) -> str:
    try:
        unspecified = ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return host
    if not unspecified:
        return host
    instead = "::1" if ":" in host else "127.0.0.1"
    said = f"{host} stands for all addresses of a machine: a server listens on it, no program can call it."
    repairs.append(Repair("any_address", f"{said} {instead} is this machine."))
    return instead


def _path(path: str, repairs: list[Repair]) -> str:
    made = re.sub(r"/{2,}", "/", path)
    if made != path:
        repairs.append(Repair("double_slash", "There are two slashes where one belongs."))
    trimmed = made.rstrip("/")
    if trimmed and trimmed != made:
        repairs.append(Repair("trailing_slash", "It ends with a slash; some programs then ask for “//models”.",
                              harmless=True))  # fmt: skip
    for endpoint in _ENDPOINTS:
        if trimmed.endswith(endpoint):
            trimmed = trimmed.removesuffix(endpoint)
            repairs.append(Repair("endpoint_in_address", f"It ends with {endpoint}, which programs add themselves."))
            break
    single = re.sub(r"(/v1){2,}$", "/v1", trimmed)
    if single != trimmed:
        repairs.append(Repair("double_v1", "It ends with /v1 more than once."))
    return single


def _unreadable(text: str) -> StepError:
    said = f"“{text.strip()}” is not an address." if text.strip() else "There is no address."
    return StepError("bad_address", said,
                   "Write it like http://127.0.0.1:8000/v1, with a port between 1 and 65535.")  # fmt: skip
