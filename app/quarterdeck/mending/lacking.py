"""Loaded models that lack something, and the clients who miss it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from quarterdeck.mending.offers import Offers
from quarterdeck.proxy.mitigations.tools import STRIPPED
from quarterdeck.proxy.records.log import RequestLog
from quarterdeck.proxy.records.record import RequestRecord
from quarterdeck.proxy.routing import capabilities
from quarterdeck.scheduling.landscape import Landscape
from quarterdeck.scheduling.scheduler import Scheduler
from quarterdeck.schemas.backends import BackendKind
from quarterdeck.schemas.models import ModelView
from quarterdeck.schemas.problems import FixKind, ProblemView, Severity
from quarterdeck.schemas.requests import RequestView

NO_TOOLS = "tool_calling_not_enabled"
RECENT = timedelta(hours=1)
_REFUSED = 409


class DefectProblems:
    """What loaded models of our engines lack, such as tool calling."""

    def __init__(self, scheduler: Scheduler, landscape: Landscape, offers: Offers) -> None:
        self._scheduler = scheduler
        self._landscape = landscape
        self._offers = offers

    async def __call__(self) -> list[ProblemView]:
        return [
            await _of_defect(self._scheduler.catalog.get(model), sentence, self._offers)
            for backend in self._scheduler.backends
            for model, sentence in self._landscape.defects(backend).items()
        ]


async def _of_defect(view: ModelView, sentence: str, offers: Offers) -> ProblemView:
    tools = view.backend == BackendKind.VLLM
    problem = ProblemView(
        id=f"defect:{view.name}",
        severity=Severity.HIGH if tools else Severity.MEDIUM,
        source="server",
        subject=f"model:{view.name}",
        title=f"“{view.name}” runs without tool calling" if tools else f"“{view.name}” runs with a defect",
        why=sentence,
        failure_class=NO_TOOLS if tools else None,
        since=view.last_loaded,
    )
    await offers.put(problem, view, [])
    return problem


class ToolProblems:
    """Models that were asked with tools in the last hour and got none of them, or refused the request."""

    def __init__(self, requests: RequestLog, scheduler: Scheduler, offers: Offers) -> None:
        self._requests = requests
        self._scheduler = scheduler
        self._offers = offers

    async def __call__(self) -> list[ProblemView]:
        views = {view.name: view for view in self._scheduler.catalog.all()}
        lost: dict[str, list[RequestView]] = defaultdict(list)
        for request in recent(self._requests, lambda each: each.status == _REFUSED or STRIPPED in each.applied):
            view = views.get(request.model)
            if view is not None and not is_over(request, view) and _lost_tools(request, view):
                lost[view.name].append(request)
        return [await _of_tools(views[name], requests, self._offers) for name, requests in lost.items()]


def recent(log: RequestLog, fits: Callable[[RequestRecord], object]) -> list[RequestView]:
    """The requests of the last hour that `fits` accepts, newest first. Only of these views are made."""
    since = (datetime.now(UTC) - RECENT).timestamp()
    return log.recent(fits=lambda record: record.at >= since and bool(fits(record)))


def is_over(request: RequestView, view: ModelView | None) -> bool:
    """Whether the request tells nothing of now, because its model was loaded anew since."""
    ended = request.at + timedelta(milliseconds=request.total_ms)
    return view is not None and view.last_loaded is not None and ended < view.last_loaded


def _lost_tools(request: RequestView, view: ModelView) -> bool:
    if capabilities.able(view, capabilities.TOOLS):
        return False  # Its options have changed since.
    refused = request.status == _REFUSED and request.error == capabilities.cannot(view, [capabilities.TOOLS])
    return refused or STRIPPED in request.applied


async def _of_tools(view: ModelView, requests: list[RequestView], offers: Offers) -> ProblemView:
    """A model that could have tools is worse than one that has no idea of them."""
    problem = ProblemView(
        id=f"tools:{view.name}",
        severity=Severity.LOW,
        source="request",
        subject=f"model:{view.name}",
        title=f"Clients send tools to “{view.name}”, which cannot call them",
        why="Tools are left out of their requests, and requests that insist on a call are refused.",
        hint="Let these clients ask a model that can call tools.",
        failure_class=NO_TOOLS,
        since=requests[0].at,
        times=len(requests),
    )
    await offers.put(problem, view, [])
    if any(fix.kind is FixKind.LOAD_CONFIG for fix in problem.fixes):
        problem.severity, problem.hint = Severity.HIGH, ""
    return problem
