"""The routing tester: every rule that is looked at for a name, and what would answer."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from quarterdeck.proxy.routing import capabilities
from quarterdeck.proxy.routing.fallbacks import FallbackClass
from quarterdeck.proxy.routing.plans import Lead, Planner
from quarterdeck.registry.names import fold
from quarterdeck.schemas.models import ModelView
from quarterdeck.schemas.requests import RouteQuestion, RouteReport, RouteStep

FALLBACK = "fallback"
HEALTH = "health"
NEEDS = "needs"

Order = Callable[[Lead, Sequence[ModelView], frozenset[str]], tuple[ModelView, ...]]
"""Puts models in the order of trial."""


def explain(
    question: RouteQuestion,
    planner: Planner,
    *,
    default_model: str,
    order: Order,
    trouble: Callable[[ModelView], str | None],
    down_urls: Mapping[str, str],
) -> RouteReport:
    """See `Router.explain`. `trouble` says why a model would be put behind the others."""
    report = RouteReport(asked=question.model)
    rule, lead = _first_that_fits(report, planner, default_model)
    if lead is None:
        unknown = planner.unknown(question.model)
        report.problem = f"{unknown.sentence} {unknown.hint}"
        return report
    down = _Down(question.down, planner, down_urls)
    needs = frozenset(question.needs)
    stand_ins = planner.fallbacks(question.model, lead)
    report.fallbacks = {kind.value: list(names) for kind, names in stand_ins.items()}
    candidates = down.without(_views(planner, lead.names), report)
    for view in candidates:
        if said := trouble(view):
            report.steps.append(RouteStep(rule=HEALTH, fits=False, sentence=said))
    ordered = order(lead, candidates, needs)
    instead = down.without(_views(planner, stand_ins.get(FallbackClass.ERROR, ())), report)
    report.tried = [view.name for view in (*ordered, *instead)]
    if ordered:
        _answered_by(report, rule, ordered[0], needs)
    elif instead:
        sentence = f"{instead[0].name} answers instead, as the rule for errors says."
        report.steps.append(RouteStep(rule=FALLBACK, fits=True, sentence=sentence))
        _answered_by(report, FALLBACK, instead[0], needs)
    else:
        report.problem = "Everything that could answer is down, and no other model is named to answer after an error."
    return report


def _first_that_fits(report: RouteReport, planner: Planner, default_model: str) -> tuple[str, Lead | None]:
    for look in planner.looks(report.asked, default_model):
        report.steps.append(look.step())
        if look.lead is not None:
            return look.rule, look.lead
    return "", None


def _answered_by(report: RouteReport, rule: str, view: ModelView, needs: frozenset[str]) -> None:
    missing = [need for need in needs if capabilities.able(view, need) is False]
    if missing:
        report.problem = capabilities.cannot(view, missing)
        report.steps.append(RouteStep(rule=NEEDS, fits=False, sentence=report.problem))
        return
    report.rule, report.model, report.backend = rule, view.name, view.backend


def _views(planner: Planner, names: Collection[str]) -> list[ModelView]:
    return [view for name in names if (view := planner.find(name)) is not None]


class _Down:
    """What is taken as down: models by any of their names, backends by name, servers by address."""

    def __init__(self, named: Collection[str], planner: Planner, urls: Mapping[str, str]) -> None:
        self._words = set(map(fold, named))
        self._models = {view.name for view in _views(planner, named)}
        self._places = set(map(fold, urls))
        self._urls = set(map(_base, urls.values()))

    def without(self, views: Sequence[ModelView], report: RouteReport) -> list[ModelView]:
        """Those of the models that are up; of the others the report says why not."""
        up = []
        for view in views:
            if (said := self._why(view)) is None:
                up.append(view)
            elif all(step.sentence != said for step in report.steps):
                report.steps.append(RouteStep(rule=HEALTH, fits=False, sentence=said))
        return up

    def _why(self, view: ModelView) -> str | None:
        if view.name in self._models:
            return f"{view.name} is taken as down."
        if view.url is not None and _base(view.url) in self._urls:
            return f"{view.name} is passed over: its server at {view.url} is taken as down."
        # Of several servers of one kind, the one that has the name of the kind is only one.
        is_one_of_many = view.url is not None and fold(view.backend) in self._places
        if fold(view.backend) in self._words and not is_one_of_many:
            return f"{view.name} is passed over: its backend {view.backend} is taken as down."
        return None


def _base(url: str) -> str:
    return url.rstrip("/").removesuffix("/v1")
