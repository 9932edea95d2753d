"""API keys of servers, in a file that only its owner can read. They are never logged."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os

from quarterdeck.settings import Folders
from quarterdeck.storage.failures import from_os

FILE_NAME = "secrets.json"
OWNER_ONLY = 0o600

_log = logging.getLogger(__name__)


class Secrets:
    """Secrets by name. `open` blocks and comes first; afterwards reading is a look into memory."""

    def __init__(self, folders: Folders) -> None:
        self._file = folders.data / FILE_NAME
        self._secrets: dict[str, str] = {}
        self._writing = asyncio.Lock()

    def open(self) -> None:
        """Read the file, if there is one. A file that makes no sense is set aside. Raises AppError."""
        try:
            self._secrets = self._read()
        except OSError as error:
            raise from_os(error, self._file.parent) from None

    def get(self, name: str) -> str | None:
        return self._secrets.get(name)

    async def set(self, name: str, secret: str) -> None:
        """Keep a secret; it is on the disk when this returns. Raises AppError when it cannot be written."""
        async with self._writing:
            await self._replace({**self._secrets, name: secret})

    async def remove(self, name: str) -> None:
        """Forget a secret, if it is known."""
        async with self._writing:
            if name in self._secrets:
                await self._replace({known: secret for known, secret in self._secrets.items() if known != name})

    async def _replace(self, secrets: dict[str, str]) -> None:
        # A caller that goes away must not leave memory and file apart.
        await asyncio.shield(asyncio.to_thread(self._write, secrets))

    def _read(self) -> dict[str, str]:
        try:
            if os.name == "posix" and self._file.stat().st_mode & 0o077:
                _log.warning("%s could be read by others; now only by its owner", self._file)
                self._file.chmod(OWNER_ONLY)
            stored = json.loads(self._file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except ValueError:
            stored = None
        if not isinstance(stored, dict) or not all(isinstance(secret, str) for secret in stored.values()):
            damaged = self._file.with_suffix(".damaged.json")
            self._file.replace(damaged)
            _log.warning("the keys of servers could not be read and must be given again; the old file is %s", damaged)
            return {}
        return stored

    def _write(self, secrets: dict[str, str]) -> None:
        temporary = self._file.with_suffix(".new")
        try:
            with contextlib.suppress(FileNotFoundError):
                temporary.unlink()
            # Made with its final mode: there is no moment at which others could read it.
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY)
            with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                json.dump(secrets, stream, indent=1)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(self._file)
        except OSError as error:
            raise from_os(error, self._file.parent) from None
        self._secrets = secrets
