"""All that is kept of requests, put together: the log, its files, the figures, and what is sent elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from starlette.routing import Route

from quarterdeck.errors import AppError
from quarterdeck.hardware.sampler import Sampler
from quarterdeck.proxy.records import routes
from quarterdeck.proxy.records.access_log import FAILED as ACCESS_LOG_FAILED
from quarterdeck.proxy.records.access_log import AccessLog
from quarterdeck.proxy.records.log import Keeping, RequestLog
from quarterdeck.proxy.records.metrics import Metrics, State
from quarterdeck.proxy.records.telemetry import FAILED as TELEMETRY_FAILED
from quarterdeck.proxy.records.telemetry import Telemetry
from quarterdeck.scheduling.issues import Issues
from quarterdeck.scheduling.scheduler import Scheduler
from quarterdeck.schemas.requests import RequestView
from quarterdeck.schemas.system import IssueView
from quarterdeck.settings import Settings

SAMPLE_PATIENCE = 1.0


class Records:
    """`log` takes the requests. Core loop only; `close` writes and sends what waits.

    Changed settings hold from the next request on.
    """

    def __init__(
        self,
        folder: Path,
        *,
        settings: Callable[[], Settings],
        issues: Issues,
        on_request: Callable[[RequestView], None],
        on_passed_over: Callable[[int], None],
    ) -> None:
        self._settings = settings
        self._issues = issues
        self._access_log = AccessLog(folder, settings=settings, problem=self._problem(ACCESS_LOG_FAILED))
        self._telemetry = Telemetry(settings=settings, problem=self._problem(TELEMETRY_FAILED))
        self.metrics = Metrics(running=lambda: self.log.running)
        self.log = RequestLog(
            on_request,
            on_passed_over=on_passed_over,
            sinks=(self.metrics.add, self._access_log.add, self._telemetry.add),
            keeping=self._keeping,
        )

    def routes(self, scheduler: Scheduler, sampler: Sampler) -> list[Route]:
        """`GET /metrics` and `GET /v1/metrics`."""

        async def state() -> State:
            sample = await asyncio.to_thread(sampler.sample_now, SAMPLE_PATIENCE)
            loaded = [(each.view.name, each.view.backend) for each in scheduler.loaded.values() if each.awake]
            return State(loaded, len(scheduler.queue), sample.gpus)

        return routes.routes(self.metrics, self.log, settings=self._settings, state=state)

    async def close(self) -> None:
        self.log.close()
        await self._access_log.close()
        await self._telemetry.close()

    def _keeping(self) -> Keeping:
        settings = self._settings()
        return Keeping(settings.capture_requests, settings.log_prompts)

    def _problem(self, code: str) -> Callable[[AppError | None], None]:
        """Tells of a failure as an issue, once, until it is over."""

        def tell(error: AppError | None) -> None:
            if error is None:
                self._issues.clear(code)
            elif not self._issues.is_open(code):
                self._issues.raise_issue(
                    IssueView(code=code, sentence=error.sentence, hint=error.hint, severity="warning")
                )

        return tell
