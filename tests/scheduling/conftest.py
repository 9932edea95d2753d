"""The bench of the scheduler tests; what it heard is checked after every test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from scheduler_bench import Bench

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
