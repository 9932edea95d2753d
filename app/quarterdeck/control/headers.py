"""Security headers of answers, from the settings; a value that makes no sense is replaced by a safe one."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from quarterdeck.settings import Settings

Header = tuple[bytes, bytes]

_DIRECTIVE = r"[a-z-]+(=\d+)?"
_CACHE_CONTROL = re.compile(rf"{_DIRECTIVE}(\s*,\s*{_DIRECTIVE})*", re.IGNORECASE)
_HSTS = re.compile(r"max-age=\d+(\s*;\s*includeSubDomains)?(\s*;\s*preload)?", re.IGNORECASE)
_FEATURE = r"[a-z-]+=(\*|\([^()]*\))"
_PERMISSIONS = re.compile(rf"{_FEATURE}(\s*,\s*{_FEATURE})*", re.IGNORECASE)
_REFERRER = {
    "no-referrer", "no-referrer-when-downgrade", "origin", "origin-when-cross-origin", "same-origin", "strict-origin",
    "strict-origin-when-cross-origin", "unsafe-url",
}  # fmt: skip
_CROSS_DOMAIN = {"none", "master-only", "by-content-type", "by-ftp-filename", "all"}
_PLAIN = re.compile(r"[\x20-\x7e]+")


class _Kind(NamedTuple):
    """A header: its setting, its name, when a value is valid and what is sent in place of one that is not."""

    setting: str
    name: bytes
    valid: Callable[[str], object]
    otherwise: str


_KINDS = (
    _Kind("header_hsts", b"strict-transport-security", _HSTS.fullmatch, "max-age=31536000;includeSubDomains"),
    _Kind("header_permissions_policy", b"permissions-policy", _PERMISSIONS.fullmatch, ""),
    _Kind("header_referrer_policy", b"referrer-policy", lambda value: value.lower() in _REFERRER, "no-referrer"),
    _Kind("header_content_type_options", b"x-content-type-options", lambda value: value == "nosniff", "nosniff"),
    _Kind("header_download_options", b"x-download-options", lambda value: value == "noopen", "noopen"),
    _Kind("header_frame_options", b"x-frame-options", lambda value: value.upper() in {"DENY", "SAMEORIGIN"}, "DENY"),
    _Kind(
        "header_cross_domain_policies", b"x-permitted-cross-domain-policies",
        lambda value: value.lower() in _CROSS_DOMAIN, "none",
    ),
    _Kind("header_content_security_policy", b"content-security-policy", lambda _value: True, ""),
)  # fmt: skip
_CACHE = _Kind("header_cache_control", b"cache-control", _CACHE_CONTROL.fullmatch, "no-store, max-age=0")


def security_headers(settings: Settings) -> list[Header]:
    """The headers of every answer; those whose setting is empty are not among them."""
    return [header for kind in _KINDS if (header := _header(kind, settings)) is not None]


def cache_header(settings: Settings) -> Header | None:
    """The header of every answer that is not a stream, if there is one."""
    return _header(_CACHE, settings)


def _header(kind: _Kind, settings: Settings) -> Header | None:
    value = str(getattr(settings, kind.setting)).strip()
    if not value:
        return None
    if not _PLAIN.fullmatch(value) or not kind.valid(value):
        value = kind.otherwise
    return (kind.name, value.encode("ascii")) if value else None
