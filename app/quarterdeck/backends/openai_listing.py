"""The list of models of an OpenAI-compatible server, and finding one in it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from quarterdeck.backends.remote import USUAL_SECONDS, Remote
from quarterdeck.errors import AppError

_PREFIX = "models/"  # Gemini lists models/… and takes the name without it too


async def listed(
    remote: Remote,
    api: str,
    *,
    who: str,
    headers: Mapping[str, str],
    query: Mapping[str, str] | None = None,
    timeout: float = USUAL_SECONDS,
) -> list[str]:
    """The ids that the interface at `api` (…/v1) offers. Raises as `Remote.json` does."""
    answer = await remote.json("GET", f"{api}/models", who=who, headers=headers, query=query, timeout=timeout)
    entries = answer.get("data", answer.get("models")) if isinstance(answer, dict) else answer
    if not isinstance(entries, list):
        raise AppError("bad_answer", f"What answers at {api} lists no models.", "Check its address.", status=502)
    return [name for name in map(_name, entries) if name]


def require(wanted: str, names: Sequence[str], *, who: str, hint: str) -> None:
    """Raises AppError `model_missing` when the server does not offer the model."""
    if wanted in names or _PREFIX + wanted in names:
        return
    near = difflib.get_close_matches(wanted, names, n=3) or list(names[:5])
    offers = f"It offers: {', '.join(near)}. " if near else "It offers none. "
    raise AppError("model_missing", f"{who} has no model “{wanted}”.", offers + hint, status=404)


def _name(entry: Any) -> str | None:
    name = entry.get("id") if isinstance(entry, dict) else None
    return name if isinstance(name, str) else None
