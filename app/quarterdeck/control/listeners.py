"""Listening sockets: bound by ourselves, so that a busy port is an error somebody sees, and served by uvicorn."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import os
import socket

import psutil
import uvicorn
from starlette.types import ASGIApp

from quarterdeck.errors import AppError
from quarterdeck.tasks import spawn

TICK_SECONDS = 1.0
GRACE_SECONDS = 1


class _Server(uvicorn.Server):
    """uvicorn's server with one tick a second instead of ten: an idle panel costs nothing."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ending = asyncio.Event()
        self.ready = asyncio.Event()

    async def main_loop(self) -> None:
        self.ready.set()
        counter = 0
        while not self.ending.is_set():
            # uvicorn renews its default headers on every tenth tick.
            await self.on_tick(counter)
            counter += 10
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.ending.wait(), TICK_SECONDS)


class Listener:
    """One address under which the application is served."""

    def __init__(self, app: ASGIApp, sock: socket.socket) -> None:
        config = uvicorn.Config(
            app, loop="none", lifespan="off", http="httptools", ws="none", log_config=None, access_log=False,
            timeout_graceful_shutdown=GRACE_SECONDS, server_header=False,
        )  # fmt: skip
        host, port = sock.getsockname()[:2]
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        self._server = _Server(config)
        self._task = spawn(self._server.serve(sockets=[sock]), name=f"listen on {self.url}")

    async def ready(self) -> None:
        ready = spawn(self._server.ready.wait(), name="listener ready")
        await asyncio.wait({ready, self._task}, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if self._task.done():
            await self._task

    async def stop(self) -> None:
        """Accept nothing more, let answers end for GRACE_SECONDS, close."""
        self._server.should_exit = True
        self._server.ending.set()
        await self._task


def bind(host: str, port: int) -> socket.socket:
    """A listening socket. Raises AppError `port_in_use` naming the owner, `not_loopback`, or `cannot_bind`."""
    if not _is_loopback(host):
        raise AppError(
            "not_loopback",
            f"Quarterdeck does not listen on {host} yet: without API keys everybody on the network could use it.",
            "Use 127.0.0.1, ::1 or localhost.",
        )
    address = "127.0.0.1" if host == "localhost" else host
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address, port))
        sock.listen(2048)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise _bind_error(host, port, error) from None
    return sock


def _bind_error(host: str, port: int, error: OSError) -> AppError:
    if error.errno == errno.EADDRINUSE:
        owner = port_owner(port)
        return AppError(
            "port_in_use",
            f"Port {port} on {host} is already used by {owner or 'another program'}.",
            "Stop that program, or choose another port in Settings or with --port.",
            status=409,
            details={"port": port, "owner": owner},
        )
    return AppError(
        "cannot_bind",
        f"Quarterdeck cannot listen on {host}:{port}: {error.strerror}.",
        "Choose another address or port (ports below 1024 need special rights).",
    )


def port_owner(port: int) -> str | None:
    """Name and pid of the process that listens on `port`, as far as this user may see it."""
    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.Error:
        return None
    for connection in connections:
        listens = connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port
        if listens and connection.pid:
            try:
                return f"{psutil.Process(connection.pid).name()} (process {connection.pid})"
            except psutil.Error:
                return f"process {connection.pid}"
    return None


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
