"""`/api/drift` and `/api/report`: declared against running, the status report and its checklist."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import Response

from quarterdeck.control.strict import StrictRoute
from quarterdeck.diagnosis.report.reporter import Reporter
from quarterdeck.schemas.report import CheckItem, DriftReport, StatusReport


class Form(StrEnum):
    """How the report is answered."""

    JSON = "json"
    MARKDOWN = "markdown"


_PAGE: dict[int | str, dict[str, Any]] = {200: {"content": {"text/markdown": {"schema": {"type": "string"}}}}}


def router(reporter: Reporter) -> APIRouter:
    """Routes that look at the whole; they ask servers and may take some seconds."""
    routes = APIRouter(prefix="/api", tags=["report"], route_class=StrictRoute)

    @routes.get("/drift")
    async def drift() -> DriftReport:
        """Every configuration file with its state, and every point in which declared and running differ."""
        return await reporter.drift()

    @routes.get("/report", response_model=StatusReport, responses=_PAGE)
    async def report(
        *, format: Annotated[Form, Query(description="`markdown` answers the page alone.")] = Form.JSON
    ) -> StatusReport | Response:
        """The status report."""
        written = await reporter.report()
        if format is Form.MARKDOWN:
            return Response(written.markdown, media_type="text/markdown")
        return written

    @routes.post("/report/checklist")
    async def run_checklist() -> list[CheckItem]:
        """Go through the checklist now."""
        return await reporter.run_checklist()

    return routes
