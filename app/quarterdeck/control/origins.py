"""Which web pages may call Quarterdeck, and how their browsers are told."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import urlsplit

from quarterdeck.errors import AppError
from quarterdeck.settings import Settings

ANY = "*"
SETTINGS = frozenset({"allowed_origins", "cors_custom_schemes"})

_WEB = {"http": 80, "https": 443}
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")
_FIELD_NAMES = re.compile(rb"[A-Za-z0-9!#$%&'*+.^_`|~, -]*")
_EXPOSED = b", ".join(
    b"x-quarterdeck-" + name for name in (b"route", b"model", b"dropped", b"applied", b"warning")
) + b", x-request-id, retry-after"  # fmt: skip

Header = tuple[bytes, bytes]


class Origins(NamedTuple):
    """The pages that may call: those named, and with `any` all others that send an API key."""

    exact: frozenset[str]
    any: bool


def check(settings: Settings) -> None:
    """Raises AppError `bad_setting` for an origin or a scheme that cannot be used."""
    schemes = _schemes(settings)
    entries = _entries(settings)
    for entry in entries:
        if entry == ANY:
            if len(entries) > 1:
                raise _bad("“*” stands for every page, so it cannot stand beside others.", "Name the pages, or only *.")
        else:
            _origin(entry, schemes)


def allowed(settings: Settings) -> Origins:
    """What can be used of the settings; an entry that cannot allows nothing."""
    try:
        schemes = _schemes(settings)
    except AppError:
        schemes = frozenset(_WEB)
    usable = set()
    entries = _entries(settings)
    for entry in entries:
        try:
            usable.add(_origin(entry, schemes))
        except AppError:
            continue
    return Origins(frozenset(usable), any=entries == [ANY])


def of_browser(origin: str) -> str:
    """An Origin header in the form in which the allowed ones are kept; one that is none stays as it is."""
    try:
        parts = urlsplit(origin)
        return _written(parts.scheme, parts.hostname or "", parts.port)
    except ValueError:
        return origin


def answer_headers(origin: bytes, *, any_page: bool) -> list[Header]:
    """What lets a page of `origin` read an answer. Credentials of the browser are never asked for."""
    allowed_origin = (b"access-control-allow-origin", b"*" if any_page else origin)
    return [allowed_origin, (b"access-control-expose-headers", _EXPOSED), (b"vary", b"Origin")]


def preflight_headers(asked: Iterable[Header]) -> list[Header]:
    """What a browser wants to know before it sends a request with a key or a JSON body."""
    headers = [
        (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, PATCH, DELETE"),
        (b"access-control-max-age", b"600"),
    ]
    for name, value in asked:
        if name == b"access-control-request-headers" and _FIELD_NAMES.fullmatch(value):
            headers.append((b"access-control-allow-headers", value))
        if name == b"access-control-request-private-network" and value == b"true":
            headers.append((b"access-control-allow-private-network", b"true"))
    return headers


def _entries(settings: Settings) -> list[str]:
    return [entry for each in settings.allowed_origins if (entry := each.strip())]


def _schemes(settings: Settings) -> frozenset[str]:
    custom = {each.strip().lower().removesuffix("://") for each in settings.cors_custom_schemes} - {""}
    for scheme in custom:
        if not _SCHEME.fullmatch(scheme):
            raise _bad(f"“{scheme}” is not the scheme of an address.", "Write it like app, without ://.")
    return frozenset(_WEB) | custom


def _origin(entry: str, schemes: frozenset[str]) -> str:
    try:
        parts = urlsplit(entry)
        port, host = parts.port, parts.hostname
    except ValueError:
        raise _not_whole(entry) from None
    if parts.scheme not in schemes:
        raise _bad(
            f"The scheme of “{entry}” is not allowed.",
            f"Begin it with {' or '.join(f'{known}://' for known in sorted(schemes))}, or add its scheme to "
            "“Further schemes of web origins” (CORS_ALLOW_CUSTOM_SCHEME).",
        )
    beyond = parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc
    if not host or beyond or not entry.isascii() or not entry.isprintable() or " " in entry or ANY in entry:
        raise _not_whole(entry)
    return _written(parts.scheme, host, port)


def _written(scheme: str, host: str, port: int | None) -> str:
    """As browsers write it: lower case, without the port that goes without saying."""
    shown = f"[{host}]" if ":" in host else host
    return f"{scheme}://{shown}" if port is None or port == _WEB.get(scheme) else f"{scheme}://{shown}:{port}"


def _not_whole(entry: str) -> AppError:
    return _bad(f"“{entry}” is not the address of a page.", "Write scheme://host or scheme://host:port, and no path.")


def _bad(sentence: str, hint: str) -> AppError:
    return AppError("bad_setting", f"Allowed web origins: {sentence}", hint)
