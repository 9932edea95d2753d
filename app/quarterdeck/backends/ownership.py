"""What is known of a service, whoever runs it."""

from __future__ import annotations

from typing import NamedTuple


class ServiceStatus(NamedTuple):
    """The state of a unit or container. Times in seconds, None where not known; `error` is a sentence for people."""

    running: bool
    starting: bool = False
    failed: bool = False
    pid: int | None = None
    running_s: float | None = None
    stopped_s: float | None = None
    error: str | None = None
