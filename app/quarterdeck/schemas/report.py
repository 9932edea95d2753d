"""Declared against running: the drift of configurations, and the status report."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, Field

from quarterdeck.schemas.problems import ProblemView


class FileState(StrEnum):
    """What a configuration file is at the moment; several hold at once."""

    ACTIVE = "active"
    DEPLOYED = "deployed"
    NOT_DEPLOYED = "not deployed"
    MODIFIED = "modified"
    UNCOMMITTED = "uncommitted"
    STALE = "stale"
    MISSING = "missing"
    INVALID = "invalid"


class ConfigFileView(BaseModel):
    """One configuration file of a gateway or a program. `users` are the servers that run with it."""

    path: str
    kind: str
    size_bytes: int = 0
    lines: int = 0
    models: list[str] = Field(default_factory=list)
    purpose: str = ""
    states: list[FileState] = Field(default_factory=list)
    users: list[str] = Field(default_factory=list)
    modified_at: datetime | None = None
    git: str = ""
    faults: list[str] = Field(default_factory=list)


class Difference(BaseModel):
    """A point in which what is declared and what runs do not agree."""

    subject: str
    what: str
    declared: str
    running: str
    severity: str = "medium"


class DriftReport(BaseModel):
    """Every configuration file, and every difference."""

    files: list[ConfigFileView] = Field(default_factory=list)
    differences: list[Difference] = Field(default_factory=list)
    checked_at: datetime


class ServiceLine(BaseModel):
    """One service in the report; `state` in words: running, down, unknown (not validated), running with a defect."""

    name: str
    kind: str
    address: str
    state: str
    detail: str = ""
    uptime_seconds: float | None = None


class CheckItem(BaseModel):
    """One line of the checklist; `passed` is None while it was not run."""

    name: str
    title: str
    passed: bool | None = None
    detail: str = ""
    checked_at: datetime | None = None


class Choice(BaseModel):
    """A way that a person may decide for; `when` says in which case it is the right one."""

    question: str
    title: str
    pro: str = ""
    con: str = ""
    when: str = ""


class DocumentLine(BaseModel):
    """A page about the state of the configuration; `current` is that of the newest, the others are outdated."""

    path: str
    modified_at: datetime
    current: bool


class StatusReport(BaseModel):
    """The answer of `GET /api/report`; `markdown` is the same as a page.

    `expected` and `actual` are the ways of requests as the configuration has them and as they are.
    """

    written_at: datetime
    assessment: str
    summary: list[str] = Field(default_factory=list)
    services: list[ServiceLine] = Field(default_factory=list)
    drift: DriftReport
    problems: list[ProblemView] = Field(default_factory=list)
    actions: list[str] = Field(default_factory=list)
    checklist: list[CheckItem] = Field(default_factory=list)
    working_models: list[str] = Field(default_factory=list)
    last_good_at: datetime | None = None
    expected: list[str] = Field(default_factory=list)
    actual: list[str] = Field(default_factory=list)
    choices: list[Choice] = Field(default_factory=list)
    changed_files: list[str] = Field(default_factory=list)
    documents: list[DocumentLine] = Field(default_factory=list)
    next_update: str = ""
    version: str = ""
    markdown: str = ""
