"""The connectivity doctor: what to examine, and what each step found."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class StepState(StrEnum):
    """How a step came out; `skipped` when an earlier one made it pointless."""

    OK = "ok"
    WARN = "warn"
    FAILED = "failed"
    SKIPPED = "skipped"


class DoctorRequest(BaseModel):
    """One of `url`, `backend` (a server's name) and `client` (a client's name); none of them: all that is known.

    `origin` asks for the CORS checks of a page from there; `model` is asked for the chat (default: the first listed);
    `websocket` is the path of a WebSocket to upgrade, such as /ws/socket.io. `proxies` are variables such as HTTP_PROXY
    and NO_PROXY of the program that would ask, by name; of a proxy only matters that one is set.
    """

    model_config = ConfigDict(extra="forbid")

    url: str | None = None
    key: str | None = None
    backend: str | None = None
    client: str | None = None
    origin: str | None = None
    model: str | None = None
    websocket: str | None = None
    proxies: dict[str, str] | None = None


class DoctorStep(BaseModel):
    """One check. `code` is stable (`tls_expired`), `finding` a sentence, `fix` what to do about it."""

    name: str
    title: str
    state: StepState
    code: str = ""
    finding: str
    fix: str = ""
    milliseconds: float | None = None


class DoctorReport(BaseModel):
    """All steps for one target, secrets masked. `state` is the worst of them; `text` is the report to copy."""

    target: str
    url: str
    started_at: datetime
    state: StepState
    sentence: str
    repaired_url: str | None = None
    steps: list[DoctorStep] = Field(default_factory=list)
    text: str = ""
