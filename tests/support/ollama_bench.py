"""An Ollama backend under test, and what is needed to load a model with it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

from quarterdeck.backends.base import EngineRecord, Instance, Target
from quarterdeck.backends.logs import LogBook
from quarterdeck.backends.ollama import OllamaBackend
from quarterdeck.settings import Settings


class OllamaBench:
    """`settings` may be replaced at any time; `remembered` is what a later run would be given."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        self.settings = Settings(**{"release_timeout": 2.0, "stop_timeout": 2.0, **settings})
        self.remembered: list[dict[str, Any] | None] = []
        self.stages: list[str] = []
        self.log = LogBook("ollama")
        self.backend = self.another()

    def another(self) -> OllamaBackend:
        """A backend as the next run would make it."""
        return OllamaBackend(
            self.log, settings=lambda: self.settings, output=self.folder / "ollama.out", remember=self._remember
        )

    async def load(
        self,
        served_id: str = "smollm2",
        config: Mapping[str, Any] | None = None,
        *,
        timeout: float = 60,
        url: str | None = None,
        free_bytes: int | None = None,
    ) -> Instance:
        checked = self.backend.check_config(config or {})
        target = Target("tiny", None, None, checked, served_id=served_id, url=url, free_bytes=free_bytes)
        return await self.backend.load(target, timeout=timeout, progress=self._progress, started=_started)

    def log_text(self) -> str:
        return "\n".join(line.text for line in self.log.tail(5000))

    async def _remember(self, trace: dict[str, Any] | None) -> None:
        self.remembered.append(trace)

    def _progress(self, stage: str, fraction: float | None) -> None:
        assert fraction is None or 0 <= fraction <= 1
        if self.stages[-1:] != [stage]:
            self.stages.append(stage)


@contextlib.asynccontextmanager
async def ollama_bench(folder: Path, **settings: Any) -> AsyncIterator[OllamaBench]:
    bench = OllamaBench(folder, **settings)
    try:
        yield bench
    finally:
        await bench.backend.close()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)


async def _started(_record: EngineRecord) -> None:
    """Ollama's server is not the process of one model."""
