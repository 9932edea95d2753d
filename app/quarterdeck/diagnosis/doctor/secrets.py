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


_USER = re.compile(r"^(?:[a-zA-Z][a-zA-Z0-9+.-]*:?[/\\]+)?([^/]*|[^/:]*:(?!\d*/).*)@")
"""Also with a slash in the password, but not where host and path come before an @."""
_PLAIN = ("api-version", "version", "model", "region")
"""Names in the query of an address whose values are no secrets."""


def clean_key(key: str) -> str:
    """A key without what people copy along with it."""
    bare = key.strip().strip("\"'“”‘’`").strip()
    return bare[7:].strip() if bare[:7].lower() == "bearer " else bare


def secrets_of(url: str) -> tuple[str, ...]:
    """What in an address as written may be secret: name and password, values of the query, what follows a #."""
    written, _, fragment = url.partition("#")
    place, _, query = written.partition("?")
    found = [fragment]
    if user := _USER.match(place):
        found += [user[1], user[1].partition(":")[2]]
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        if name.lower() not in _PLAIN:
            found.append(value or name)
    return tuple(filter(None, found))


def masked(text: str, *secrets: str) -> str:
    """`text` without `secrets` and without what looks like one."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        if len(secret) >= _SHORTEST:
            text = text.replace(secret, HIDDEN)
    for pattern, instead in _PATTERNS:
        text = pattern.sub(instead, text)
    return text
