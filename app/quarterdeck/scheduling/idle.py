"""Unloading what nobody has used for a while: one timer for the model that is due next."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from quarterdeck.scheduling.state import Loaded, now


def idle_limit(pinned: bool, own: float | None, general: float) -> float | None:
    """Seconds without a request after which a model goes; None means never. Only its own limit ends a pinned one."""
    limit = own if own is not None else (0.0 if pinned else general)
    return limit if limit > 0 else None


class IdleTimer:
    """Calls `unload` for each model that was idle for its limit. Core loop only."""

    def __init__(
        self,
        loaded: Callable[[], Iterable[Loaded]],
        limit: Callable[[Loaded], float | None],
        unload: Callable[[Loaded], None],
    ) -> None:
        self._loaded = loaded
        self._limit = limit
        self._unload = unload
        self._timer: asyncio.TimerHandle | None = None

    def update(self) -> None:
        """To be called when a model became idle, or when limits have changed."""
        due = min((at for _, at in self._due()), default=None)
        if self._timer is not None:
            if due is not None and self._timer.when() <= due:
                return  # it rings early and looks again; so nothing is done per request
            self._timer.cancel()
        self._timer = None if due is None else asyncio.get_running_loop().call_at(due, self._ring)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _ring(self) -> None:
        self._timer = None
        for loaded, at in list(self._due()):
            if at <= now():
                self._unload(loaded)
        self.update()

    def _due(self) -> Iterable[tuple[Loaded, float]]:
        for loaded in self._loaded():
            limit = self._limit(loaded)
            if limit is not None and loaded.usable and not loaded.instance.active_requests:
                yield loaded, loaded.idle_since + limit
