"""JSON over HTTP to servers that somebody runs, with every error in words. Core loop only."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any

import aiohttp

from quarterdeck.backends.logs import clean
from quarterdeck.errors import AppError

USUAL_SECONDS = 10.0
CONNECT_SECONDS = 5.0
LINE_BYTES = 4 * 1024 * 1024
_SHOWN_CHARACTERS = 300
_KEY_STATUSES = (401, 403)


class ServerUnreachable(AppError):  # noqa: N818 - reads as the event it is
    """Nobody listens at the address, or the connection broke."""


class ServerLate(AppError):  # noqa: N818 - reads as the event it is
    """The server listens, but did not answer in time."""


class ServerRefused(AppError):  # noqa: N818 - reads as the event it is
    """The server answered with an error: its HTTP status and its own words."""

    def __init__(self, who: str, url: str, upstream_status: int, message: str, *, had_key: bool = False) -> None:
        needs_key = upstream_status in _KEY_STATUSES
        missing = f"{who} at {url} " + ("does not accept the key." if had_key else "needs a key.")
        super().__init__(
            "needs_key" if needs_key else "server_refused",
            missing if needs_key else f"{who} refused: {message}",
            "Enter its API key where the server is listed." if needs_key else "",
            status=424 if needs_key else 502,
        )
        self.upstream_status = upstream_status
        self.message = message


class Remote:
    """One client session for all servers of a backend, opened at the first request. `close` it."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def json(
        self,
        method: str,
        url: str,
        *,
        who: str,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        timeout: float | None = USUAL_SECONDS,
    ) -> Any:
        """The parsed answer; None for an empty one. `timeout` is in seconds, None waits for ever.

        Raises ServerUnreachable, ServerLate, ServerRefused, or AppError `bad_answer` when it is no JSON.
        """
        async with self._request(method, url, who, body=body, headers=headers, query=query, timeout=timeout) as answer:
            text = await answer.text(errors="replace")
        if not text:
            return None
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            raise _no_json(who, url) from None

    async def drain(
        self, method: str, url: str, *, who: str, body: Mapping[str, Any], headers: Mapping[str, str]
    ) -> None:
        """Wait, without a limit of time, until the answer has ended, whatever it is. Errors as in `json`."""
        async with self._request(method, url, who, body=body, headers=headers) as answer:
            async for _part in answer.content.iter_any():
                pass

    async def lines(
        self, method: str, url: str, *, who: str, body: Mapping[str, Any] | None = None
    ) -> AsyncGenerator[dict[str, Any], None]:
        """The objects of an NDJSON stream as they come; one with `error` raises ServerRefused. Errors as in `json`."""
        async with self._request(method, url, who, body=body) as answer:
            async for line in answer.content:
                if not line.strip():
                    continue
                try:
                    item = json.loads(line)
                except ValueError:
                    raise _no_json(who, url) from None
                if not isinstance(item, dict):
                    raise _no_json(who, url)
                if item.get("error"):
                    raise ServerRefused(who, url, 500, _message(item))
                yield item

    @property
    def session(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(read_bufsize=LINE_BYTES)
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    @contextlib.asynccontextmanager
    async def _request(
        self,
        method: str,
        url: str,
        who: str,
        *,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        limit = aiohttp.ClientTimeout(total=timeout, sock_connect=CONNECT_SECONDS)
        try:
            async with self.session.request(
                method, url, json=body, headers=headers, params=query, timeout=limit, allow_redirects=False
            ) as answer:
                if answer.status >= 300:
                    words = _words(answer, await answer.text(errors="replace"))
                    raise ServerRefused(who, url, answer.status, words, had_key=bool(headers))
                yield answer
        except aiohttp.ConnectionTimeoutError:
            raise _unreachable(who, url, "it did not accept the connection in time") from None
        except TimeoutError:
            raise ServerLate(
                "server_late",
                f"{who} at {url} did not answer within {timeout:.0f} seconds.",
                "It may be busy. Try again, or restart it.",
                status=504,
            ) from None
        except aiohttp.ClientConnectorError as error:
            raise _unreachable(who, url, _why(error.os_error)) from None
        except aiohttp.InvalidURL:
            raise AppError("bad_address", f"“{url}” is not the address of a server.", "Correct the address.") from None
        except (aiohttp.ClientError, ConnectionError) as error:
            raise _unreachable(who, url, f"the connection broke ({error or type(error).__name__})") from None


def _unreachable(who: str, url: str, why: str) -> ServerUnreachable:
    return ServerUnreachable(
        "server_unreachable", f"{who} does not answer at {url}: {why}.", "Start it, or correct its address.", status=502
    )


def _why(error: OSError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there"
    return (error.strerror or str(error)).rstrip(".") or "no connection"


def _no_json(who: str, url: str) -> AppError:
    return AppError(
        "bad_answer", f"What answers at {url} does not speak like {who}.", "Check the address and the port.", status=502
    )


def _words(answer: aiohttp.ClientResponse, text: str) -> str:
    """The server's own words, or its status line where it sent a page."""
    try:
        words = _message(json.loads(text))
    except (ValueError, RecursionError):
        words = "" if "<" in text[:100] else text
    words = clean(" ".join(words.split()))[:_SHOWN_CHARACTERS]
    return words or f"HTTP {answer.status} {answer.reason or ''}".strip()


def _message(body: Any) -> str:
    """The text in the shapes in which servers wrap their errors."""
    while isinstance(body, dict):
        body = next((body[key] for key in ("error", "message", "detail") if body.get(key)), "")
    return body if isinstance(body, str) else json.dumps(body)
