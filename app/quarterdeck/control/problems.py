"""`/api/problems` and `/api/fixes`: what is wrong now, and the changes that mend it; `/api/diagnostics`: a bundle."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from quarterdeck.control.services import Services
from quarterdeck.control.strict import StrictRoute
from quarterdeck.schemas.problems import AppliedFix, FixPreview, FixRequest, FixResult, ProblemView

ZIP = "application/zip"


def router(services: Services) -> APIRouter:
    """Routes that look at what is wrong, and mend it."""
    routes = APIRouter(prefix="/api", tags=["diagnosis"], route_class=StrictRoute)

    @routes.get("/problems")
    async def problems() -> list[ProblemView]:
        """What is wrong now, the worst first."""
        return await services.problems.all()

    @routes.post("/fixes/preview")
    async def preview(fix: FixRequest) -> FixPreview:
        """What a fix would change; nothing is changed."""
        return await services.fixer.preview(fix)

    @routes.post("/fixes/apply")
    async def apply(fix: FixRequest) -> FixResult:
        """Make the change; where it can be tried whether it helped, the answer comes after the trial."""
        return await services.fixer.apply(fix)

    @routes.get("/fixes")
    async def applied() -> list[AppliedFix]:
        """The changes that were made, newest first."""
        return await services.fixer.applied()

    @routes.post("/fixes/{undo_id}/undo")
    async def undo(undo_id: str) -> FixResult:
        """Take a change back."""
        return await services.fixer.undo(undo_id)

    @routes.get("/diagnostics", response_class=Response, responses={200: {"content": {ZIP: {}}}})
    async def diagnostics() -> Response:
        """A zip file with what is needed to understand a problem elsewhere; secrets are taken out."""
        content = await services.bundle.make()
        name = {"Content-Disposition": 'attachment; filename="quarterdeck-diagnostics.zip"'}
        return Response(content, media_type=ZIP, headers=name)

    return routes
