"""Reads the bytes of a GGUF header in order, trusting no length that the file states."""

from __future__ import annotations

import struct
from typing import BinaryIO

LONGEST_HEADER = 256 << 20
LONGEST_STRING = 64 << 20
LONGEST_KEY = 65535
MOST_ELEMENTS = 1 << 26
_CHUNK = 1 << 20

_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")


class HeaderEndsError(Exception):
    """The file ends inside its header."""


class HeaderDamagedError(Exception):
    """The header says something that cannot be true; the text says what."""


class Cursor:
    """A position in the header of an open file of `size` bytes.

    The file is read, not mapped: a file that shrinks while it is mapped would end the process with a bus error.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._size = size
        self._buffer = bytearray()
        self.at = 0

    def u32(self) -> int:
        self._fill(self.at + 4)
        (value,) = _U32.unpack_from(self._buffer, self.at)
        self.at += 4
        return int(value)

    def u64(self) -> int:
        self._fill(self.at + 8)
        (value,) = _U64.unpack_from(self._buffer, self.at)
        self.at += 8
        return int(value)

    def scalar(self, layout: struct.Struct) -> object:
        self._fill(self.at + layout.size)
        (value,) = layout.unpack_from(self._buffer, self.at)
        self.at += layout.size
        return value

    def take(self, count: int) -> bytes:
        self._fill(self.at + count)
        taken = bytes(self._buffer[self.at : self.at + count])
        self.at += count
        return taken

    def string(self, longest: int = LONGEST_STRING) -> str:
        length = self.u64()
        if length > longest:
            raise HeaderDamagedError(f"a text in it claims to be {length:,} bytes long")
        return self.take(length).decode("utf-8", errors="replace")

    def skip(self, count: int) -> None:
        self._fill(self.at + count)
        self.at += count

    def skip_strings(self, count: int) -> None:
        """Jump over `count` strings; a vocabulary has some hundred thousand, so this loop is kept bare."""
        buffer, at, read = self._buffer, self.at, len(self._buffer)
        length_of = _U64.unpack_from
        for _ in range(count):
            if at + 8 > read:
                self._fill(at + 8)
                read = len(buffer)
            at += 8 + length_of(buffer, at)[0]
        self._fill(at)
        self.at = at

    def _fill(self, end: int) -> None:
        """Make sure that the first `end` bytes of the file are in the buffer."""
        missing = end - len(self._buffer)
        if missing <= 0:
            return
        if end > self._size:
            raise HeaderEndsError
        if end > LONGEST_HEADER:
            raise HeaderDamagedError(f"it claims to be longer than {LONGEST_HEADER >> 20} MiB")
        self._buffer += self._file.read(max(missing, _CHUNK))
        if end > len(self._buffer):
            raise HeaderEndsError
