"""Which model answers to the name in a request, and which one instead when it cannot."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from quarterdeck.errors import AppError
from quarterdeck.proxy.routing import capabilities, checking, explaining
from quarterdeck.proxy.routing.fallbacks import FallbackClass
from quarterdeck.proxy.routing.health import Health
from quarterdeck.proxy.routing.plans import Lead, Plan, Planner
from quarterdeck.proxy.routing.rules import RuleBook
from quarterdeck.proxy.routing.shares import Shares
from quarterdeck.scheduling.catalog import Catalog
from quarterdeck.schemas.models import ModelView, Status
from quarterdeck.schemas.requests import RouteQuestion, RouteReport, RoutingState
from quarterdeck.settings import Settings

MOST_KEPT = 2000
"""So many names are remembered with where they lead; clients can ask for as many as they like."""


@dataclass(frozen=True, slots=True)
class Route:
    """Where the name `asked` leads by `rule`. `models` are to be tried in this order before the first token.

    `fallbacks` name the models to ask instead after a failure of each class, in order; none of them is in `models`.
    """

    asked: str
    rule: str
    models: tuple[ModelView, ...]
    fallbacks: Mapping[FallbackClass, tuple[str, ...]]


class Router:
    """Finds the models for a name. Core loop only."""

    def __init__(self, catalog: Catalog, health: Health, *, settings: Callable[[], Settings], rules: RuleBook) -> None:
        self._catalog = catalog
        self._health = health
        self._settings = settings
        self._rules = rules
        self._planner = Planner(catalog, rules)
        self._shares = Shares()
        self._plans: dict[str, Plan] = {}
        self._plans_of: tuple[int, int, str] = (-1, -1, "")

    def route(self, name: str, needs: frozenset[str]) -> Route:
        """The models for `name` in the order of trial, each as it is now; `needs` are those of capabilities.py.

        A model that is known to lack one of the needs is left out where there is another. Takes a turn where
        requests are shared. Raises AppError `unknown_model` (404); its details have `close`, names written alike.
        """
        plan = self._plan(name)
        names = plan.lead.names
        if len(names) == 1:
            return Route(name, plan.rule, (self._catalog.get(names[0]),), plan.fallbacks)
        views = [self._catalog.get(each) for each in names]
        return Route(name, plan.rule, self._ordered(plan.lead, views, needs, self._shares.draw), plan.fallbacks)

    def is_up(self, view: ModelView) -> bool:
        """Whether there is no reason to think that the model could not answer."""
        return (
            view.installed
            and view.status is not Status.INCOMPATIBLE
            and view.cooldown_until is None
            and not self._health.is_avoided(view.name)
        )

    def explain(self, question: RouteQuestion, down_urls: Mapping[str, str] = MappingProxyType({})) -> RouteReport:
        """Where a name would lead if what is named in `down` were down; takes no turn.

        `down_urls` are the addresses of those among them that are servers, by name.
        Raises AppError `bad_request` for needs that nobody knows.
        """
        if strange := set(question.needs).difference(capabilities.NEEDS):
            raise AppError(
                "bad_request",
                f"“{min(strange)}” is nothing that a model can do.",
                f"Known: {', '.join(capabilities.NEEDS)}.",
            )
        return explaining.explain(
            question,
            self._planner,
            default_model=self._settings().default_model,
            order=lambda lead, views, needs: self._ordered(lead, views, needs, self._shares.peek),
            trouble=self._trouble,
            down_urls=down_urls,
        )

    def state(self) -> RoutingState:
        """The rules in force, with what is doubtful about them."""
        default_model = self._settings().default_model
        return RoutingState(
            rules=self._rules.current,
            problems=checking.warnings_of(
                self._rules.current, self._planner.find, self._planner.names(), default_model
            ),
            default_model=default_model,
        )

    def _trouble(self, view: ModelView) -> str | None:
        """Why a model would be put behind the others, in words."""
        if not view.installed:
            return f"{view.name} is not there any more."
        if view.status is Status.INCOMPATIBLE:
            return f"{view.name} is marked incompatible with this hardware."
        if view.cooldown_until is not None:
            return f"{view.name} failed to load a moment ago and is left alone for now."
        if seconds := self._health.seconds_left(view.name):
            return f"{view.name} kept failing and is avoided for {seconds:.0f} s more."
        return None

    def _plan(self, name: str) -> Plan:
        default_model = self._settings().default_model
        state = (self._catalog.revision, self._rules.revision, default_model)
        if state != self._plans_of:
            if state[1] != self._plans_of[1]:
                self._shares.forget()
            self._plans, self._plans_of = {}, state
        plan = self._plans.get(name)
        if plan is None:
            plan = self._planner.plan(name, default_model)
            if len(self._plans) >= MOST_KEPT:
                self._plans.clear()
            self._plans[name] = plan
        return plan

    def _ordered(
        self,
        lead: Lead,
        views: Sequence[ModelView],
        needs: frozenset[str],
        draw: Callable[[str, Mapping[str, float]], str],
    ) -> tuple[ModelView, ...]:
        able = [view for view in views if not any(capabilities.able(view, need) is False for need in needs)] or views
        up: list[ModelView] = []
        rest: list[ModelView] = []
        for view in able:
            (up if self.is_up(view) else rest).append(view)
        if len(up) > 1 and lead.weights:
            chosen = draw(lead.shared, {view.name: lead.weights[view.name] for view in up})
            up.sort(key=lambda view: view.name != chosen)
        elif lead.any_order:
            up.sort(key=lambda view: not view.loaded)
        return (*up, *rest)
