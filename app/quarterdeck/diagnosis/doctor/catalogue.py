"""What HTTP statuses and known error texts mean, read from catalogue.yaml."""

from __future__ import annotations

import json
import re
from functools import cache, cached_property
from importlib import resources
from typing import Any, NamedTuple

import yaml
from pydantic import BaseModel, ConfigDict, Field, field_validator

from quarterdeck.diagnosis.doctor.findings import short

_FIELDS = ("message", "detail", "error", "reason", "hint", "msg", "title")
_DEEPEST = 4


class StatusEntry(BaseModel):
    """What one HTTP status means."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    status: int = Field(ge=100, le=599)
    title: str = Field(min_length=2)
    meaning: str = Field(min_length=10)
    fix: str = ""


class MessageEntry(BaseModel):
    """What an error text means. `statuses` empty: whatever the status is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    code: str = Field(pattern=r"^[a-z0-9_]+$")
    pattern: str = Field(min_length=4)
    statuses: list[int] = Field(default_factory=list)
    meaning: str = Field(min_length=10)
    fix: str = Field(min_length=10)

    @field_validator("pattern")
    @classmethod
    def _is_pattern(cls, text: str) -> str:
        try:
            re.compile(text)
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from None
        return text

    @cached_property
    def _found(self) -> re.Pattern[str]:
        return re.compile(self.pattern, re.IGNORECASE)

    def fits(self, status: int, text: str) -> bool:
        return (not self.statuses or status in self.statuses) and self._found.search(text) is not None


class Catalogue(BaseModel):
    """The file: statuses, and error texts in the order in which they are tried."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    statuses: list[StatusEntry]
    messages: list[MessageEntry]


class Explanation(NamedTuple):
    """`code` is `http_404` where only the status is known; `said` are the server's own words, on one line."""

    code: str
    meaning: str
    fix: str
    said: str


@cache
def catalogue() -> Catalogue:
    text = (resources.files("quarterdeck.diagnosis.doctor") / "catalogue.yaml").read_text(encoding="utf-8")
    return Catalogue.model_validate(yaml.safe_load(text))


def explain(status: int, body: str) -> Explanation:
    """What an answer that is no success means."""
    said = words_of(body)
    for entry in catalogue().messages:
        if entry.fits(status, body):
            return Explanation(entry.code, entry.meaning, entry.fix, said)
    known = {entry.status: entry for entry in catalogue().statuses}
    family = known.get(status) or known.get(status // 100 * 100)
    if family is None:
        return Explanation(f"http_{status}", f"The server answered with status {status}.", "", said)
    return Explanation(f"http_{status}", family.meaning, family.fix, said)


def words_of(body: str) -> str:
    """The message in an error body, whatever its shape: OpenAI's, FastAPI's, Ollama's, a page, or plain text."""
    try:
        found = _message(json.loads(body), _DEEPEST)
    except (ValueError, RecursionError):
        title = re.search(r"(?is)<title[^>]*>\s*(\S.*?)</title>", body)
        found = title[1] if title else re.sub(r"(?s)<(style|script).*?</\1>|<[^>]*>", " ", body)
    return short(found)


def _message(value: Any, depth: int) -> str:
    if isinstance(value, str):
        return value
    if depth and isinstance(value, list):
        return "; ".join(filter(None, (_message(each, depth - 1) for each in value[:3])))
    if depth and isinstance(value, dict):
        return next((said for name in _FIELDS if (said := _message(value.get(name), depth - 1))), "")
    return ""
