"""`GET /metrics` and `GET /v1/metrics`: the figures of the requests for programs that watch."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from quarterdeck.proxy.json_answer import JsonAnswer
from quarterdeck.proxy.records.log import RequestLog
from quarterdeck.proxy.records.metrics import Metrics, State
from quarterdeck.settings import Settings


def routes(
    metrics: Metrics, log: RequestLog, *, settings: Callable[[], Settings], state: Callable[[], Awaitable[State]]
) -> list[Route]:
    """The two routes; 404 while the setting “Metrics” is off."""

    async def exposition(request: Request) -> Response:
        """Counts and times of requests, loaded models and GPU memory, as Prometheus reads them."""
        if not settings().metrics:
            return _disabled()
        text, content_type = metrics.exposition(await state(), request.headers.get("accept", ""))
        return Response(text, headers={"content-type": content_type})

    async def summary(_request: Request) -> Response:
        """Times to the first token, tokens per second and counts of the newest requests."""
        if not settings().metrics:
            return _disabled()
        return JsonAnswer(metrics.summary(log.records()).model_dump(mode="json"))

    return [Route("/metrics", exposition, methods=["GET"]), Route("/v1/metrics", summary, methods=["GET"])]


def _disabled() -> Response:
    hint = "Switch on the setting “Metrics”."
    error = {"message": f"Metrics are switched off. {hint}", "type": "disabled", "code": "disabled", "hint": hint}
    return JsonAnswer({"error": error}, status_code=404)
