"""Titles of causes as parts of longer sentences."""

from __future__ import annotations

_NAMES = frozenset({"Docker", "Jinja", "Ollama", "Python", "Transformers", "Triton", "Windows"})


def continued(title: str) -> str:
    """The title as it goes on behind a colon: with a small letter first, unless it begins with a name."""
    word = title.partition(" ")[0].removesuffix("'s")
    is_name = word in _NAMES or word[1:] != word[1:].lower()
    return title if is_name else title[:1].lower() + title[1:]
