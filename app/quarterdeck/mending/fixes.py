"""Carries out the fixes that problems offer: preview, change, trial, and the way back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from quarterdeck.errors import AppError
from quarterdeck.mending.ledger import Ledger, new_id
from quarterdeck.mending.makers import Maker
from quarterdeck.mending.problems import Problems
from quarterdeck.schemas.problems import AppliedFix, Fix, FixKind, FixPreview, FixRequest, FixResult, ProblemView


class Fixer:
    """One fix at a time is enough for a person; each finds its problem again first, since it may be over."""

    def __init__(self, problems: Problems, makers: Mapping[FixKind, Maker], ledger: Ledger) -> None:
        self._problems = problems
        self._makers = makers
        self._ledger = ledger

    async def preview(self, request: FixRequest) -> FixPreview:
        """What a fix would change. Raises AppError `problem_over` (404), or what stands in the way of the fix."""
        _, fix = await self._find(request)
        return await self._makers[fix.kind].preview(fix)

    async def apply(self, request: FixRequest) -> FixResult:
        """Make the change and try it. Raises AppError as `preview` does."""
        problem, fix = await self._find(request)
        made = await self._makers[fix.kind].make(fix)
        shown = AppliedFix(
            undo_id=new_id(),
            title=fix.title,
            subject=problem.subject,
            changes=made.changes,
            applied_at=datetime.now(UTC),
            worked=made.worked,
        )
        await self._ledger.add(fix.kind, shown, made.back)
        return FixResult(
            sentence=made.sentence, worked=made.worked, undo_id=shown.undo_id if made.back is not None else None
        )

    async def applied(self) -> list[AppliedFix]:
        """The changes that were made, newest first."""
        return [entry.shown for entry in await self._ledger.all()]

    async def undo(self, undo_id: str) -> FixResult:
        """Take a change back. Raises AppError `unknown_fix` (404), `undone_already` or `cannot_undo` (409)."""
        entry = await self._ledger.get(undo_id)
        if entry.shown.undone_at is not None:
            raise AppError("undone_already", "This change was taken back already.", status=409)
        if entry.back is None or entry.kind not in self._makers:
            raise AppError("cannot_undo", "This change cannot be taken back.", status=409)
        sentence = await self._makers[entry.kind].undo(entry.back)
        await self._ledger.undone(undo_id)
        return FixResult(sentence=sentence)

    async def _find(self, request: FixRequest) -> tuple[ProblemView, Fix]:
        problem = await self._problems.get(request.problem_id)
        fix = next((each for each in problem.fixes if each.id == request.fix_id), None)
        if fix is None:
            raise AppError(
                "unknown_fix", "This problem has no such fix any more.", "Look at the problem again.", status=404
            )
        return problem, fix
