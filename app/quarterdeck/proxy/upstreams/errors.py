"""What a backend says when it refuses or fails, as an error of ours."""

from __future__ import annotations

import json
import re
from email.utils import parsedate_to_datetime
from time import time
from typing import Any

from quarterdeck.errors import AppError
from quarterdeck.proxy.dialects.base import Fields
from quarterdeck.schemas.backends import BackendKind

_LONGEST = 2000
_TITLES = {
    BackendKind.EMBEDDED: "llama.cpp",
    BackendKind.LLAMA_SERVER: "llama.cpp",
    BackendKind.VLLM: "vLLM",
    BackendKind.OLLAMA: "Ollama",
    BackendKind.LITELLM: "LiteLLM",
}
_KEY = re.compile(r"\b((?:sk|pk|hf|gsk|xai)[-_]|Bearer\s+)[\w\-.*]{6,}", re.IGNORECASE)
_TAGS = re.compile(r"<(script|style)\b.*?</\1\s*>|<[^>]*>", re.IGNORECASE | re.DOTALL)
_TITLE = re.compile(r"<title[^>]*>(.*?)</title", re.IGNORECASE | re.DOTALL)
_SPACE = re.compile(r"[\s\x00-\x1f\x7f]+")
_WAIT = re.compile(r"(?:try again|retry)\D{0,20}?(\d+(?:\.\d+)?)\s*(ms|s\b|sec|m\b|min)?", re.IGNORECASE)
_THREE_DIGITS = re.compile(r"[0-9]{3}")
_DEEPEST = 5
_UNITS = {"ms": 0.001, "m": 60.0, "min": 60.0}


def upstream_error(
    status: int, body: bytes, kind: BackendKind | None = None, *, retry_after: str | None = None
) -> AppError:
    """The answer `body` of a backend under `status`, in the backend's own words.

    A refusal of our key (401, 403) becomes 502, so that clients do not doubt theirs; so does what is no error status.
    `retry_after` is the header of that name; with 429 and 503 it becomes the detail `retry_after`, in seconds.
    """
    name = _TITLES.get(kind, "the backend") if kind is not None else "the backend"
    answer = _json(body)
    message = masked(_message(answer) if answer is not None else _text(body))
    details: dict[str, object] = {"upstream_status": status, **_kept(answer)}
    if status in (401, 403):
        return AppError(
            "upstream_error",
            _sentence(f"{_capital(name)} refused the key that Quarterdeck has for it", message),
            "Give the right key in the settings of this backend.",
            status=502,
            details=details,
        )
    wait = _seconds(retry_after, message) if status in (429, 503) else None
    if wait is not None:
        details["retry_after"] = wait
    return AppError(
        "upstream_error",
        message or f"{_capital(name)} answered {status} without a reason.",
        "" if status < 500 else "Look at the log of the backend.",
        status=status if 400 <= status <= 599 else 502,
        details=details,
    )


def error_within(answer: Fields, kind: BackendKind | None = None) -> AppError | None:
    """The error that stands in an answer of status 200, or in a stream; None where there is none.

    Its status is the number that the error names itself, else 502.
    """
    error = answer.get("error")
    if not error and answer.get("object") != "error":
        return None
    named = error.get("code") if isinstance(error, dict) else answer.get("code")
    return upstream_error(_status(named), json.dumps(answer).encode(), kind)


def _status(named: object) -> int:
    number = int(named) if isinstance(named, int) or (isinstance(named, str) and _THREE_DIGITS.fullmatch(named)) else 0
    return number if 400 <= number <= 599 else 502


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _message(answer: object, depth: int = 0) -> str:
    """The words for people, wherever this backend puts them."""
    if depth > _DEEPEST:
        return ""
    match answer:
        case str():
            return _clean(answer)
        case {"error": found} if found:
            return _message(found, depth + 1)
        case {"message": found} | {"detail": found} | {"msg": found} | {"error_description": found} if found:
            return _message(found, depth + 1)
        case [first, *_]:
            return _clean("; ".join(_problem(each) for each in answer if _problem(each)) or _message(first, depth + 1))
    return ""


def _problem(entry: object) -> str:
    """One entry of a list of validation errors."""
    if not isinstance(entry, dict) or not isinstance(entry.get("msg"), str):
        return ""
    where = entry.get("loc")
    place = ".".join(str(part) for part in where) if isinstance(where, list) else ""
    return f"{place}: {entry['msg']}" if place else str(entry["msg"])


def _text(body: bytes) -> str:
    """A body that is no JSON: plain text, or the title and words of a page."""
    text = body[: 64 * 1024].decode("utf-8", "replace")
    if "<" in text[:200] and (title := _TITLE.search(text)):
        return _clean(title.group(1))
    return _clean(_TAGS.sub(" ", text) if text.lstrip().startswith("<") else text)


def _clean(text: str) -> str:
    text = _SPACE.sub(" ", text).strip()
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"


def masked(text: str) -> str:
    """A text without anything that looks like a key: some servers repeat the one they refuse."""
    return _KEY.sub(r"\1…", text)


def _kept(answer: object) -> dict[str, object]:
    """What programs know the error by: its type and code in the backend's words."""
    error = answer.get("error", answer) if isinstance(answer, dict) else None
    if not isinstance(error, dict):
        return {}
    return {f"upstream_{name}": error[name] for name in ("type", "code") if isinstance(error.get(name), str | int)}


def _seconds(header: str | None, message: str) -> float | None:
    """How long to wait, from the header (seconds or a date) or from the words."""
    if header:
        try:
            return max(0.0, float(header))
        except ValueError:
            try:
                return max(0.0, parsedate_to_datetime(header).timestamp() - time())
            except (ValueError, TypeError):
                pass
    if found := _WAIT.search(message):
        return float(found.group(1)) * _UNITS.get((found.group(2) or "s").lower(), 1.0)
    return None


def _sentence(start: str, message: str) -> str:
    return f"{start}: {message}" if message else f"{start}."


def _capital(name: str) -> str:
    return name if name in _TITLES.values() else name[0].upper() + name[1:]
