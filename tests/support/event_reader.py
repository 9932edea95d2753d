"""Reading the event stream of a core, one event after the other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from scripted_core import ScriptedCore


class Events:
    """A reader of the event stream."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self._lines = answer.iter_lines()

    def next(self) -> dict[str, Any]:
        """The next event; comments left out."""
        for line in self._lines:
            if line.startswith("data: "):
                return dict(json.loads(line.removeprefix("data: ")))
        raise EOFError

    def until(self, topic: str, **data: Any) -> dict[str, Any]:
        while True:
            event = self.next()
            if event["topic"] == topic and all(event["data"].get(key) == value for key, value in data.items()):
                return event


@contextmanager
def listen(core: ScriptedCore, *, last_id: object = None, base: str | None = None, **params: str) -> Iterator[Events]:
    headers = dict(core.http.headers) | ({} if last_id is None else {"Last-Event-ID": str(last_id)})
    url = (base or core.url) + "/api/events"
    with httpx.stream("GET", url, params=params, headers=headers, timeout=20, trust_env=False) as answer:
        yield Events(answer)
