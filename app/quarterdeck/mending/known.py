"""Known issues that concern what is here: beside each problem, and for models and servers that work so far."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from quarterdeck.diagnosis.known_issues.catalogue import KnownIssues
from quarterdeck.diagnosis.known_issues.situations import Situation, of_model, of_server, words_of
from quarterdeck.scheduling.catalog import Catalog
from quarterdeck.scheduling.landscape import Landscape
from quarterdeck.schemas.known_issues import KnownIssue, KnownIssueMatch
from quarterdeck.schemas.models import ModelView
from quarterdeck.schemas.problems import ProblemView, Severity

MODEL = "model:"


class Known:
    """Joins the catalogue of known issues with the models and servers that there are."""

    def __init__(self, issues: KnownIssues, catalog: Catalog, landscape: Landscape) -> None:
        self._issues = issues
        self._catalog = catalog
        self._landscape = landscape

    async def problems(self) -> list[ProblemView]:
        """What is known of models and servers here, though nothing failed."""
        models = [view for view in self._catalog.all() if not view.hidden]
        situations = [*map(of_model, models), *(of_server(view) for view in self._landscape.views() if view.models)]
        return await asyncio.to_thread(self._expected, situations)

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
        classes = {issue.id: issue.classes for issue in self._issues.all()}
        for problem, situation in asked:
            # What is known of a model need not be why it failed.
            found = [
                match.issue_id
                for match in self._issues.match(situation)
                if match.evidence or problem.failure_class in classes[match.issue_id]
            ]
            problem.known_issue = problem.known_issue or next(iter(found), None)


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
