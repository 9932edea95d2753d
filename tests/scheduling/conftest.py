"""The bench of the scheduler tests; what it heard is checked after every test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from scheduler_bench import Bench
from scheduler_world import World

from quarterdeck.scheduling import settling


@pytest.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    monkeypatch.setattr(settling, "RETRY_SECONDS", 0.01)
    made = Bench(tmp_path)
    listening = asyncio.ensure_future(made.listen())
    await asyncio.sleep(0)
    await made.add("alpha")
    await made.add("beta")
    yield made
    await made.scheduler.close()
    await made.settling.close()
    await made.events.flush()
    made.events.close()
    await listening
    made.database.close()
    assert made.illegal_steps() == []
    assert made.backend.running == []


@pytest.fixture
def world() -> Iterator[Callable[..., World]]:
    """Makes worlds with a clock of their own; what must never happen is checked after the test."""
    made: list[World] = []

    def make(*models: Any, **options: Any) -> World:
        made.append(World(models, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()
        assert each.wrong == []
        assert each.memory == set()
