"""Stopping a program that holds GPU memory: ask, send, say how it went."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from PySide6.QtWidgets import QWidget

from quarterdeck.errors import AppError
from quarterdeck.gui.dialogs.ask import confirm
from quarterdeck.gui.presenters import gpu_memory as words
from quarterdeck.schemas.hardware import GpuProcess
from quarterdeck.tasks import spawn

if TYPE_CHECKING:
    from quarterdeck.gui.store import Store


class GpuCommands:
    """Belongs to the thread of the window; results are told by toasts."""

    def __init__(self, store: Store, parent: QWidget) -> None:
        self._store = store
        self._parent = parent
        self._asking: set[int] = set()

    def stop(self, process: GpuProcess) -> asyncio.Task[bool]:
        """Stop a program after asking; True when it has ended."""
        return spawn(self._stop(process), name=f"stop process {process.pid}")

    async def _stop(self, process: GpuProcess) -> bool:
        if process.create_time is None or process.pid in self._asking:
            return False
        self._asking.add(process.pid)
        try:
            return await self._asked_and_stopped(process, process.create_time)
        finally:
            self._asking.discard(process.pid)

    async def _asked_and_stopped(self, process: GpuProcess, create_time: float) -> bool:
        name = process.name or words.NAMELESS
        sure = await confirm(
            self._parent.window(),
            title=words.stop_title(process),
            text=words.stop_text(process),
            detail=process.command or "",
            verb="Stop",
            danger=True,
        )
        if not sure:
            return False
        try:
            await self._store.api().stop_gpu_process(process.pid, create_time)
        except AppError as error:
            self._store.toast.emit(f"{name} could not be stopped. {error.sentence} {error.hint}".strip(), "error")
            return False
        self._store.toast.emit(f"Stopped {name} (PID {process.pid})", "ok")
        return True
