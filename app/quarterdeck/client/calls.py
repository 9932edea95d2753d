"""The connection that calls of the control API go through. Errors come as AppError with the core's own words."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import httpx

from quarterdeck.errors import AppError

QUICK = 15.0
"""Seconds that a call may take which waits for nothing but the core itself."""


class Calls:
    """One connection pool to one core. `base_url` is the control address, `token` the local token."""

    def __init__(self, base_url: str, token: str, *, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self.base_url = base_url
        self.http = httpx.AsyncClient(
            base_url=base_url,
            headers={"Authorization": f"Bearer {token}"},
            timeout=httpx.Timeout(QUICK),
            transport=transport,
            trust_env=False,
        )

    async def aclose(self) -> None:
        await self.http.aclose()

    async def call(
        self, method: str, path: str, body: object = None, *, text: str | None = None, timeout: float | None = QUICK
    ) -> bytes:
        """The answer to `body` as JSON, or to `text` in Markdown."""
        headers = {} if text is None else {"Content-Type": "text/markdown; charset=utf-8"}
        try:
            response = await self.http.request(method, path, json=body, content=text, headers=headers, timeout=timeout)
        except httpx.TransportError as error:
            raise unreachable(self.base_url, error) from error
        await raise_for_error(response)
        return response.content

    @contextlib.asynccontextmanager
    async def stream(self, path: str, body: object) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        """Objects that come line by line in answer to a POST; leaving the block ends the work that makes them."""
        headers = {"Accept": "application/x-ndjson"}
        timeout = httpx.Timeout(QUICK, read=None)
        try:
            async with self.http.stream("POST", path, json=body, headers=headers, timeout=timeout) as answer:
                await raise_for_error(answer)
                yield _objects(answer)
        except httpx.TransportError as error:
            raise unreachable(self.base_url, error) from error


async def _objects(answer: httpx.Response) -> AsyncIterator[dict[str, Any]]:
    async for line in answer.aiter_lines():
        told = json.loads(line)
        if "code" in told and "detail" in told:
            raise AppError(told["code"], told["detail"], told.get("hint", ""), status=502)
        yield told


def part(name: str) -> str:
    return quote(name, safe="")


def unreachable(url: str, error: Exception) -> AppError:
    return AppError(
        "core_unreachable",
        f"Quarterdeck's core does not answer at {url} ({type(error).__name__}).",
        "Start Quarterdeck again, or check the address given with --url.",
        status=503,
    )


async def raise_for_error(response: httpx.Response) -> None:
    if response.status_code < httpx.codes.BAD_REQUEST:
        return
    await response.aread()
    try:
        body = response.json()
    except ValueError:
        body = {}
    if isinstance(body.get("error"), dict):
        raise from_openai(body["error"], response.status_code)
    details = {key: value for key, value in body.items() if key not in ("detail", "code", "hint")}
    raise AppError(
        str(body.get("code", "http_error")),
        str(body.get("detail", f"The core answered {response.status_code} without an explanation.")),
        str(body.get("hint", "")),
        status=response.status_code,
        details=details,
    )


def from_openai(error: dict[str, Any], status: int) -> AppError:
    return AppError(str(error.get("code") or "upstream_error"), str(error.get("message", "")),
                    str(error.get("hint") or ""), status=status)  # fmt: skip
