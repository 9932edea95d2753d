"""What is wrong now, as the core tells it: for the badge of the sidebar, the cards, and the Diagnosis page."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, QTimer, Signal, Slot

from quarterdeck.errors import AppError
from quarterdeck.tasks import spawn

if TYPE_CHECKING:
    from quarterdeck.gui.store import Store
    from quarterdeck.schemas.problems import ProblemView

# Several things change together when something breaks; the core is asked once for all of them.
SETTLE_MS = 800
PRESSING = ("critical", "high")
FAILED = 400

_log = logging.getLogger(__name__)


class ProblemWatch(QObject):
    """Asks for the problems when something happened that may have made or ended one, while anybody can see them.

    `read` says whether they were told at least once, `error` why they could not be told the last time. `titles` has the
    titles of the known issues that a problem names.
    """

    changed = Signal()

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.views: list[ProblemView] = []
        self._by_subject: dict[str, list[ProblemView]] = {}
        self.titles: dict[str, str] = {}
        self.read = False
        self.error: AppError | None = None
        self._store = store
        self._visible = True
        self._stale = True
        self._asking: asyncio.Task[None] | None = None
        self._settle = QTimer(self, interval=SETTLE_MS, singleShot=True)
        self._settle.timeout.connect(self.refresh)
        for signal in (store.models_reset, store.attempt_finished, store.backends_changed, store.issues_changed,
                       store.settings_changed, store.model_removed):  # fmt: skip
            signal.connect(self.soon)
        store.request_finished.connect(self._on_request)

    def about(self, subject: str) -> list[ProblemView]:
        """The problems of `model:NAME`, `server:NAME` and so on, the worst first."""
        return self._by_subject.get(subject, [])

    @property
    def pressing(self) -> int:
        """How many are of severity high and above."""
        return sum(view.severity.value in PRESSING for view in self.views)

    def set_visible(self, visible: bool) -> None:
        """A hidden window asks for nothing; what it missed is asked for when it is shown."""
        self._visible = visible
        if visible and self._stale:
            self.soon()

    @Slot()
    def soon(self) -> None:
        """Something happened: ask when it has settled."""
        self._stale = True
        if self._visible and not self._settle.isActive():
            self._settle.start()

    @Slot()
    def refresh(self) -> None:
        """Ask now."""
        self._settle.stop()
        self._stale = True
        if self._store.connected and (self._asking is None or self._asking.done()):
            self._asking = spawn(self._ask(), name="read problems")

    def stop(self) -> None:
        """Ask no more until something happens again."""
        self._settle.stop()
        if self._asking is not None:
            self._asking.cancel()

    @Slot(object)
    def _on_request(self, data: dict[str, Any]) -> None:
        if int(data.get("status") or 0) >= FAILED:
            self.soon()

    async def _ask(self) -> None:
        while self._stale:
            self._stale = False
            try:
                views = await self._store.api().problems()
                await self._learn_titles(views)
            except AppError as error:
                _log.info("no problems were told: %s", error.sentence)
                self.error = error
                self.changed.emit()
                return
            before, self.views, self.error = self.views, views, None
            if views != before or not self.read:
                self.read = True
                self._by_subject = {}
                for view in views:
                    self._by_subject.setdefault(view.subject, []).append(view)
                self.changed.emit()

    async def _learn_titles(self, views: list[ProblemView]) -> None:
        named = {view.known_issue for view in views if view.known_issue is not None}
        if named - self.titles.keys():
            known = await self._store.api().known_issues()
            # An entry that is gone by now is shown by its id, and not asked for again and again.
            self.titles = {id: id for id in named} | {issue.id: issue.title for issue in known}
