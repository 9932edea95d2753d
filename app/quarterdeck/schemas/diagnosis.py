"""What a log tells: the cause of a failure, the lines that prove it, and what helps."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StrictInt

MOST_TEXT = 64 * 1024 * 1024
"""Characters of log that `POST /api/diagnose` takes at once."""


class Evidence(BaseModel):
    """A line of the log, counted from 1, without colour codes."""

    line: int
    text: str


class RemedyKind(StrEnum):
    """How a remedy is applied: a change of the load_config, a command, a setting, or by a person."""

    LOAD_CONFIG = "load_config"
    COMMAND = "command"
    SETTING = "setting"
    ADVICE = "advice"


class Remedy(BaseModel):
    """One thing that helps. `patch` is merged into the load_config (a null removes an entry) or names a setting."""

    title: str
    kind: RemedyKind = RemedyKind.ADVICE
    patch: dict[str, JsonValue] | None = None
    command: str | None = None


class OtherClass(BaseModel):
    """A class that the log speaks for too, less surely."""

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)

    failure_class: str = Field(alias="class")
    confidence: float


class Diagnosis(BaseModel):
    """The answer of `quarterdeck diagnose` and `POST /api/diagnose`. `confidence` is between 0 and 1."""

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)

    kind: Literal["failure", "healthy"]
    failure_class: str | None = Field(None, alias="class")
    confidence: float = 0.0
    service: str = ""
    title: str
    why: str
    evidence: list[Evidence] = Field(default_factory=list)
    remedies: list[Remedy] = Field(default_factory=list)
    known_issue: str | None = None
    others: list[OtherClass] = Field(default_factory=list)


class DiagnoseRequest(BaseModel):
    """A log, and what is known of it. `service` is an engine or a client, such as `vllm` or `open-webui`."""

    text: str = Field(max_length=MOST_TEXT)
    service: str = ""
    exit_code: StrictInt | None = None
    signal: str | None = None
