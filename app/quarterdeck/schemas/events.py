"""The event stream: what changed, in order, resumable by id."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, Field


class Topic(StrEnum):
    """What an event is about. `gpu` and `log` are sent only to those who ask for them, `stream` to all."""

    MODEL = "model"
    ATTEMPT = "attempt"
    BACKEND = "backend"
    QUEUE = "queue"
    REQUEST = "request"
    ISSUE = "issue"
    SETTING = "setting"
    GPU = "gpu"
    LOG = "log"
    STREAM = "stream"


DEFAULT_TOPICS = (Topic.MODEL, Topic.ATTEMPT, Topic.BACKEND, Topic.QUEUE, Topic.REQUEST, Topic.ISSUE, Topic.SETTING)


class Event(BaseModel):
    """One event. `type` within its topic and the payload in `data`:

    model: `changed` (a ModelView), `removed` ({name}) · attempt: `started`, `finished` (an AttemptView) ·
    backend: `changed` (a BackendView), `removed` ({name}) ·
    queue: `changed` ({entries: [QueueEntry]}) ·
    request: `finished` (a RequestView), `passed_over` ({count}: of many requests only the newest are told one by one,
    at most 40 a second; `GET /api/requests` has the newest 500) ·
    setting: `changed` (a SettingView) · issue: `raised` (an IssueView), `cleared` ({code}) ·
    gpu: `sample` (a HardwareSample) ·
    log: `lines` ({source, lines: [LogLine]}) · stream: `opened` (listening; its id is where the
    stream begins), `reset` (events were missed: read the state anew).
    """

    id: int
    topic: Topic
    type: str
    at: datetime
    data: dict[str, Any] = Field(default_factory=dict)
