"""What a person can ask of backends and servers, once for the page, the tray and menus: ask, send, say how it went."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal, Slot
from PySide6.QtWidgets import QWidget

from quarterdeck.client.api import ApiClient
from quarterdeck.errors import AppError
from quarterdeck.gui.dialogs.ask import answer, confirm
from quarterdeck.gui.dialogs.report import Report
from quarterdeck.gui.presenters.backends import ACTIONS, caution
from quarterdeck.gui.presenters.scan import scan_sections, scan_summary
from quarterdeck.schemas.backends import BackendState, BackendView, ServerCreate, ServerPreset
from quarterdeck.schemas.discovery import ScanResult
from quarterdeck.tasks import spawn

if TYPE_CHECKING:
    from quarterdeck.gui.store import Store


class BackendCommands(QObject):
    """Sends commands and tells their results. `changed(name)` says that one was sent or ended for that backend,
    `scanning_changed(bool)` that a look around began or ended. All methods belong to the thread of the window.
    """

    changed = Signal(str)
    scanning_changed = Signal(bool)

    def __init__(self, store: Store, window: QWidget | None = None) -> None:
        super().__init__(window)
        self._store = store
        self._window = window
        self._busy: dict[str, str] = {}
        self._failures: dict[str, tuple[str, BackendState | None]] = {}
        self._asking: set[str] = set()
        self.scanning = False
        store.backends_changed.connect(self._forget_failures)

    def busy(self, name: str) -> str:
        """The action for this backend that the core has not answered yet; empty when there is none."""
        return self._busy.get(name, "")

    def failure(self, name: str) -> str:
        """Why the last action for this backend did not work; empty after one that did, and when its state changed."""
        return self._failures.get(name, ("", None))[0]

    def act(self, name: str, action: str) -> asyncio.Task[bool]:
        """Start, stop, restart or remove a backend, after asking where something is lost by it."""
        return spawn(self._act(name, action), name=f"{action} backend {name}")

    def restart(self, name: str) -> asyncio.Task[bool]:
        return self.act(name, "restart")

    def scan(self) -> asyncio.Task[None]:
        """Look for models and running servers; nothing is loaded."""
        return spawn(self._scan(), name="scan")

    async def add(self, new: ServerCreate) -> BackendView:
        """Make a server known. Raises AppError, for the dialog to show in its place."""
        view = await self._client().add_server(new)
        await self._store.fetch_backends()
        self._store.toast.emit(f"Added {view.title}", "ok")
        return view

    async def presets(self) -> list[ServerPreset]:
        return await self._client().presets()

    async def _act(self, name: str, action: str) -> bool:
        view = self._store.backends.get(name)
        if view is None or name in self._busy or name in self._asking or not await self._allowed(view, action):
            return False
        self._busy[name] = action
        self._failures.pop(name, None)
        self.changed.emit(name)
        try:
            if action == "remove":
                await self._client().remove_server(name)
                self._store.forget_backend(name)
            else:
                # What came of it arrives by event, in the order in which it happened.
                await self._client().backend_action(name, action)
        except AppError as error:
            why = f"{error.sentence} {error.hint}".strip()
            self._failures[name] = (why, self._state(name))
            self._store.toast.emit(f"{view.title} could not be {ACTIONS[action].failed}. {why}", "error")
            return False
        finally:
            self._busy.pop(name, None)
            self.changed.emit(name)
        self._store.toast.emit(f"{ACTIONS[action].failed.capitalize()} {view.title}", "ok")
        return True

    async def _allowed(self, view: BackendView, action: str) -> bool:
        question = caution(view, action)
        if question is None:
            return True
        self._asking.add(view.name)
        try:
            return await confirm(
                self._window, title=question.title, text=question.text, verb=question.verb, danger=True
            )
        finally:
            self._asking.discard(view.name)

    def _state(self, name: str) -> BackendState | None:
        view = self._store.backends.get(name)
        return view.state if view is not None else None

    @Slot()
    def _forget_failures(self) -> None:
        """What failed in another state says nothing about this one."""
        kept = {name: failure for name, failure in self._failures.items() if failure[1] is self._state(name)}
        self._failures = kept

    async def _scan(self) -> None:
        if self.scanning:
            return
        self._set_scanning(True)
        try:
            found = await self._client().scan()
            await self._store.fetch_backends()
        except AppError as error:
            self._store.toast.emit(f"{error.sentence} {error.hint}".strip(), "error")
        else:
            self._tell(found)
        finally:
            self._set_scanning(False)

    def _tell(self, found: ScanResult) -> None:
        words = scan_summary(found)
        sections = scan_sections(found)
        if not sections:
            self._store.toast.emit(words, "info")
            return
        self._store.offer.emit(
            words, "Details", lambda: spawn(self._show(words, sections), name="show what the scan found"), "ok"
        )

    async def _show(self, words: str, sections: list[tuple[str, list[str]]]) -> None:
        await answer(Report(self._window, title="What the scan found", text=words, sections=sections))

    def _set_scanning(self, scanning: bool) -> None:
        self.scanning = scanning
        self.scanning_changed.emit(scanning)

    def _client(self) -> ApiClient:
        return self._store.api()
