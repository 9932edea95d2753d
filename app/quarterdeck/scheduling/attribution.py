"""Whose GPU memory it is: which engine works for which model, and whether a loaded model really is there."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from quarterdeck.backends.base import Backend
from quarterdeck.errors import AppError
from quarterdeck.hardware.processes import ProcessBook
from quarterdeck.scheduling.catalog import Catalog
from quarterdeck.scheduling.fitting import Memory
from quarterdeck.scheduling.issues import Issues
from quarterdeck.scheduling.state import Loaded, now
from quarterdeck.schemas.backends import BackendState
from quarterdeck.schemas.system import IssueView, QueueEntry
from quarterdeck.tasks import spawn

# A little after the moment from which the book speaks of a model that holds nothing.
CHECK_AFTER_SECONDS = 11.0
LOOK_AGAIN_SECONDS = 30.0

_HINT = (
    "Look into the log of its backend: usually the engine was built without support for this GPU, or finds no driver."
)


@dataclass(eq=False, slots=True)
class _Watch:
    loaded: Loaded
    task: asyncio.Task[None]


class Attribution:
    """Attributes GPU memory to models. Core loop only; `changed` is to be called whenever instances change.

    `loaded` are the loaded models by name, `queue` the loads under way; `tell` hears of backends whose figures changed.
    """

    def __init__(
        self,
        catalog: Catalog,
        loaded: Mapping[str, Loaded],
        *,
        queue: Callable[[], list[QueueEntry]],
        book: ProcessBook,
        memory: Memory,
        issues: Issues,
        tell: Callable[[Backend], None],
    ) -> None:
        self._catalog = catalog
        self._loaded = loaded
        self._queue = queue
        self._book = book
        self._memory = memory
        self._issues = issues
        self._tell = tell
        self._starting: dict[str, dict[int, tuple[str, str]]] = {}
        self._watches: dict[str, _Watch] = {}

    def changed(self, backend: Backend) -> None:
        """Something was started, loaded, put to sleep or ended on `backend`."""
        self._starting[backend.name] = self._being_started(backend)
        self._update_owners()
        for name, watch in list(self._watches.items()):
            if watch.loaded is not self._loaded.get(name) or not watch.loaded.awake:
                self._end(name, watch)
        for name, loaded in self._loaded.items():
            if loaded.awake and loaded.on_budget and name not in self._watches:
                self._watches[name] = _Watch(loaded, spawn(self._watch(loaded), name=f"look where {name} is"))

    async def close(self) -> None:
        tasks = [watch.task for watch in self._watches.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _being_started(self, backend: Backend) -> dict[int, tuple[str, str]]:
        """The engine that is being started, whose model is not loaded yet."""
        view = backend.view([])
        if view.state is not BackendState.STARTING or view.pid is None:
            return {}
        for entry in self._queue():
            with contextlib.suppress(AppError):
                if entry.position == 0 and self._catalog.get(entry.model).backend == backend.name:
                    return {view.pid: (entry.model, backend.name)}
        return {}

    def _update_owners(self) -> None:
        owners = {pid: owner for started in self._starting.values() for pid, owner in started.items()}
        for each in self._loaded.values():
            owners |= dict.fromkeys(each.instance.pids, (each.name, each.backend.name))
        # Replaced as a whole, because the sampler reads it on its own thread.
        self._book.owners = owners

    async def _watch(self, loaded: Loaded) -> None:
        """Look at once, when it must be there, and again for as long as it is not."""
        await self._look(loaded)
        delay, missing = CHECK_AFTER_SECONDS, True
        while missing:
            await asyncio.sleep(delay)
            delay, missing = LOOK_AGAIN_SECONDS, await self._look(loaded)

    async def _look(self, loaded: Loaded) -> bool:
        """Whether the model should use the GPU and does not."""
        # An engine may have started another process for the model since.
        self._update_owners()
        await self._memory.holders()
        vram = self._book.vram_of(loaded.name) if loaded.instance.pids else None
        wanted = _wants_gpu(loaded) and await loaded.backend.computes_on_gpu()
        alarm = self._book.alarm(loaded.name, now() - loaded.loaded_at) if wanted else None
        self._show(loaded, vram, alarm)
        return alarm is not None

    def _end(self, name: str, watch: _Watch) -> None:
        watch.task.cancel()
        del self._watches[name]
        self._show(watch.loaded, None, None)

    def _show(self, loaded: Loaded, vram: int | None, alarm: str | None) -> None:
        code = f"not_on_gpu:{loaded.name}"
        if alarm is None:
            self._issues.clear(code)
        elif not self._issues.is_open(code):
            self._issues.raise_issue(IssueView(code=code, sentence=alarm, hint=_HINT))
        if self._catalog.set_memory(loaded.name, vram, alarm):
            self._tell(loaded.backend)


def _wants_gpu(loaded: Loaded) -> bool:
    """Whether its settings leave it to the engine to use the GPU."""
    config = loaded.backend.check_config(loaded.config)
    layers = config.get("n_gpu_layers", config.get("num_gpu"))
    return layers != 0 and config.get("device") not in ("none", "cpu")
