"""Known issues that concern what is here: beside each problem, and for models and servers that work so far."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping

from quarterdeck.diagnosis.known_issues.catalogue import KnownIssues
from quarterdeck.diagnosis.known_issues.situations import Fact, Situation, of_model, of_request, of_server, words_of
from quarterdeck.mending.lacking import recent
from quarterdeck.proxy.records.log import RequestLog
from quarterdeck.scheduling.catalog import Catalog
from quarterdeck.scheduling.landscape import Landscape
from quarterdeck.schemas.backends import BackendState
from quarterdeck.schemas.hardware import HardwareSample
from quarterdeck.schemas.known_issues import KnownIssue, KnownIssueMatch
from quarterdeck.schemas.models import ModelView
from quarterdeck.schemas.problems import ProblemView, Severity

MODEL = "model:"
_THERE = (BackendState.RUNNING, BackendState.DEFECT, BackendState.STARTING)


class Known:
    """Joins the catalogue of known issues with the models, servers, requests and programs on the GPU that there are."""

    def __init__(
        self,
        issues: KnownIssues,
        catalog: Catalog,
        landscape: Landscape,
        requests: RequestLog,
        hardware: Callable[[], HardwareSample],
    ) -> None:
        self._issues = issues
        self._catalog = catalog
        self._landscape = landscape
        self._requests = requests
        self._hardware = hardware

    async def problems(self) -> list[ProblemView]:
        """What is known of what is here, though nothing failed."""
        situations = [*self._of_models(), *self._of_servers(), *self._of_requests(), *self._of_programs()]
        return await asyncio.to_thread(self._expected, situations)

    def _of_models(self) -> Iterator[Situation]:
        return (of_model(view) for view in self._catalog.all() if not view.hidden)

    def _of_servers(self) -> Iterator[Situation]:
        views = [view for view in self._landscape.views() if view.state in _THERE]
        counts = Counter(model for view in views for model in view.models)
        for view in views:
            facts = set()
            if view.state is BackendState.STARTING:
                facts.add(Fact.STARTING)
            elif not view.models:
                facts.add(Fact.NO_MODELS)
            if any(counts[model] > 1 for model in view.models):
                facts.add(Fact.TWIN_IDS)
            yield of_server(view, facts=frozenset(facts))

    def _of_requests(self) -> Iterator[Situation]:
        """Each kind of request of the last hour once, with the server that answered it."""
        models = {view.name: view for view in self._catalog.all()}
        servers = {view.address: view.title for view in self._landscape.views()}
        answered = recent(self._requests, lambda each: each.model)
        kinds = {(request.model, request.stream): request for request in answered}
        for request in kinds.values():
            model = models.get(request.model)
            yield of_request(request, model, server=servers.get(model.url if model else None, ""))

    def _of_programs(self) -> Iterator[Situation]:
        """Programs of others that hold memory of a GPU."""
        strangers = {process.name for process in self._hardware().processes if process.name and process.backend is None}
        for name in sorted(strangers):
            yield Situation(subject="machine", services=[name], facts=frozenset({Fact.HOLDS_MEMORY}))

    async def explain(self, problems: Iterable[ProblemView]) -> None:
        """Name the known issue behind each problem that has one."""
        models = {f"{MODEL}{view.name}": view for view in self._catalog.all()}
        asked = [(problem, _situation(problem, models.get(problem.subject))) for problem in problems]
        await asyncio.to_thread(self._explain, asked)

    def _expected(self, situations: Iterable[Situation]) -> list[ProblemView]:
        entries = {issue.id: issue for issue in self._issues.all()}
        return [
            _problem(match, entries[match.issue_id])
            for situation in situations
            for match in self._issues.match(situation)
            if entries[match.issue_id].still_applies is not False
        ]

    def _explain(self, asked: Iterable[tuple[ProblemView, Situation]]) -> None:
        entries = {issue.id: issue for issue in self._issues.all()}
        for problem, situation in asked:
            found = [match.issue_id for match in self._issues.match(situation) if _explains(match, entries, problem)]
            problem.known_issue = problem.known_issue or next(iter(found), None)


def _explains(match: KnownIssueMatch, entries: Mapping[str, KnownIssue], problem: ProblemView) -> bool:
    """What is known of a model need not be why it failed; a list of what to check says nothing beside a fix."""
    issue = entries[match.issue_id]
    if not issue.affected and problem.fixes:
        return False
    return bool(match.evidence) or problem.failure_class in issue.classes


def _situation(problem: ProblemView, view: ModelView | None) -> Situation:
    kind, _, name = problem.subject.partition(":")
    return Situation(
        subject=problem.subject,
        services=[view.backend if view is not None else name] if kind in ("model", "server", "client") else [],
        model=words_of(view) if view is not None else "",
        lines=[evidence.text for evidence in problem.evidence],
        failure_class=problem.failure_class,
        known_issue=problem.known_issue,
    )


def _problem(match: KnownIssueMatch, issue: KnownIssue) -> ProblemView:
    return ProblemView(
        id=f"known:{issue.id}:{match.subject}",
        severity=Severity.INFO,
        source="known issue",
        subject=match.subject,
        title=issue.title,
        why=issue.cause,
        advice=issue.workarounds,
        known_issue=issue.id,
    )
