"""Results that the database refuses are kept, told, and written later."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from fake_backend import Act
from scheduler_bench import Bench

from quarterdeck.errors import AppError
from quarterdeck.schemas.events import Topic
from quarterdeck.schemas.models import Outcome, Phase, Status

DISK_FULL = AppError("disk_full", "There is no space left.", "Free some space.", status=507)
WRITES = ("succeed", "fail", "cancel", "crashed_after_load")


class FullDisk:
    """Makes the journal refuse how attempts end, until `free`."""

    def __init__(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = False
        self.refusals = 0
        for name in WRITES:
            monkeypatch.setattr(bench.journal, name, self._guard(getattr(bench.journal, name)))

    def _guard(self, write: Callable[..., Any]) -> Callable[..., Any]:
        async def guarded(*arguments: Any, **named: Any) -> Any:
            if self.full:
                self.refusals += 1
                raise DISK_FULL
            return await write(*arguments, **named)

        return guarded


@pytest.fixture
def disk(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> FullDisk:
    return FullDisk(bench, monkeypatch)


def issues(bench: Bench) -> list[str]:
    return [event.type for event in bench.heard if event.topic is Topic.ISSUE]


async def test_a_success_that_cannot_be_saved_is_saved_later(bench: Bench, disk: FullDisk) -> None:
    disk.full = True
    await bench.scheduler.load("alpha")
    assert bench.get("alpha").loaded
    [issue] = bench.issues.all()
    assert (issue.code, issue.severity) == ("result_not_saved", "error")
    assert "“alpha”" in issue.sentence
    assert "no space left" in issue.sentence
    await bench.until(lambda: disk.refusals > 2)
    disk.full = False
    await bench.until(lambda: bench.get("alpha").status is Status.COMPATIBLE)
    await bench.until(lambda: issues(bench) == ["raised", "cleared"])
    assert bench.issues.all() == []
    [attempt] = await bench.attempts("alpha")
    assert attempt.outcome is Outcome.LOADED


async def test_a_failure_that_cannot_be_saved_is_still_told(bench: Bench, disk: FullDisk) -> None:
    disk.full = True
    bench.backend.plan["alpha"] = Act.CRASH
    with pytest.raises(AppError) as caught:
        await bench.scheduler.load("alpha")
    assert caught.value.status == 424
    assert bench.get("alpha").phase is Phase.UNLOADED
    disk.full = False
    await bench.until(lambda: bench.get("alpha").status is Status.INCOMPATIBLE)
    await bench.until(lambda: not bench.issues.all())


async def test_results_are_written_in_the_order_they_came(bench: Bench, disk: FullDisk) -> None:
    await bench.scheduler.load("alpha")
    disk.full = True
    bench.backend.die("alpha")
    await bench.until(lambda: disk.refusals)
    bench.backend.plan["beta"] = Act.CRASH
    with pytest.raises(AppError):
        await bench.scheduler.load("beta")
    disk.full = False
    await bench.until(lambda: bench.get("beta").status is Status.INCOMPATIBLE)
    finished = [event.data["model_name"] for event in bench.heard if event.topic is Topic.ATTEMPT]
    assert finished[-2:] == ["alpha", "beta"]
    assert bench.get("alpha").status is Status.INCOMPATIBLE
    await bench.until(lambda: not bench.issues.all())


async def test_each_load_gets_its_own_result(bench: Bench, disk: FullDisk) -> None:
    disk.full = True
    await bench.scheduler.load("alpha")
    disk.full = False
    bench.backend.plan["beta"] = Act.CRASH
    with pytest.raises(AppError) as caught:
        await bench.scheduler.load("beta")
    assert caught.value.details["attempt_id"] == (await bench.attempts("beta"))[0].id
    assert bench.get("alpha").status is Status.COMPATIBLE


async def test_the_result_of_a_removed_model_is_dropped(bench: Bench, disk: FullDisk) -> None:
    await bench.scheduler.load("alpha")
    disk.full = True
    bench.backend.die("alpha")
    await bench.until(lambda: disk.refusals)
    await bench.catalog.remove("alpha")
    disk.full = False
    await bench.until(lambda: not bench.issues.all())
    await bench.scheduler.load("beta")
    assert bench.get("beta").status is Status.COMPATIBLE


async def test_what_is_unsaved_at_the_end_gets_a_last_try(bench: Bench, disk: FullDisk) -> None:
    disk.full = True
    await bench.scheduler.load("alpha")
    disk.full = False
    await bench.settling.close()
    [attempt] = await bench.attempts("alpha")
    assert attempt.outcome is Outcome.LOADED


async def test_a_load_that_cannot_be_written_ahead_is_not_begun(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_arguments: Any, **_named: Any) -> None:
        raise DISK_FULL

    monkeypatch.setattr(bench.journal, "begin", refuse)
    with pytest.raises(AppError) as caught:
        await bench.scheduler.load("alpha")
    assert caught.value.code == "disk_full"
    assert bench.backend.loads == []
    assert (bench.get("alpha").phase, bench.get("alpha").status) == (Phase.UNLOADED, Status.UNKNOWN)


async def test_a_load_whose_engine_cannot_be_noted_is_ended(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_arguments: Any, **_named: Any) -> None:
        raise DISK_FULL

    monkeypatch.setattr(bench.journal, "set_engine", refuse)
    with pytest.raises(AppError):
        await asyncio.wait_for(bench.scheduler.load("alpha"), 20)
    assert (bench.get("alpha").phase, bench.get("alpha").status) == (Phase.UNLOADED, Status.UNKNOWN)
