"""What a model may be called."""

from __future__ import annotations

import re
import unicodedata

from quarterdeck.errors import AppError

LONGEST_NAME = 200

_HINT = "Give it a name such as “Qwen3-4B” or “team/Qwen3-4B”."


def clean_name(text: str) -> str:
    """The name without spaces at its ends and around slashes. Raises AppError `bad_name`."""
    name = re.sub(r"\s*/\s*", "/", unicodedata.normalize("NFC", text).strip())
    name = re.sub(r"[ \t]+", " ", name)
    if not name:
        raise AppError("bad_name", "The name of the model is empty.", _HINT)
    if len(name) > LONGEST_NAME:
        raise AppError("bad_name", f"The name is {len(name)} characters long; {LONGEST_NAME} are allowed.", _HINT)
    if not name.isprintable():
        raise AppError("bad_name", "The name contains a line break or another invisible character.", _HINT)
    if any(part in ("", ".", "..") for part in name.split("/")):
        raise AppError("bad_name", f"The name “{name}” has an empty part before, after or between slashes.", _HINT)
    return name
