"""Listening sockets: bound by ourselves, so that a busy port is an error somebody sees, and served by uvicorn."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import os
import socket
import ssl

import psutil
import uvicorn
from starlette.types import ASGIApp

from quarterdeck.control.protocol import GuardedProtocol
from quarterdeck.errors import AppError
from quarterdeck.tasks import spawn

TICK_SECONDS = 1.0
GRACE_SECONDS = 1
# Longer than common clients keep a connection for its next use: none of them sends into one that is being closed.
KEEP_ALIVE_SECONDS = 120


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
    """One address under which the application is served, over https with `tls`."""

    def __init__(self, app: ASGIApp, sock: socket.socket, *, tls: ssl.SSLContext | None = None) -> None:
        config = uvicorn.Config(
            app, loop="none", lifespan="off", http=GuardedProtocol, ws="none", log_config=None, access_log=False,
            timeout_graceful_shutdown=GRACE_SECONDS, server_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            ssl_context_factory=None if tls is None else lambda _config, _default: tls,
        )  # fmt: skip
        self.url = _url("http" if tls is None else "https", *sock.getsockname()[:2])
        self._sock = sock
        self._server = _Server(config)
        self._task = spawn(self._server.serve(sockets=[sock]), name=f"listen on {self.url}")

    async def ready(self) -> None:
        ready = spawn(self._server.ready.wait(), name="listener ready")
        await asyncio.wait({ready, self._task}, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if self._task.done():
            await self._task

    async def stop_accepting(self) -> None:
        """Free the address; answers under way and open connections go on until `stop`."""
        for server in self._server.servers:
            server.close()
        self._sock.close()
        # The loop closes the socket of a server in its next turn.
        await asyncio.sleep(0)

    async def stop(self) -> None:
        """Accept nothing more, let answers end for GRACE_SECONDS, close."""
        self._server.should_exit = True
        self._server.ending.set()
        await self._task


def check_host(host: str, *, keyed: bool) -> None:
    """Raises AppError `not_loopback` for an address beyond this machine unless `keyed`: clients need a key."""
    if not _is_loopback(host) and not keyed:
        raise AppError(
            "not_loopback",
            f"Quarterdeck does not listen on {host or 'every address'}: "
            "without an API key everybody on the network could use it.",
            "Make a key on the Connect page or with `quarterdeck keys add NAME`, or use 127.0.0.1.",
        )


def bind(host: str, port: int) -> socket.socket:
    """A listening socket. Raises AppError `port_in_use` naming the owner, or `cannot_bind`."""
    address = "127.0.0.1" if host == "localhost" else host
    if not _is_address(address):
        raise AppError(
            "cannot_bind",
            f"Quarterdeck cannot listen on “{host}”: that is not an address.",
            "Use an IP address of this machine, or 0.0.0.0 for all of them.",
        )
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family is socket.AF_INET6:
            # “::” stands for every address, those of version 4 too.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, address != "::")
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


def tls_context(certificate: str, key: str) -> ssl.SSLContext | None:
    """What https needs, from PEM files; None without a certificate. TLS 1.2 and later. Reads files.

    Without `key` the key is looked for in the file of the certificate. Raises AppError `bad_tls`.
    """
    if not certificate:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key or None, password=_no_password)
    except ssl.SSLError as error:
        raise _bad_tls(certificate, key, error.reason or "") from None
    except OSError as error:
        raise _bad_tls(certificate, key, error.strerror or "") from None
    except ValueError:
        raise _bad_tls(certificate, key, "that is no name of a file") from None
    return context


def _no_password() -> str:
    # Without an answer OpenSSL would ask on the console and wait.
    raise AppError(
        "bad_tls", "The TLS key is protected by a password.", "Save it without one: openssl pkey -in KEY -out NEW."
    )


def _bad_tls(certificate: str, key: str, reason: str) -> AppError:
    files = f"{certificate} and {key}" if key else certificate
    if reason == "KEY_VALUES_MISMATCH":
        reason = "the key is not the key of the certificate"
    elif not reason:
        reason = "they are no PEM files" if key else "it holds no certificate with its key"
    return AppError(
        "bad_tls",
        f"Quarterdeck cannot offer https with {files}: {reason}.",
        "Check “TLS certificate” and “TLS key” in Settings: PEM files that Quarterdeck may read.",
    )


def _url(scheme: str, host: str, port: int) -> str:
    """The address for a program on this machine."""
    if ipaddress.ip_address(host).is_unspecified:
        host = "::1" if ":" in host else "127.0.0.1"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
