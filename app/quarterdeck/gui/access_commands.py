"""Making and revoking API keys: ask, send, say how it went."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QWidget

from quarterdeck.errors import AppError
from quarterdeck.gui.dialogs.ask import confirm
from quarterdeck.schemas.access import KeyCreate, KeyView, NewKey
from quarterdeck.tasks import spawn

if TYPE_CHECKING:
    from quarterdeck.gui.store import Store


class AccessCommands(QObject):
    """Belongs to the thread of the window. `keys_changed` follows every key that was made or revoked."""

    keys_changed = Signal()

    def __init__(self, store: Store, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._store = store
        self._asking: set[str] = set()

    async def keys(self) -> list[KeyView]:
        """All keys. Raises AppError, for the dialog to show in its place."""
        return await self._store.api().keys()

    async def add(self, new: KeyCreate) -> NewKey:
        """Make a key. Raises AppError, for the dialog to show in its place."""
        made = await self._store.api().add_key(new)
        self.keys_changed.emit()
        return made

    def revoke(self, view: KeyView, parent: QWidget) -> asyncio.Task[bool]:
        """Revoke a key after asking; True when it is revoked."""
        return spawn(self._revoke(view, parent), name=f"revoke the key {view.name}")

    async def _revoke(self, view: KeyView, parent: QWidget) -> bool:
        if view.name in self._asking:
            return False
        self._asking.add(view.name)
        try:
            sure = await confirm(
                parent,
                title=f"Revoke the key “{view.name}”?",
                text="Programs that use it are refused from now on. It cannot be made valid again.",
                verb="Revoke",
                danger=True,
            )
        finally:
            self._asking.discard(view.name)
        if not sure:
            return False
        try:
            await self._store.api().revoke_key(view.name)
        except AppError as error:
            self._store.toast.emit(f"“{view.name}” was not revoked. {error.sentence} {error.hint}".strip(), "error")
            return False
        self._store.toast.emit(f"Revoked the key “{view.name}”", "ok")
        self.keys_changed.emit()
        return True
