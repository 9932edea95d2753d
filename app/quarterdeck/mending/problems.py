"""Everything that is wrong now, from all who find problems, the worst first."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from quarterdeck.errors import AppError
from quarterdeck.schemas.problems import ProblemView, Severity

Source = Callable[[], Awaitable[list[ProblemView]]]
Explain = Callable[[list[ProblemView]], Awaitable[None]]

_ORDER = list(Severity)


class Problems:
    """Asks every source anew at each call: a problem that is over is gone. `explain` names known issues behind them."""

    def __init__(self, sources: Sequence[Source], explain: Explain) -> None:
        self._sources = tuple(sources)
        self._explain = explain

    async def all(self) -> list[ProblemView]:
        """The worst first; among equals the newest."""
        found = [
            problem for problems in await asyncio.gather(*(ask() for ask in self._sources)) for problem in problems
        ]
        await self._explain(found)
        found.sort(key=lambda problem: problem.since.timestamp() if problem.since else 0.0, reverse=True)
        found.sort(key=lambda problem: _ORDER.index(problem.severity))
        # Two who find the same tell it once, and as bad as the one who finds it worse.
        return list({_same(problem): problem for problem in reversed(found)}.values())[::-1]

    async def get(self, id: str) -> ProblemView:
        """Raises AppError `problem_over` (404)."""
        found = next((problem for problem in await self.all() if problem.id == id), None)
        if found is None:
            raise AppError("problem_over", "This problem is over.", "Look at the list of problems again.", status=404)
        return found


def _same(problem: ProblemView) -> tuple[str, str]:
    return problem.subject, problem.failure_class or problem.id
