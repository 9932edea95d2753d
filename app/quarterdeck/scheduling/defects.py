"""What loaded engines lack, such as tool calling: asked once for each load, kept until it ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from quarterdeck.backends.base import Backend, Instance
from quarterdeck.errors import AppError
from quarterdeck.scheduling.state import Loaded
from quarterdeck.tasks import spawn

_log = logging.getLogger(__name__)


class Defects:
    """Core loop only; `changed` is to be called whenever instances change.

    `loaded` are the loaded models by name; `tell` hears of backends whose defects became known.
    """

    def __init__(self, loaded: Mapping[str, Loaded], tell: Callable[[Backend], None]) -> None:
        self._loaded = loaded
        self._tell = tell
        self._asked: dict[Instance, asyncio.Task[None]] = {}
        self._found: dict[Instance, str] = {}

    def of(self, backend: str) -> dict[str, str]:
        """A sentence for each model on the backend that lacks something, by its name."""
        held = [each for each in self._loaded.values() if each.backend.name == backend]
        return {each.name: self._found[each.instance] for each in held if each.instance in self._found}

    def changed(self) -> None:
        held = {each.instance: each for each in self._loaded.values() if each.awake}
        for instance in self._asked.keys() - held.keys():
            self._asked.pop(instance).cancel()
            self._found.pop(instance, None)
        for instance, loaded in held.items():
            if instance not in self._asked:
                self._asked[instance] = spawn(self._ask(loaded), name=f"look what {loaded.name} lacks")

    async def close(self) -> None:
        asking = list(self._asked.values())
        for task in asking:
            task.cancel()
        if asking:
            await asyncio.wait(asking)

    async def _ask(self, loaded: Loaded) -> None:
        try:
            defect = await loaded.backend.defect(loaded.instance)
        except AppError as error:
            _log.info("what %s lacks cannot be told: %s", loaded.name, error.sentence)
            return
        if defect is not None:
            self._found[loaded.instance] = defect
            _log.warning("%s runs with a defect: %s", loaded.name, defect)
            self._tell(loaded.backend)
