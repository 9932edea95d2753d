"""Pictures in requests: as small as the backend needs them, as text where there is a text, and never too large."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from quarterdeck.errors import AppError
from quarterdeck.proxy.dialects.base import Fields
from quarterdeck.proxy.mitigations.contents import PICTURE, pictures_in
from quarterdeck.proxy.mitigations.draft import Draft

_FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF")
_MOST_PIXELS = 100_000_000

Change = Callable[[str], Awaitable[str]]
"""Gives the address that stands in place of a picture's address."""


@dataclass(frozen=True, slots=True)
class Smaller:
    """Scales pictures down to a longest edge in pixels, with a JPEG quality."""

    edge: int
    quality: int

    async def __call__(self, url: str) -> str:
        """The data URL of a picture that is small enough; one that is, or that cannot be read, stays."""
        return await asyncio.to_thread(_smaller, url, self) if url.startswith("data:") else url


def address_of(part: Fields) -> str:
    """Where the picture is: an address, or a data URL that holds it."""
    image = part[PICTURE]
    return str(image["url"] if isinstance(image, dict) else image)


def alt_text_of(part: Fields) -> str | None:
    """The text that stands for the picture; written beside it or inside."""
    image = part[PICTURE]
    inside = image.get("alt_text") if isinstance(image, dict) else None
    text = part.get("alt_text") or inside
    return text if isinstance(text, str) and text.strip() else None


def in_words(draft: Draft) -> bool:
    """Every picture as the text that stands for it; False, and nothing is changed, when one of them has none."""
    texts = [alt_text_of(part) for message in draft.messages for part in pictures_in(message)]
    if not texts or None in texts:
        return False
    draft.put("messages", [_with_words(message) for message in draft.messages])
    return True


async def change_pictures(draft: Draft, change: Change) -> bool:
    """Give every picture another address; whether any is another one now. The same picture is changed once."""
    changed: dict[str, str] = {}
    for message in draft.messages:
        for part in pictures_in(message):
            url = address_of(part)
            if url not in changed:
                changed[url] = await change(url)
    if all(old == new for old, new in changed.items()):
        return False
    draft.put("messages", [_with_addresses(message, changed) for message in draft.messages])
    return True


def check_sizes(draft: Draft, most_bytes: int) -> None:
    """Raises AppError `image_too_large` (413) for a picture of more than `most_bytes`."""
    for message in draft.messages:
        for part in pictures_in(message):
            size = size_of(address_of(part))
            if size > most_bytes:
                raise too_large(size, most_bytes)


def size_of(url: str) -> int:
    """Bytes of the picture that a data URL holds; 0 for an address."""
    if not url.startswith("data:"):
        return 0
    return (len(url) - url.find(",") - 1) * 3 // 4


def too_large(size: int, most_bytes: int) -> AppError:
    return AppError(
        "image_too_large",
        f"A picture has about {size:,} bytes; {most_bytes:,} are allowed.",
        "Send a smaller picture, or raise “Largest picture” in Settings.",
        status=413,
    )


def _smaller(url: str, to: Smaller) -> str:
    head, _, coded = url.partition(",")
    if not head.endswith(";base64"):
        return url
    try:
        scaled = scaled_down(base64.b64decode(coded), to)
    except ValueError:
        return url
    return url if scaled is None else f"data:{scaled[1]};base64,{base64.b64encode(scaled[0]).decode()}"


def scaled_down(data: bytes, to: Smaller) -> tuple[bytes, str] | None:
    """The picture with its longer edge at `to.edge`, and its content type; None where it stays as it is. Blocking.

    The way a camera was held is applied, since what is written no longer tells of it. Of a moving picture the first
    frame stays.
    """
    from PIL import Image, ImageOps

    try:
        # Pillow's own limit warns; ours refuses, before anything is unpacked.
        Image.MAX_IMAGE_PIXELS = None
        opened = Image.open(io.BytesIO(data), formats=_FORMATS)
        if max(opened.size) <= to.edge:
            return None
        if opened.width * opened.height > _MOST_PIXELS:
            raise AppError(
                "image_too_large",
                f"A picture has {opened.width} × {opened.height} pixels.",
                "Send a smaller picture.",
                status=413,
            )
        opened.draft("RGB", (to.edge, to.edge))
        picture = ImageOps.exif_transpose(opened)
        see_through = "A" in picture.getbands() or "transparency" in picture.info
        picture = picture.convert("RGBA" if see_through else "RGB")
        picture = picture.resize(_scaled(picture.size, to.edge), Image.Resampling.LANCZOS)
        out = io.BytesIO()
        if see_through:
            picture.save(out, "PNG")
        else:
            picture.save(out, "JPEG", quality=to.quality)
    except (OSError, ValueError, SyntaxError):
        return None
    return out.getvalue(), "image/png" if see_through else "image/jpeg"


def _scaled(size: tuple[int, int], edge: int) -> tuple[int, int]:
    factor = edge / max(size)
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def _with_words(message: Fields) -> Fields:
    if not pictures_in(message):
        return message
    parts = [
        {"type": "text", "text": f"[Picture: {alt_text_of(part)}]"} if part.get("type") == PICTURE else part
        for part in message["content"]
    ]
    return {**message, "content": parts}


def _with_addresses(message: Fields, changed: dict[str, str]) -> Fields:
    if not pictures_in(message):
        return message
    return {**message, "content": [_moved(part, changed) for part in message["content"]]}


def _moved(part: Fields, changed: dict[str, str]) -> Fields:
    if part.get("type") != PICTURE:
        return part
    image = part[PICTURE]
    kept = image if isinstance(image, dict) else {}
    return {**part, PICTURE: {**kept, "url": changed[address_of(part)]}}
