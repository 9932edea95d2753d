"""Which models get a turn at one request: those of its route, then those that stand in after an error."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

from quarterdeck.errors import AppError
from quarterdeck.proxy.access.access import Principal
from quarterdeck.proxy.routing.fallbacks import FallbackClass, classify
from quarterdeck.proxy.routing.router import Route
from quarterdeck.schemas.models import ModelView

FALLBACK = "fallback"


class Turns:
    """Iterates over (model, rule). After a failure `again` says whether there is another turn.

    A client whose profile has no retries gets one turn. The error of the first turn is the one that is told.
    Raises AppError `model_forbidden` (403) where the client's key is for none of the models.
    """

    def __init__(self, route: Route, principal: Principal, find: Callable[[str], ModelView]) -> None:
        self.error: AppError | None = None
        self._route = route
        self._principal = principal
        self._find = find
        self._retries = principal.profile.retries
        allowed = [view for view in route.models if principal.may_use(view.name)]
        if not allowed:
            principal.require(route.models[0].name)
        self._waiting = deque([(view, route.rule) for view in allowed])
        self._seen: set[FallbackClass] = set()

    def __iter__(self) -> Iterator[tuple[ModelView, str]]:
        while self._waiting:
            yield self._waiting.popleft()

    def again(self, error: AppError) -> bool:
        """Whether another model may answer after this error; puts those that may into the line."""
        self.error = self.error or error
        kind = classify(error)
        if kind is None or self._principal.profile.retries == 0:
            return False
        if kind is not FallbackClass.ERROR or self._retries == 0:
            # The same model elsewhere would say the same, or was tried often enough.
            self._waiting = deque(turn for turn in self._waiting if turn[1] == FALLBACK)
        else:
            self._retries -= 1
        if kind not in self._seen:
            self._seen.add(kind)
            self._waiting.extend((view, FALLBACK) for view in self._stand_ins(kind))
        return bool(self._waiting)

    def _stand_ins(self, kind: FallbackClass) -> Iterator[ModelView]:
        for name in self._route.fallbacks.get(kind, ()):
            try:
                view = self._find(name)
            except AppError:
                continue
            if self._principal.may_use(view.name):
                yield view
