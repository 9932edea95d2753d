"""`/api/routing`: the rules about which model answers to which name, and a tester for them."""

from __future__ import annotations

from fastapi import APIRouter

from quarterdeck.control.services import Services
from quarterdeck.control.strict import StrictRoute
from quarterdeck.registry.names import fold
from quarterdeck.schemas.requests import RouteQuestion, RouteReport, RoutingRules, RoutingState


def router(services: Services) -> APIRouter:
    """Routes about routing; testing a name asks nothing of a model."""
    routes = APIRouter(prefix="/api/routing", tags=["routing"], route_class=StrictRoute)

    @routes.get("")
    async def routing() -> RoutingState:
        """The rules, with what is doubtful about them."""
        return services.routing.state()

    @routes.put("")
    async def change_routing(rules: RoutingRules) -> RoutingState:
        """Replace all rules. 400 `bad_rules` names in `problems` those that cannot be used."""
        await services.rules.replace(rules)
        return services.routing.state()

    @routes.post("/test")
    async def test_route(question: RouteQuestion) -> RouteReport:
        """Where a name would lead, and why."""
        return services.routing.explain(question, _addresses(services, question.down))

    return routes


def _addresses(services: Services, named: list[str]) -> dict[str, str]:
    """The addresses of those that are servers, by name: their models know them by address only."""
    if not named:
        return {}
    words = set(map(fold, named))
    return {view.name: view.address for view in services.landscape.views() if view.address and fold(view.name) in words}
