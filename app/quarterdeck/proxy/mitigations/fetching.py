"""Fetching pictures that a request names by their address, without becoming a door into the local network.

Addresses of this machine and of private networks are refused unless a person allowed the host. The name is looked up
once, and the connection is made to the very address that was checked.
"""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import socket
from collections.abc import Collection
from urllib.parse import SplitResult, urljoin, urlsplit

import aiohttp
from yarl import URL

from quarterdeck.errors import AppError
from quarterdeck.proxy.mitigations.pictures import too_large

MOST_FETCHED = 16
_SECONDS = 20.0
_MOST_REDIRECTS = 3
_REDIRECTS = frozenset((301, 302, 303, 307, 308))
_PORTS = {"http": 80, "https": 443}
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class Fetcher:
    """Fetches the pictures of one request. `allowed` are host names at which private addresses are no matter."""

    def __init__(self, http: aiohttp.ClientSession, *, most_bytes: int, allowed: Collection[str]) -> None:
        self._http = http
        self._most_bytes = most_bytes
        self._allowed = {name.casefold() for name in allowed}
        self._count = 0

    async def __call__(self, url: str) -> str:
        """The picture as a data URL; what is no web address stays. Raises AppError `image_not_fetched`, or 413."""
        if url.startswith("data:") or ":" not in url[:40]:
            return url
        self._count += 1
        if self._count > MOST_FETCHED:
            raise _failed(f"A request may name {MOST_FETCHED} pictures by their address.")
        try:
            async with asyncio.timeout(_SECONDS):
                return await self._follow(url)
        except TimeoutError:
            raise _failed(f"A picture did not arrive within {_SECONDS:.0f} seconds.") from None
        except (aiohttp.ClientError, OSError) as error:
            raise _failed(f"A picture cannot be fetched ({type(error).__name__}).") from None

    async def _follow(self, url: str) -> str:
        for _ in range(_MOST_REDIRECTS + 1):
            parts = _checked(url)
            async with self._http.get(
                await self._pinned(parts),
                headers={"Host": parts.netloc, "Accept": "image/*", "Accept-Encoding": "identity"},
                server_hostname=parts.hostname if parts.scheme == "https" else None,
                allow_redirects=False,
                auto_decompress=False,
            ) as answer:
                if answer.status not in _REDIRECTS:
                    return await self._read(answer)
                url = urljoin(url, answer.headers.get("Location", ""))
        raise _failed("The address of a picture leads from one place to the next.")

    async def _pinned(self, parts: SplitResult) -> URL:
        """The address with the host's number in place of its name."""
        host, port = str(parts.hostname), parts.port or _PORTS[parts.scheme]
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise _failed(f"There is no host named “{host}”.") from None
        numbers = [str(entry[4][0]) for entry in found]
        if host.casefold() not in self._allowed and not all(map(is_public, numbers)):
            raise _failed(
                f"The picture at “{host}” is on this machine or in its network.",
                "Send the picture itself, or add the host to “Hosts of pictures” in Settings.",
            )
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        number = f"[{numbers[0]}]" if ":" in numbers[0] else numbers[0]
        return URL(f"{parts.scheme}://{number}:{port}{path}", encoded=True)

    async def _read(self, answer: aiohttp.ClientResponse) -> str:
        if answer.status != 200:
            raise _failed(f"The server of a picture answered {answer.status}.")
        kind = answer.content_type
        if not kind.startswith("image/") or answer.headers.get("Content-Encoding", "identity") != "identity":
            raise _failed(f"What was fetched is no picture but “{kind[:80]}”.")
        data = bytearray()
        async for piece in answer.content.iter_any():
            data += piece
            if len(data) > self._most_bytes:
                raise too_large(len(data), self._most_bytes)
        return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def is_public(number: str) -> bool:
    """Whether an IP address belongs to the open internet, also where it wraps one of the older kind."""
    address = ipaddress.ip_address(number.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            address = inner
    return address.is_global and not address.is_multicast and not address.is_reserved


def _checked(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in _PORTS and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.username is not None or not url.isprintable() or " " in url:
        raise _failed("The address of a picture must begin with http:// or https:// and hold no name or password.")
    return parts


def _failed(sentence: str, hint: str = "Send the picture itself, as a data URL.") -> AppError:
    return AppError("image_not_fetched", sentence, hint)
