"""Whether an answer to a request that made no sense does: in its form, and in what it does not tell."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import quarterdeck

MOST_HEADER_BYTES = 16 * 1024
"""Clients and web servers in front take no more in one answer."""
NOT_OURS = frozenset({"not_supported"})
"""Codes of refusals whose status is 5xx and that are meant."""
_NAME = re.compile(rb"[a-z0-9!#$%&'*+.^_`|~-]+")
_VALUE = re.compile(rb"[\x20-\x7e]*")
_HERE = (str(Path(quarterdeck.__file__).parent), "site-packages", "Traceback (most", '.py", line', "/usr/lib/python")


def faults(
    method: str, path: str, status: int, headers: list[tuple[bytes, bytes]], body: bytes, secrets: Collection[str]
) -> list[str]:
    """What is wrong with an answer, in words; `secrets` are texts that it must not hold."""
    found = _head_faults(status, headers)
    text = body.decode("utf-8", "replace")
    told = text + repr(headers)
    found += [f"it tells {each}" for each in (*_HERE, *secrets) if each in told]
    kind = dict(headers).get(b"content-type", b"")
    if kind.startswith(b"application/json") and method != "HEAD" and status not in (204, 304):
        try:
            document = json.loads(body.decode(), parse_constant=_no_number)
        except RecursionError:
            # What was as deep in the request.
            return found
        except ValueError as problem:
            return [*found, f"it is no JSON: {problem}"]
        if status >= 400:
            found += _error_faults(path, status, document)
    elif status >= 500:
        found.append(f"status {status}")
    if b"internal_error" in body:
        found.append("it tells of a defect")
    return found


def _no_number(word: str) -> None:
    raise ValueError(f"{word} in JSON")


def _head_faults(status: int, headers: list[tuple[bytes, bytes]]) -> list[str]:
    found = [] if 100 < status < 600 else [f"status {status}"]
    for name, value in headers:
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            found.append(f"header {name!r}: {value[:80]!r}")
    if sum(len(name) + len(value) for name, value in headers) > MOST_HEADER_BYTES:
        found.append("headers that are too large")
    return found


def _error_faults(path: str, status: int, document: Any) -> list[str]:
    """An error in the words of whoever asked, with a code of ours behind every 5xx."""
    error = document.get("error", document) if isinstance(document, dict) else None
    if isinstance(error, str):
        sentence, code = error, document.get("code")
    elif isinstance(error, dict):
        sentence, code = error.get("message", error.get("detail")), error.get("code", error.get("type"))
    else:
        return [f"the error of {path} is {document!r}"]
    found = [] if isinstance(sentence, str) and sentence else [f"the error of {path} has no sentence: {document!r}"]
    if path.startswith("/v1/") and not isinstance(document.get("error"), dict):
        found.append(f"the error of {path} is not as OpenAI's: {document!r}")
    if status >= 500 and code not in NOT_OURS:
        found.append(f"status {status}: {sentence}")
    return found
