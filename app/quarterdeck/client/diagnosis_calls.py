"""Calls of the control API about what is wrong and what to do about it."""

from __future__ import annotations

from collections.abc import AsyncIterator

from pydantic import TypeAdapter

from quarterdeck.client.calls import Calls, part
from quarterdeck.schemas.diagnosis import DiagnoseRequest, Diagnosis
from quarterdeck.schemas.doctor import DoctorReport, DoctorRequest, DoctorStep
from quarterdeck.schemas.known_issues import ImportedIssues, KnownIssue
from quarterdeck.schemas.problems import AppliedFix, FixPreview, FixRequest, FixResult, ProblemView
from quarterdeck.schemas.report import CheckItem, DriftReport, StatusReport

_PROBLEMS = TypeAdapter(list[ProblemView])
_APPLIED = TypeAdapter(list[AppliedFix])
_KNOWN = TypeAdapter(list[KnownIssue])
_CHECKS = TypeAdapter(list[CheckItem])


class DiagnosisCalls(Calls):
    """Diagnosis, problems and fixes, known issues, the doctor, drift and the report."""

    async def diagnose(self, request: DiagnoseRequest) -> Diagnosis:
        """What a log tells."""
        answer = await self.call("POST", "/api/diagnose", request.model_dump(), timeout=None)
        return Diagnosis.model_validate_json(answer)

    async def problems(self) -> list[ProblemView]:
        """What is wrong now, the worst first."""
        return _PROBLEMS.validate_json(await self.call("GET", "/api/problems"))

    async def preview_fix(self, fix: FixRequest) -> FixPreview:
        """What a fix would change; nothing is changed."""
        return FixPreview.model_validate_json(await self.call("POST", "/api/fixes/preview", fix.model_dump()))

    async def apply_fix(self, fix: FixRequest) -> FixResult:
        """Make the change, and try whether it helped where it can be tried; that may take as long as a load."""
        answer = await self.call("POST", "/api/fixes/apply", fix.model_dump(), timeout=None)
        return FixResult.model_validate_json(answer)

    async def applied_fixes(self) -> list[AppliedFix]:
        """The changes that were made, newest first."""
        return _APPLIED.validate_json(await self.call("GET", "/api/fixes"))

    async def undo_fix(self, undo_id: str) -> FixResult:
        """Take a change back."""
        answer = await self.call("POST", f"/api/fixes/{part(undo_id)}/undo", timeout=None)
        return FixResult.model_validate_json(answer)

    async def known_issues(self, query: str = "") -> list[KnownIssue]:
        """The known issues in which all words of `query` occur."""
        return _KNOWN.validate_json(await self.call("GET", f"/api/known-issues?q={part(query)}"))

    async def import_known_issues(self, page: str) -> ImportedIssues:
        """Add the entries of a page in Markdown to one's own."""
        answer = await self.call("POST", "/api/known-issues/import", text=page)
        return ImportedIssues.model_validate_json(answer)

    async def export_known_issues(self, *, own: bool = True) -> str:
        """One's own entries, or all of them, as a page in Markdown."""
        return (await self.call("GET", f"/api/known-issues/export?own={str(own).lower()}")).decode()

    async def remove_known_issue(self, id: str) -> None:
        """Forget an entry of one's own."""
        await self.call("DELETE", f"/api/known-issues/{part(id)}")

    async def doctor(self, request: DoctorRequest) -> AsyncIterator[DoctorStep | DoctorReport]:
        """Examine a connection: each step as it ends, and the report after the steps of each target."""
        async with self.stream("/api/doctor", request.model_dump(exclude_none=True)) as lines:
            async for line in lines:
                yield DoctorReport.model_validate(line) if "steps" in line else DoctorStep.model_validate(line)

    async def drift(self) -> DriftReport:
        """Declared against running."""
        return DriftReport.model_validate_json(await self.call("GET", "/api/drift", timeout=None))

    async def report(self) -> StatusReport:
        """The status report, also as a page in Markdown."""
        return StatusReport.model_validate_json(await self.call("GET", "/api/report", timeout=None))

    async def run_checklist(self) -> list[CheckItem]:
        """Go through the checklist now."""
        return _CHECKS.validate_json(await self.call("POST", "/api/report/checklist", timeout=None))

    async def diagnostics(self) -> bytes:
        """A zip file with what is needed to understand a problem elsewhere; secrets are taken out."""
        return await self.call("GET", "/api/diagnostics", timeout=None)
