"""Bytes that arrive in any pieces, as lines."""

from __future__ import annotations

from quarterdeck.errors import AppError

LINE_LIMIT = 16 * 1024 * 1024
HELD_BACK = 64 * 1024
_ENDS = (b"}", b"[DONE]")


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


class WholeLines:
    """Passes on whole lines as they come. A line of more than HELD_BACK bytes passes in pieces.

    `rest` is the beginning of a line whose end has not come.
    """

    def __init__(self) -> None:
        self.rest = b""

    def feed(self, data: bytes) -> bytes:
        """All lines that are whole now, with their ends."""
        if self.rest:
            data = self.rest + data
        if data.endswith(b"\n"):
            self.rest = b""
            return data
        cut = data.rfind(b"\n") + 1
        if len(data) - cut > HELD_BACK:
            self.rest = b""
            return data
        self.rest = data[cut:]
        return data[:cut]

    def is_last_line(self) -> bool:
        """Whether `rest` is a line that only lacks its end, as the last one of some servers does."""
        return self.rest.rstrip().endswith(_ENDS)
