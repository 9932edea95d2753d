"""`/api/requests`: the newest requests of clients, and the texts that were kept of one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Query

from quarterdeck.control.services import Services
from quarterdeck.control.strict import StrictRoute
from quarterdeck.errors import AppError
from quarterdeck.proxy.records.log import KEPT_REQUESTS
from quarterdeck.proxy.records.record import RequestRecord
from quarterdeck.schemas.requests import RequestDetail, RequestView

Limit = Annotated[int, Query(ge=1, le=KEPT_REQUESTS, description="How many requests at most.")]
Model = Annotated[str | None, Query(description="The model that answered, or the name that the client wrote.")]
Status = Annotated[
    str | None,
    Query(pattern="^(ok|error|[1-5]xx|[1-5][0-9][0-9])$", description="`ok`, `error`, such as `4xx`, or one status."),
]
Exactly = Annotated[str | None, Query(description="Only requests with this value.")]


def router(services: Services) -> APIRouter:
    """Routes that look at what went through the proxy."""
    routes = APIRouter(prefix="/api", tags=["requests"], route_class=StrictRoute)

    @routes.get("/requests")
    async def requests(
        *,
        limit: Limit = KEPT_REQUESTS,
        model: Model = None,
        status: Status = None,
        backend: Exactly = None,
        dialect: Exactly = None,
        operation: Exactly = None,
        key: Exactly = None,
    ) -> list[RequestView]:
        """The newest requests, newest first."""
        exactly = {"backend": backend, "dialect": dialect, "operation": operation, "key": key}
        return services.requests.recent(limit, _filter(model, status, exactly))

    @routes.get("/requests/{id}")
    async def request(id: str) -> RequestDetail:
        """One request, with its texts where they were kept."""
        detail = services.requests.detail(id)
        if detail is None:
            raise AppError(
                "unknown_request",
                f"There is no request “{id}” among the newest {KEPT_REQUESTS}.",
                "The access log may still have it.",
                status=404,
            )
        return detail

    return routes


def _filter(
    model: str | None, status: str | None, exactly: dict[str, str | None]
) -> Callable[[RequestRecord], bool] | None:
    wanted = {name: value for name, value in exactly.items() if value is not None}
    if model is None and status is None and not wanted:
        return None
    allowed = _statuses(status)

    def fits(record: RequestRecord) -> bool:
        return (
            record.status in allowed
            and (model is None or model in (record.model, record.asked))
            and all(getattr(record, name) == value for name, value in wanted.items())
        )

    return fits


def _statuses(text: str | None) -> range:
    """The statuses that a word of the query stands for."""
    if text is None:
        return range(1000)
    if text == "ok":
        return range(400)
    if text == "error":
        return range(400, 1000)
    first = int(text.replace("x", "0"))
    return range(first, first + (100 if text.endswith("xx") else 1))
