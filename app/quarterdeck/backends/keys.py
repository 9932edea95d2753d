"""How a key goes with requests to a server."""

from __future__ import annotations

from collections.abc import Callable

from quarterdeck.backends.addresses import host_of

KeyFor = Callable[[str], str | None]
"""The key for the server at a base address; None or empty where it needs none."""

_AZURE = (".azure.com", ".azure.us", ".azure.cn")


def no_key(_url: str) -> None:
    return None


def is_azure(url: str) -> bool:
    return host_of(url).endswith(_AZURE)


def headers(url: str, key: str | None) -> dict[str, str]:
    """An empty key is legal: then no header is sent."""
    if not key:
        return {}
    return {"api-key": key} if is_azure(url) else {"Authorization": f"Bearer {key}"}
