"""`POST /api/diagnose`: what a log tells."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter

from quarterdeck.control.strict import StrictRoute
from quarterdeck.diagnosis.matcher import diagnose_text
from quarterdeck.schemas.diagnosis import DiagnoseRequest, Diagnosis


def router() -> APIRouter:
    """The route that reads a log."""
    routes = APIRouter(prefix="/api", tags=["diagnosis"], route_class=StrictRoute)

    @routes.post("/diagnose")
    async def diagnose(asked: DiagnoseRequest) -> Diagnosis:
        """The cause of the failure in a log, with the lines that prove it and what helps."""
        return await asyncio.to_thread(
            diagnose_text, asked.text, asked.service, exit_code=asked.exit_code, signal=asked.signal
        )

    return routes
