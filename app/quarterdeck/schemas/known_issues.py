"""Known incompatibilities between services and models, each with its combinations, effects and workarounds."""

from __future__ import annotations

from datetime import date

from pydantic import BaseModel, Field


class Combination(BaseModel):
    """Services or models that do not get on, such as ["vllm", "searxng", "webui"], and what one sees then."""

    services: list[str]
    effect: str


class KnownIssue(BaseModel):
    """One entry. `signatures` are regular expressions of log lines; `classes` are failure classes it may explain;
    `versions` says in words which versions have it; `still_applies` is None where nobody knows."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=80)
    title: str
    subject: str
    cause: str
    affected: list[Combination] = Field(default_factory=list)
    signatures: list[str] = Field(default_factory=list)
    classes: list[str] = Field(default_factory=list)
    workarounds: list[str] = Field(default_factory=list)
    versions: str = ""
    still_applies: bool | None = None
    checked: date | None = None
    source: str = ""
    own: bool = False


class KnownIssueMatch(BaseModel):
    """An entry that fits something here: `subject` as in ProblemView, `evidence` the line that shows it, if any."""

    issue_id: str
    title: str
    subject: str
    evidence: str = ""


class ImportedIssues(BaseModel):
    """What came of reading a page of known issues; `problems` name line and fault of what could not be read."""

    added: list[str] = Field(default_factory=list)
    replaced: list[str] = Field(default_factory=list)
    problems: list[str] = Field(default_factory=list)
