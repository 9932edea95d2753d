"""Who finds problems: the attempts of models, the servers, the requests of clients, and lasting conditions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable

from quarterdeck.diagnosis.titles import continued
from quarterdeck.mending import readings
from quarterdeck.mending.lacking import NO_TOOLS, is_over, recent
from quarterdeck.mending.offers import Offers
from quarterdeck.proxy.records.log import RequestLog
from quarterdeck.proxy.records.record import RequestRecord
from quarterdeck.scheduling.failures import title_before_start
from quarterdeck.scheduling.issues import Issues
from quarterdeck.scheduling.scheduler import Scheduler
from quarterdeck.schemas.diagnosis import Diagnosis
from quarterdeck.schemas.models import AttemptView, ModelView, Outcome, Status
from quarterdeck.schemas.problems import Fix, FixKind, ProblemView, Severity
from quarterdeck.schemas.requests import RequestView
from quarterdeck.settings import Settings

MANY_MODELS = 3
LAST_PORT = 65535
_OURSELVES = frozenset({"127.0.0.1", "::1"})
_TURNED_AWAY = frozenset({401, 403, 404, 429, 499})


class ModelProblems:
    """The last attempt of each model, where it failed; and all models failing alike, which is the machine's fault."""

    def __init__(self, scheduler: Scheduler, offers: Offers) -> None:
        self._scheduler = scheduler
        self._offers = offers

    async def __call__(self) -> list[ProblemView]:
        catalog = self._scheduler.catalog
        found = []
        for view in catalog.all():
            if view.loaded or view.hidden or not (view.last_error or view.status is Status.INCOMPATIBLE):
                continue
            attempts = await catalog.journal.attempts(view.name)
            if attempts and attempts[0].outcome in (Outcome.FAILED, Outcome.INTERRUPTED):
                found.append(await _of_attempt(view, attempts[0], self._offers))
        return [*_system_wide(catalog.all()), *found]


async def _of_attempt(view: ModelView, attempt: AttemptView, offers: Offers) -> ProblemView:
    told = await readings.of_attempt(attempt)
    problem = ProblemView(
        id=f"attempt:{attempt.id}",
        severity=Severity.HIGH if view.status is Status.INCOMPATIBLE else Severity.MEDIUM,
        source="attempt",
        subject=f"model:{view.name}",
        title=_title(view, attempt, told),
        why=told.why if told else attempt.error or "",
        hint=attempt.hint or "",
        failure_class=attempt.failure_class,
        evidence=told.evidence if told else [],
        known_issue=told.known_issue if told else None,
        since=attempt.started_at,
    )
    await offers.put(problem, view, told.remedies if told else [])
    if attempt.load_seconds is not None:
        title = f"Load “{view.name}” again"
        problem.fixes.append(Fix(id="again", kind=FixKind.LOAD, title=title, target=view.name, undoable=False))
    return problem


def _title(view: ModelView, attempt: AttemptView, told: Diagnosis | None) -> str:
    what = "stopped while it ran" if attempt.load_seconds is not None else "did not load"
    cause = told.title if told else title_before_start(attempt.failure_class)
    return f"“{view.name}” {what}" + (f": {continued(cause)}" if cause else "")


def _system_wide(views: Iterable[ModelView]) -> list[ProblemView]:
    tried = [view for view in views if view.status is not Status.UNKNOWN and not view.hidden]
    if len(tried) < MANY_MODELS or any(view.status is not Status.INCOMPATIBLE for view in tried):
        return []
    return [
        ProblemView(
            id="machine:all-incompatible",
            severity=Severity.CRITICAL,
            source="machine",
            subject="machine",
            title="Every model fails on this machine",
            why=f"All {len(tried)} models that were tried are incompatible. It is rarely the models then: the driver, "
            "the engine or the memory is to blame.",
            hint="Check the driver and the engine first, then test one small model again.",
            known_issue="all-models-incompatible",
        )
    ]


class RequestProblems:
    """What clients were refused in the last hour, told by cause and model."""

    def __init__(self, requests: RequestLog, scheduler: Scheduler, offers: Offers) -> None:
        self._requests = requests
        self._scheduler = scheduler
        self._offers = offers

    async def __call__(self) -> list[ProblemView]:
        views = {view.name: view for view in self._scheduler.catalog.all()}
        groups: dict[tuple[str, str], list[tuple[RequestView, Diagnosis]]] = defaultdict(list)
        for request in recent(self._requests, _failed):
            if is_over(request, views.get(request.model)):
                continue
            told = await readings.of_sentence(request.error or "", request.backend or "")
            if told.kind == "failure" and told.failure_class is not None:
                groups[request.model, told.failure_class].append((request, told))
        return [await _of_requests(views.get(model), failed, self._offers) for (model, _), failed in groups.items()]


def _failed(record: RequestRecord) -> bool:
    return bool(record.error and record.model) and record.status not in _TURNED_AWAY


async def _of_requests(
    view: ModelView | None, failed: list[tuple[RequestView, Diagnosis]], offers: Offers
) -> ProblemView:
    request, told = failed[0]
    clients = sorted({name for each, _ in failed if (name := each.key or each.client) and name not in _OURSELVES})
    problem = ProblemView(
        id=f"request:{request.model}:{told.failure_class}",
        severity=Severity.CRITICAL if told.failure_class == NO_TOOLS else Severity.MEDIUM,
        source="request",
        subject=f"model:{request.model}",
        title=f"Requests to “{request.model}” fail: {continued(told.title)}",
        why=told.why,
        hint=f"Asked by {', '.join(clients)}." if clients else "",
        failure_class=told.failure_class,
        evidence=told.evidence,
        known_issue=told.known_issue,
        since=request.at,
        times=len(failed),
    )
    if view is not None:
        await offers.put(problem, view, told.remedies)
    else:
        problem.advice = [remedy.title for remedy in told.remedies]
    return problem


class IssueProblems:
    """The lasting conditions that the core itself raised."""

    def __init__(self, issues: Issues, settings: Callable[[], Settings]) -> None:
        self._issues = issues
        self._settings = settings

    async def __call__(self) -> list[ProblemView]:
        return [
            ProblemView(
                id=f"issue:{issue.code}",
                severity=Severity.HIGH if issue.severity == "error" else Severity.LOW,
                source="machine",
                subject="machine",
                title=issue.sentence,
                why=issue.hint,
                fixes=self._fixes(issue.code),
            )
            for issue in self._issues.all()
        ]

    def _fixes(self, code: str) -> list[Fix]:
        port = self._settings().port + 1
        if code != "port_in_use" or port > LAST_PORT:
            return []
        return [Fix(id="port", kind=FixKind.SETTING, title=f"Answer on port {port}", patch={"port": port})]
