"""What the control API needs of the core, in one place."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from quarterdeck.backends.logs import LogBook
from quarterdeck.control.preferences import Preferences
from quarterdeck.diagnosis.known_issues.catalogue import KnownIssues
from quarterdeck.diagnosis.report.reporter import Reporter
from quarterdeck.hardware.sampler import Sampler
from quarterdeck.mending.bundle import Bundle
from quarterdeck.mending.fixes import Fixer
from quarterdeck.mending.problems import Problems
from quarterdeck.proxy.access.keys import KeyStore
from quarterdeck.proxy.records.log import RequestLog
from quarterdeck.proxy.routing.router import Router
from quarterdeck.proxy.routing.rules import RuleBook
from quarterdeck.scheduling.discovery import Discovery
from quarterdeck.scheduling.estimates import Estimator
from quarterdeck.scheduling.follower import Follower
from quarterdeck.scheduling.issues import Issues
from quarterdeck.scheduling.landscape import Landscape
from quarterdeck.scheduling.scheduler import Scheduler
from quarterdeck.scheduling.servers import Servers
from quarterdeck.storage.events import EventLog


@dataclass(slots=True)
class Services:
    """The running core as the routers see it."""

    scheduler: Scheduler
    servers: Servers
    landscape: Landscape
    discovery: Discovery
    estimator: Estimator
    follower: Follower
    events: EventLog
    sampler: Sampler
    requests: RequestLog
    keys: KeyStore
    routing: Router
    rules: RuleBook
    problems: Problems
    fixer: Fixer
    bundle: Bundle
    known_issues: KnownIssues
    reporter: Reporter
    preferences: Preferences
    logs: Mapping[str, LogBook]
    issues: Issues
    public_url: Callable[[], str | None]
    control_url: str
    started_at: float = field(default_factory=time.monotonic)
