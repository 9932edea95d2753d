"""Bytes that arrive in any pieces, as lines."""

from __future__ import annotations

from quarterdeck.errors import AppError

LINE_LIMIT = 16 * 1024 * 1024


class Lines:
    """Cuts what arrives into lines, without their ends (LF or CR LF)."""

    def __init__(self, limit: int = LINE_LIMIT) -> None:
        self._rest = bytearray()
        self._limit = limit

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that are whole now. Raises AppError (502) for a line of more than `limit` bytes."""
        self._rest += data
        if b"\n" not in data:
            if len(self._rest) > self._limit:
                raise AppError(
                    "upstream_error",
                    f"The backend sent a line of more than {self._limit // 1024 // 1024} MiB.",
                    "Look at the log of the backend.",
                    status=502,
                )
            return []
        *lines, self._rest = self._rest.split(b"\n")
        return [bytes(line.removesuffix(b"\r")) for line in lines]
