"""What loaded engines lack is asked once for each load, told, and forgotten when the load ends."""

from __future__ import annotations

import asyncio

import pytest
from scheduler_bench import Bench

from quarterdeck.backends.base import Backend, Instance
from quarterdeck.errors import AppError
from quarterdeck.scheduling.defects import Defects


class Told:
    """A book of defects over a bench, and the backends it spoke of."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.heard: list[str] = []
        self.defects = Defects(bench.scheduler.loaded, tell=self._hear)

    def _hear(self, backend: Backend) -> None:
        self.heard.append(backend.name)


@pytest.fixture
def told(bench: Bench) -> Told:
    return Told(bench)


async def test_a_defect_is_told_until_the_model_is_unloaded(
    bench: Bench, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    async def lacks(instance: Instance) -> str | None:
        asked.append(instance.model)
        return "It runs without tool calling."

    monkeypatch.setattr(bench.backend, "defect", lacks)
    await bench.scheduler.load("alpha")
    told.defects.changed()
    await bench.until(lambda: told.heard)
    told.defects.changed()
    assert told.defects.of("embedded") == {"alpha": "It runs without tool calling."}
    assert (told.heard, asked) == (["embedded"], ["alpha"])
    await bench.scheduler.unload("alpha")
    told.defects.changed()
    assert told.defects.of("embedded") == {}


async def test_an_engine_that_cannot_be_asked_is_left_alone(
    bench: Bench, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asyncio.Event()

    async def refuses(_instance: Instance) -> str | None:
        asked.set()
        raise AppError("server_unreachable", "It does not answer.")

    monkeypatch.setattr(bench.backend, "defect", refuses)
    await bench.scheduler.load("alpha")
    told.defects.changed()
    await asyncio.wait_for(asked.wait(), 20)
    await told.defects.close()
    assert told.defects.of("embedded") == {}
    assert told.heard == []
