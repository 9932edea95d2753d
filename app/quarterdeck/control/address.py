"""The address of the clients: opened, moved and closed while requests run."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import NamedTuple

from starlette.types import ASGIApp

from quarterdeck.control.listeners import Listener, bind, check_host, tls_context
from quarterdeck.errors import AppError
from quarterdeck.settings import Settings
from quarterdeck.tasks import spawn

SETTINGS = frozenset({"host", "port", "tls_certificate", "tls_key"})
"""Those that move the address."""

_log = logging.getLogger(__name__)


class _Place(NamedTuple):
    host: str
    port: int
    certificate: str
    key: str


class PublicAddress:
    """Serves `app` to clients. `open` again moves it; `close` at the end."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._place: _Place | None = None
        self._listener: Listener | None = None
        self._retired: list[asyncio.Task[None]] = []

    @property
    def url(self) -> str | None:
        """Where a program on this machine finds it."""
        return None if self._listener is None else self._listener.url

    async def open(self, settings: Settings, *, keyed: bool) -> None:
        """Listen where `settings` say; `keyed`: clients need a key. Raises AppError; then all is as it was."""
        place = _Place(settings.host, settings.port, settings.tls_certificate, settings.tls_key)
        check_host(place.host, keyed=keyed)
        tls = await asyncio.to_thread(tls_context, place.certificate, place.key)
        sock = await self._socket(place)
        listener = Listener(self._app, sock, tls=tls)
        await listener.ready()
        previous, self._listener, self._place = self._listener, listener, place
        if previous is not None:
            # Not awaited: the request that wants another address may have come in on the old one.
            self._retired.append(spawn(previous.stop(), name=f"close {previous.url}"))
        _log.info("listening on %s", listener.url)

    async def close(self) -> None:
        if self._listener is not None:
            listener, self._listener = self._listener, None
            await listener.stop()
        for stopping in self._retired:
            await stopping

    async def _socket(self, place: _Place) -> socket.socket:
        """A socket for `place`, for which the one of today gives way where both want the same port."""
        before = self._place
        if before is None or self._listener is None or not place.port or place.port != before.port:
            return bind(place.host, place.port)
        await self._listener.stop_accepting()
        try:
            return bind(place.host, place.port)
        except AppError:
            await self._go_back(before)
            raise

    async def _go_back(self, before: _Place) -> None:
        """Listen again where we did a moment ago."""
        assert self._listener is not None
        previous = self._listener
        tls = await asyncio.to_thread(tls_context, before.certificate, before.key)
        self._listener = Listener(self._app, bind(before.host, before.port), tls=tls)
        await self._listener.ready()
        self._retired.append(spawn(previous.stop(), name=f"close {previous.url}"))
