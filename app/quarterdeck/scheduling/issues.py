"""Lasting conditions that a person should know of, kept until they are over."""

from __future__ import annotations

import logging

from quarterdeck.schemas.events import Topic
from quarterdeck.schemas.system import IssueView
from quarterdeck.storage.events import EventLog

_log = logging.getLogger(__name__)


class Issues:
    """The open issues by code; every change is published. Core loop only."""

    def __init__(self, events: EventLog) -> None:
        self._events = events
        self._open: dict[str, IssueView] = {}

    def all(self) -> list[IssueView]:
        return list(self._open.values())

    def is_open(self, code: str) -> bool:
        return code in self._open

    def raise_issue(self, issue: IssueView) -> None:
        self._open[issue.code] = issue
        self._events.publish(Topic.ISSUE, "raised", issue)
        _log.warning("%s %s", issue.sentence, issue.hint)

    def clear(self, *codes: str) -> None:
        for code in codes:
            if self._open.pop(code, None) is not None:
                self._events.publish(Topic.ISSUE, "cleared", {"code": code})
