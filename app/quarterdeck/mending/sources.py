"""Who finds problems: the attempts of models, the servers, the requests of clients, and lasting conditions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

from quarterdeck.diagnosis.matcher import diagnose_log, diagnose_text
from quarterdeck.mending.offers import Offers
from quarterdeck.proxy.records.log import RequestLog
from quarterdeck.scheduling.failures import title_before_start
from quarterdeck.scheduling.issues import Issues
from quarterdeck.scheduling.landscape import Landscape
from quarterdeck.scheduling.scheduler import Scheduler
from quarterdeck.scheduling.servers import Servers
from quarterdeck.schemas.backends import BackendState, BackendView
from quarterdeck.schemas.diagnosis import Diagnosis
from quarterdeck.schemas.models import AttemptView, ModelView, Outcome, Status
from quarterdeck.schemas.problems import Fix, FixKind, ProblemView, Severity
from quarterdeck.schemas.requests import RequestView
from quarterdeck.settings import Settings

RECENT = timedelta(hours=1)
MANY_MODELS = 3
_OURSELVES = frozenset({"127.0.0.1", "::1"})
_TURNED_AWAY = frozenset({401, 403, 404, 429, 499})


class ModelProblems:
    """The last attempt of each model, where it failed; and all models failing alike, which is the machine's fault."""

    def __init__(self, scheduler: Scheduler, settings: Callable[[], Settings]) -> None:
        self._scheduler = scheduler
        self._settings = settings

    async def __call__(self) -> list[ProblemView]:
        catalog = self._scheduler.catalog
        offers = Offers(self._scheduler, self._settings())
        found = []
        for view in catalog.all():
            if view.loaded or view.hidden or not (view.last_error or view.status is Status.INCOMPATIBLE):
                continue
            attempts = await catalog.journal.attempts(view.name)
            if attempts and attempts[0].outcome in (Outcome.FAILED, Outcome.INTERRUPTED):
                found.append(_of_attempt(view, attempts[0], offers))
        return [*_system_wide(catalog.all()), *found]


def _of_attempt(view: ModelView, attempt: AttemptView, offers: Offers) -> ProblemView:
    told = _reading(attempt)
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
    offers.put(problem, view, told.remedies if told else [])
    return problem


def _title(view: ModelView, attempt: AttemptView, told: Diagnosis | None) -> str:
    what = "stopped while it ran" if attempt.load_seconds is not None else "did not load"
    cause = told.title if told else title_before_start(attempt.failure_class)
    return f"“{view.name}” {what}" + (f": {cause[:1].lower()}{cause[1:]}" if cause else "")


def _reading(attempt: AttemptView) -> Diagnosis | None:
    """The log of the attempt read anew, since rules get better; None where it does not tell the cause on record."""
    told = diagnose_text(attempt.log_tail, attempt.backend, exit_code=attempt.exit_code, signal=attempt.signal)
    return told if told.failure_class == attempt.failure_class else None


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
        )
    ]


class ServerProblems:
    """Servers that should run and do not, or run with a defect."""

    def __init__(self, landscape: Landscape, servers: Servers) -> None:
        self._landscape = landscape
        self._servers = servers

    async def __call__(self) -> list[ProblemView]:
        attached = {view.name for view in self._servers.views()}
        return [_of_server(view) for view in self._landscape.views() if _is_wrong(view, attached=view.name in attached)]


def _is_wrong(view: BackendView, *, attached: bool) -> bool:
    """An engine of ours may rest, and why it ended is told of its model; a server that was made known should run.

    One that runs as a service is told of by the drift.
    """
    down = view.state in (BackendState.FAILED, BackendState.STOPPED)
    return view.state is BackendState.DEFECT or (down and attached and "start" not in view.actions)


def _of_server(view: BackendView) -> ProblemView:
    text = view.detail or view.last_error or ""
    told = diagnose_log(text.splitlines(), view.kind) if text else None
    defect = view.state is BackendState.DEFECT
    problem = ProblemView(
        id=f"server:{view.name}",
        severity=Severity.HIGH if defect else Severity.MEDIUM,
        source="server",
        subject=f"server:{view.name}",
        title=f"{view.title} {'runs with a defect' if defect else 'does not run'}",
        why=text or "It does not answer at its address.",
        failure_class=told.failure_class if told and told.kind == "failure" else None,
        evidence=told.evidence if told else [],
        advice=[remedy.title for remedy in told.remedies] if told else [],
    )
    action = "restart" if defect and "restart" in view.actions else "start"
    if action in view.actions:
        title = f"{action.capitalize()} {view.title}"
        fix = Fix(
            id=action,
            kind=FixKind.START_SERVER,
            title=title,
            target=view.name,
            patch={"action": action},
            undoable=False,
        )
        problem.fixes.append(fix)
    return problem


class RequestProblems:
    """What clients were refused in the last hour, told by cause and model."""

    def __init__(self, requests: RequestLog, scheduler: Scheduler, settings: Callable[[], Settings]) -> None:
        self._requests = requests
        self._scheduler = scheduler
        self._settings = settings

    async def __call__(self) -> list[ProblemView]:
        since = datetime.now(UTC) - RECENT
        groups: dict[tuple[str, str], list[tuple[RequestView, Diagnosis]]] = defaultdict(list)
        known: dict[tuple[str, str], Diagnosis] = {}
        for request in self._requests.recent():
            if request.at < since or not request.error or request.status in _TURNED_AWAY or not request.model:
                continue
            text = (request.backend or "", request.error)
            told = known.get(text) or known.setdefault(text, diagnose_log([request.error], request.backend or ""))
            if told.kind == "failure" and told.failure_class is not None:
                groups[request.model, told.failure_class].append((request, told))
        offers = Offers(self._scheduler, self._settings())
        views = {view.name: view for view in self._scheduler.catalog.all()}
        return [_of_requests(views.get(model), failed, offers) for (model, _), failed in groups.items()]


def _of_requests(view: ModelView | None, failed: list[tuple[RequestView, Diagnosis]], offers: Offers) -> ProblemView:
    request, told = failed[0]
    clients = sorted({name for each, _ in failed if (name := each.key or each.client) and name not in _OURSELVES})
    problem = ProblemView(
        id=f"request:{request.model}:{told.failure_class}",
        severity=Severity.CRITICAL if told.failure_class == "tool_calling_not_enabled" else Severity.MEDIUM,
        source="request",
        subject=f"model:{request.model}",
        title=f"Requests to “{request.model}” fail: {told.title[:1].lower()}{told.title[1:]}",
        why=told.why,
        hint=f"Asked by {', '.join(clients)}." if clients else "",
        failure_class=told.failure_class,
        evidence=told.evidence,
        known_issue=told.known_issue,
        since=request.at,
        times=len(failed),
    )
    if view is not None:
        offers.put(problem, view, told.remedies)
    else:
        problem.advice = [remedy.title for remedy in told.remedies]
    return problem


class IssueProblems:
    """The lasting conditions that the core itself raised."""

    def __init__(self, issues: Issues) -> None:
        self._issues = issues

    async def __call__(self) -> list[ProblemView]:
        return [
            ProblemView(
                id=f"issue:{issue.code}",
                severity=Severity.HIGH if issue.severity == "error" else Severity.LOW,
                source="machine",
                subject="machine",
                title=issue.sentence,
                why=issue.hint,
            )
            for issue in self._issues.all()
        ]
