"""Takes keys and passwords out of texts that people copy."""

from __future__ import annotations

import re

HIDDEN = "•••"
_SHORTEST = 4
"""A shorter key is no secret, and would be found in every other word."""

_PATTERNS = (
    (re.compile(r"(?i)\b(bearer|basic)(\s+)[\w.~+/=-]{4,}"), rf"\1\2{HIDDEN}"),
    (re.compile(r"\b(?:sk|pk|rk|hf|gsk|xai|ghp|gho|glpat|qd|AIza)[-_]?[A-Za-z0-9][\w-]{9,}"), HIDDEN),
    (re.compile(r"(?<=//)[^/\s@:]*:[^/\s@]*@"), f"{HIDDEN}@"),
    (
        re.compile(r"(?i)((?:api[_-]?key|token|password|secret|sig(?:nature)?)[\"']?\s*[=:]\s*[\"']?)[^\s\"'&,;}]{4,}"),
        rf"\1{HIDDEN}",
    ),
)


def masked(text: str, *secrets: str) -> str:
    """`text` without `secrets` and without what looks like one."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        if len(secret) >= _SHORTEST:
            text = text.replace(secret, HIDDEN)
    for pattern, instead in _PATTERNS:
        text = pattern.sub(instead, text)
    return text
