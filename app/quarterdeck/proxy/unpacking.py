"""Unpacks answers of backends that pack them though nobody asked for it."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator

from quarterdeck.proxy.wire import Garbled

_AT_ONCE = 256 * 1024
_EITHER = zlib.MAX_WBITS | 32
"""zlib's word for: gzip or deflate, as the data itself says."""


async def unpacked(parts: AsyncIterator[bytes], packing: str) -> AsyncIterator[bytes]:
    """The body in pieces of a sane size, as they come. Raises wire.Garbled, and what `parts` raises."""
    if packing.strip().lower() not in ("gzip", "x-gzip", "deflate"):
        raise Garbled(f"it is packed in a way that nobody asked for ({packing[:40]})")
    opener = zlib.decompressobj(_EITHER)
    async for packed in parts:
        data = packed
        while data:
            try:
                piece = opener.decompress(data, _AT_ONCE)
            except zlib.error:
                raise Garbled("it cannot be unpacked") from None
            if piece:
                yield piece
            data = opener.unconsumed_tail
    if not opener.eof:
        raise Garbled("what is packed in it is not whole")
