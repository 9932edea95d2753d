"""Changes against problems: shown first, made when a person says so, told with a way back."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QWidget

from quarterdeck.errors import AppError
from quarterdeck.gui.dialogs.ask import answer
from quarterdeck.gui.dialogs.fix_preview import FixPreviewDialog
from quarterdeck.gui.presenters.problems import result_words
from quarterdeck.schemas.problems import AppliedFix, Fix, FixRequest, FixResult
from quarterdeck.tasks import spawn

if TYPE_CHECKING:
    from quarterdeck.gui.store import Store


class Doing(NamedTuple):
    """A change under way; `model` is the one that is tried afterwards, empty where there is no trial."""

    words: str
    model: str


class FixCommands(QObject):
    """`changed` says that a change began or ended; `applied` are the changes that were made, newest first.

    `undoing` has the ids of those that are being taken back.
    """

    changed = Signal()

    def __init__(self, store: Store, parent: QWidget) -> None:
        super().__init__(parent)
        self._store = store
        self._window = parent
        self._doing: dict[str, Doing] = {}
        self.applied: list[AppliedFix] = []
        self.undoing: set[str] = set()

    def doing(self, problem_id: str) -> Doing | None:
        """What is being done about a problem just now."""
        return self._doing.get(problem_id)

    def apply(self, problem_id: str, fix: Fix) -> None:
        """Show what a change would do, and make it when that is wanted."""
        if problem_id not in self._doing:
            spawn(self._apply(problem_id, fix), name=f"fix {problem_id}")

    def cancel(self, problem_id: str) -> None:
        """Stop the trial after a change; the change itself stays and can be taken back."""
        doing = self._doing.get(problem_id)
        if doing is not None and doing.model:
            self._store.run(self._store.api().cancel(doing.model), name=f"cancel the trial of {doing.model}")

    def undo(self, undo_id: str) -> None:
        """Take a change back, unless that is under way."""
        if undo_id not in self.undoing:
            self.undoing.add(undo_id)
            self.changed.emit()
            spawn(self._undo(undo_id), name=f"undo {undo_id}")

    async def fetch_applied(self) -> None:
        """Read the changes that were made. Raises AppError."""
        applied = await self._store.api().applied_fixes()
        if applied != self.applied:
            self.applied = applied
            self.changed.emit()

    async def _apply(self, problem_id: str, fix: Fix) -> None:
        wanted = FixRequest(problem_id=problem_id, fix_id=fix.id)
        self._set(problem_id, Doing(f"Looking at what “{fix.title}” changes", ""))
        try:
            preview = await self._store.api().preview_fix(wanted)
            self._set(problem_id, None)
            if not await answer(FixPreviewDialog(self._window.window(), fix, preview)):
                return
            self._set(problem_id, Doing(fix.title, fix.target if fix.retries else ""))
            self._tell(await self._store.api().apply_fix(wanted))
        except AppError as error:
            self._fail(error)
        finally:
            self._set(problem_id, None)
        await self._look_again()

    async def _undo(self, undo_id: str) -> None:
        try:
            self._tell(await self._store.api().undo_fix(undo_id))
        except AppError as error:
            self._fail(error)
        finally:
            self.undoing.discard(undo_id)
            self.changed.emit()
        await self._look_again()

    async def _look_again(self) -> None:
        self._store.problems.refresh()
        try:
            await self.fetch_applied()
        except AppError as error:
            self._fail(error)

    def _tell(self, result: FixResult) -> None:
        words, kind = result_words(result)
        if result.undo_id is None:
            self._store.toast.emit(words, kind)
        else:
            undo_id = result.undo_id
            self._store.offer.emit(words, "Undo", lambda: self.undo(undo_id), kind)

    def _fail(self, error: AppError) -> None:
        self._store.toast.emit(f"{error.sentence} {error.hint}".strip(), "error")

    def _set(self, problem_id: str, doing: Doing | None) -> None:
        if doing is None:
            self._doing.pop(problem_id, None)
        else:
            self._doing[problem_id] = doing
        self.changed.emit()
