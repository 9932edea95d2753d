"""What a server answered to a probe: bounded, and readable whatever it sent."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from functools import cached_property
from typing import Any

import aiohttp

LIMIT_SECONDS = 2.0
LIMIT_BYTES = 4 * 1024 * 1024

_TITLE = re.compile(r"<title>(.{1,200}?)</title>", re.IGNORECASE | re.DOTALL)


class Silence(Enum):
    """Why there is no answer."""

    REFUSED = auto()  # nothing listens
    UNREACHABLE = auto()  # no such host, no route, no connection in time
    LATE = auto()  # connected, but no answer in time
    GARBLED = auto()  # connected, but what came is no HTTP
    NO_TLS = auto()  # an https address, but the other side does not speak TLS as it should


@dataclass(frozen=True)
class Answer:
    """One HTTP answer. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace").strip()

    @cached_property
    def title(self) -> str:
        """The title of an HTML page, or nothing."""
        match = _TITLE.search(self.text[:20_000])
        return match.group(1).strip() if match else ""

    @cached_property
    def json(self) -> Any:
        """The parsed body; None where it is no JSON."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None

    def field(self, name: str) -> Any:
        """A field of the JSON object, None where there is none."""
        body = self.json
        return body.get(name) if isinstance(body, dict) else None


class Answers:
    """What a server answered by path. A path that was not asked reads as an empty 404."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._answers: dict[str, Answer] = {}
        self.silences: list[Silence] = []

    async def ask(self, http: aiohttp.ClientSession, paths: Iterable[str], headers: Mapping[str, str]) -> None:
        """GET all `paths` that were not asked yet, at once."""
        new = [path for path in dict.fromkeys(paths) if path not in self._answers]
        got = await asyncio.gather(*(_get(http, self.url + path, headers) for path in new))
        for path, answer in zip(new, got, strict=True):
            if isinstance(answer, Silence):
                self.silences.append(answer)
            else:
                self._answers[path] = answer

    def __getitem__(self, path: str) -> Answer:
        return self._answers.get(path, _NOTHING)

    @property
    def any(self) -> bool:
        return bool(self._answers)


_NOTHING = Answer(404, {}, b"")


async def _get(http: aiohttp.ClientSession, url: str, headers: Mapping[str, str]) -> Answer | Silence:
    limit = aiohttp.ClientTimeout(total=LIMIT_SECONDS, sock_connect=LIMIT_SECONDS * 0.75)
    try:
        async with http.get(url, headers=headers, timeout=limit, allow_redirects=False) as answer:
            body = await _read(answer.content)
            return Answer(answer.status, {name.lower(): value for name, value in answer.headers.items()}, body)
    except (aiohttp.ClientSSLError, aiohttp.ClientConnectorCertificateError):
        return Silence.NO_TLS
    except aiohttp.ClientConnectorError as error:
        return Silence.REFUSED if isinstance(error.os_error, ConnectionRefusedError) else Silence.UNREACHABLE
    except aiohttp.ConnectionTimeoutError:
        return Silence.UNREACHABLE
    except TimeoutError:
        return Silence.LATE
    except (aiohttp.ClientError, OSError, ValueError):
        return Silence.GARBLED


async def _read(content: aiohttp.StreamReader) -> bytes:
    """At most LIMIT_BYTES: a server that never ends its answer is not worth more."""
    body = bytearray()
    async for chunk in content.iter_any():
        body += chunk
        if len(body) > LIMIT_BYTES:
            break
    return bytes(body[:LIMIT_BYTES])
