"""One window per data folder: the first start holds a lock and listens, a later one asks it to come to the front."""

from __future__ import annotations

import getpass
import hashlib
import json
import logging
import os
import time
from pathlib import Path

from filelock import FileLock, Timeout
from PySide6.QtCore import QObject, Signal, Slot
from PySide6.QtNetwork import QLocalServer, QLocalSocket

ANSWER_MS = 1000
PATIENCE_S = 5.0

_log = logging.getLogger(__name__)


class SingleInstance(QObject):
    """Holds the place of the running window of one data folder.

    The lock belongs to the kernel, so it is gone with its process however that ended; the socket is only the bell.
    """

    raise_requested = Signal()

    def __init__(self, data: Path) -> None:
        super().__init__()
        self._lock = FileLock(data / "window.lock")
        self._name = _socket_name(data)
        self._server: QLocalServer | None = None

    def acquire(self) -> bool:
        """True for the first start. A data folder that cannot be written counts as free: the core reports it."""
        try:
            Path(self._lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
        except Timeout:
            return False
        except OSError as error:
            _log.warning("no lock for the window in %s: %s", self._lock.lock_file, error)
        return True

    def listen(self) -> None:
        """Answer later starts; needs an application object."""
        QLocalServer.removeServer(self._name)
        server = QLocalServer(self)
        server.setSocketOptions(QLocalServer.SocketOption.UserAccessOption)
        server.newConnection.connect(self._on_connection)
        if not server.listen(self._name):
            _log.warning("later starts cannot raise this window: %s", server.errorString())
        self._server = server

    def ring(self) -> bool:
        """Ask the running window to come to the front; False when it does not answer in time."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            if self._ring_once():
                return True
            # The other start may hold the lock already and not listen yet.
            time.sleep(0.05)
        return False

    def release(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        self._lock.release()

    def _ring_once(self) -> bool:
        socket = QLocalSocket()
        socket.connectToServer(self._name)
        if not socket.waitForConnected(ANSWER_MS):
            return False
        message = {"raise": True, "activation": os.environ.get("XDG_ACTIVATION_TOKEN", "")}
        socket.write(json.dumps(message).encode() + b"\n")
        answered = socket.waitForBytesWritten(ANSWER_MS) and socket.waitForReadyRead(ANSWER_MS)
        socket.disconnectFromServer()
        return answered

    @Slot()
    def _on_connection(self) -> None:
        while self._server is not None and (socket := self._server.nextPendingConnection()) is not None:
            socket.setParent(self)
            socket.readyRead.connect(self._on_message)
            socket.disconnected.connect(socket.deleteLater)

    @Slot()
    def _on_message(self) -> None:
        socket = self.sender()
        if not isinstance(socket, QLocalSocket) or not socket.canReadLine():
            return
        try:
            message = json.loads(bytes(socket.readLine().data()))
            token = str(message.get("activation", ""))
        except (ValueError, AttributeError):
            _log.warning("a later start sent something unreadable")
            return
        if token:
            # Wayland lets a window come to the front only with the token of the start that asks for it.
            os.environ["XDG_ACTIVATION_TOKEN"] = token
        socket.write(b"raised\n")
        socket.flush()
        self.raise_requested.emit()


def _socket_name(data: Path) -> str:
    digest = hashlib.sha256(str(data.resolve()).encode()).hexdigest()[:16]
    return f"quarterdeck-{getpass.getuser()}-{digest}"
