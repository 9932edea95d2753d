"""Compares the addresses of servers, which people write in many ways."""

from __future__ import annotations

from urllib.parse import urlsplit

from quarterdeck.registry.names import fold

_LOOPBACK = ("localhost", "127.0.0.1", "::1", "0.0.0.0")  # noqa: S104 - as people write it, nothing is bound here
_PORTS = {"http": 80, "https": 443}


def base_url(url: str) -> str:
    """The address in its shortest form: no /v1, no slash at the end, one name for this machine."""
    text = url.strip()
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        return text
    host = "127.0.0.1" if host in _LOOPBACK else host
    path = parts.path.rstrip("/").removesuffix("/v1").rstrip("/")
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}:{port or _PORTS.get(parts.scheme, 80)}{path}"


def target_of(url: str | None, served_name: str | None) -> tuple[str, str] | None:
    """What tells one model on servers from another."""
    return None if not url or not served_name else (base_url(url), fold(served_name))
