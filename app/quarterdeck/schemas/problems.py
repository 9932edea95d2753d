"""What is wrong now, and the changes that Quarterdeck can make against it, with preview and undo."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, Field, JsonValue

from quarterdeck.schemas.diagnosis import Evidence


class Severity(StrEnum):
    """From what stops the work to what is only worth knowing."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    INFO = "info"


class FixKind(StrEnum):
    """What a fix does. Each kind has one maker in `mending/makers.py`."""

    LOAD_CONFIG = "load_config"
    LOAD = "load"
    SETTING = "setting"
    ALIAS = "alias"
    PLACEHOLDER_KEY = "placeholder_key"
    FREE_MEMORY = "free_memory"
    CONFIG_FILE = "config_file"
    START_SERVER = "start_server"
    GIT = "git"


class Fix(BaseModel):
    """A change on offer. `id` is unique within its problem; `target` names a model, server, setting or file.

    `patch` holds what the kind needs: entries of the load_config, the setting's value, {"num_ctx": 8192}, …
    `retries`: the model is loaded again afterwards, to see whether it helped.
    """

    id: str
    kind: FixKind
    title: str
    target: str = ""
    patch: dict[str, JsonValue] = Field(default_factory=dict)
    retries: bool = False
    undoable: bool = True


class ProblemView(BaseModel):
    """Something that does not work or will not. `subject` is `model:NAME`, `server:NAME`, `client:NAME`, `file:PATH` or
    `machine`; `source` says who found it: attempt, server, request, drift, settings or machine."""

    id: str
    severity: Severity
    source: str
    subject: str
    title: str
    why: str
    hint: str = ""
    failure_class: str | None = None
    evidence: list[Evidence] = Field(default_factory=list)
    advice: list[str] = Field(default_factory=list)
    commands: list[str] = Field(default_factory=list)
    fixes: list[Fix] = Field(default_factory=list)
    known_issue: str | None = None
    since: datetime | None = None
    times: int = 1


class FixRequest(BaseModel):
    """The fix `fix_id` of the problem `problem_id`."""

    problem_id: str
    fix_id: str


class Change(BaseModel):
    """One thing that a fix changes: what, from, to; texts as a person reads them."""

    what: str
    before: str
    after: str


class FixPreview(BaseModel):
    """What a fix would do; `consequence` says what happens besides, such as that a model restarts."""

    title: str
    changes: list[Change]
    consequence: str = ""
    undoable: bool = True


class FixResult(BaseModel):
    """What a fix did. `worked` tells the trial afterwards, where there was one; `undo_id` takes the change back."""

    sentence: str
    worked: bool | None = None
    undo_id: str | None = None


class AppliedFix(BaseModel):
    """A change that was made, newest first in lists; `undone_at` when it was taken back."""

    undo_id: str
    title: str
    subject: str
    changes: list[Change]
    applied_at: datetime
    worked: bool | None = None
    undone_at: datetime | None = None
