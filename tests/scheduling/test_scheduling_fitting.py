"""The estimate before a load, and what is learned from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from scheduler_world import World, model

from quarterdeck.backends.base import EngineFailed, ExitReport, Resident
from quarterdeck.errors import AppError
from quarterdeck.schemas.estimate import Estimate, Verdict
from quarterdeck.schemas.hardware import GpuProcess
from quarterdeck.schemas.models import ModelView, Phase

Worlds = Callable[..., World]
GIB = 1024**3
A, B = model("a"), model("b")


class Estimator:
    """Says what tests tell it to."""

    def __init__(self, verdict: Verdict = Verdict.FITS, card: int | None = None) -> None:
        self.verdict = verdict
        self.card = card
        self.applied: dict[str, int | float] = {}
        self.error: AppError | None = None
        self.freed: list[int] = []
        self.learned: list[tuple[str, list[str], int | None]] = []

    async def estimate(self, view: ModelView, load_config: Mapping[str, Any], *, freed_bytes: int = 0) -> Estimate:
        self.freed.append(freed_bytes)
        if self.error is not None:
            raise self.error
        return Estimate(
            model=view.name, backend=view.backend, weights_bytes=GIB, kv_cache_bytes=0, compute_bytes=0,
            total_bytes=GIB, card_bytes=self.card, verdict=self.verdict,
            sentence="It needs 1 GiB more.", hint="Take a shorter context.", applied=self.applied,
        )  # fmt: skip

    async def learn(
        self, view: ModelView, load_config: Mapping[str, Any], log_lines: Sequence[str], vram_bytes: int | None
    ) -> None:
        self.learned.append((view.name, list(log_lines), vram_bytes))
        if self.error is not None:
            raise self.error


class Memory:
    """A GPU on which every model holds 3 GiB."""

    def __init__(self) -> None:
        self.here: World | None = None

    async def free_bytes(self) -> int | None:
        return GIB

    async def holders(self) -> list[GpuProcess]:
        assert self.here is not None
        own = [GpuProcess(gpu=0, pid=each.pids[0], name="engine", memory_bytes=3 * GIB)
               for each in self.here.instances.values() if not each.exited.done()]  # fmt: skip
        return [*own, GpuProcess(gpu=0, pid=1, name="desktop", memory_bytes=GIB)]

    async def wait_released(self, pids: object, *, timeout: float) -> bool:
        return True


def test_what_is_too_big_is_refused_and_nothing_happens(world: Worlds) -> None:
    estimator = Estimator()
    here = world(A, B, hooks={"estimator": estimator}, cooldown=60)
    here.run(here.scheduler.load("a"))
    attempts = list(here.journal.ended)
    estimator.verdict = Verdict.TOO_BIG
    error = here.refused(here.use("b"))
    assert (error.code, error.status) == ("does_not_fit", 507)
    assert (error.sentence, error.hint) == ("It needs 1 GiB more.", "Take a shorter context.")
    assert error.details["estimate"]["verdict"] == "too_big"  # type: ignore[index]
    assert (here.said, here.journal.ended) == (["load a"], attempts)
    assert here.catalog.get("a").phase is Phase.LOADED
    assert here.catalog.get("b").cooldown_until is None
    here.run(here.scheduler.load("b", force=True))


def test_what_the_estimate_adds_to_the_start_reaches_the_engine(world: Worlds) -> None:
    estimator = Estimator()
    estimator.applied = {"gpu_memory_utilization": 0.5, "max_model_len": 1024}
    here = world(A, hooks={"estimator": estimator})
    here.run(here.scheduler.load("a"))
    assert dict(here.targets[-1].load_config) == estimator.applied
    assert here.scheduler.loaded["a"].config == {}


@pytest.mark.parametrize("verdict", [Verdict.TIGHT, Verdict.SPILLS, Verdict.UNKNOWN])
def test_all_else_is_tried(world: Worlds, verdict: Verdict) -> None:
    here = world(A, hooks={"estimator": Estimator(verdict)})
    here.run(here.scheduler.load("a"))


def test_what_cannot_be_estimated_is_tried(world: Worlds) -> None:
    estimator = Estimator()
    estimator.error = AppError("unknown_shape", "Nothing is known of this file.")
    here = world(A, hooks={"estimator": estimator})
    here.run(here.scheduler.load("a"))
    here.loop.advance(1)
    assert here.said == ["load a"]


def test_models_elsewhere_are_not_estimated(world: Worlds) -> None:
    estimator = Estimator(Verdict.TOO_BIG)
    here = world(model("far", "gateway"), hooks={"estimator": estimator})
    here.run(here.scheduler.load("far"))
    assert estimator.freed == []


def test_the_estimate_counts_what_making_room_gives_back(world: Worlds) -> None:
    estimator, memory = Estimator(), Memory()
    here = world(A, B, hooks={"estimator": estimator, "memory": memory}, desktop_reserve=0.5)
    memory.here = here
    here.run(here.scheduler.load("a"))
    here.loop.advance(1)
    assert here.scheduler.evictable_bytes("b") == 3 * GIB
    assert here.scheduler.evictable_bytes("a") == 3 * GIB
    here.backends["sleeper"].foreign.append(Resident("theirs", "http://127.0.0.1:9", vram_bytes=2 * GIB))
    here.run(here.scheduler.load("b"))
    assert estimator.freed == [0, 5 * GIB]
    assert here.targets[-1].free_bytes == GIB // 2


def test_a_good_load_teaches_its_own_log_and_its_measured_memory(world: Worlds) -> None:
    estimator, memory = Estimator(), Memory()
    here = world(A, B, hooks={"estimator": estimator, "memory": memory})
    memory.here = here
    here.backends["engine"].log.add(["a line of an earlier load"])
    for name in "ab":
        here.run(here.scheduler.load(name))
        here.loop.advance(1)
    assert estimator.learned == [("a", ["a took 42 MiB"], 3 * GIB), ("b", ["b took 42 MiB"], 3 * GIB)]


@pytest.mark.parametrize(("card", "exceeds"), [(2 * GIB, False), (GIB // 2, True), (None, False)])
def test_out_of_memory_on_a_card_that_is_too_small_is_final(
    world: Worlds, monkeypatch: pytest.MonkeyPatch, card: int | None, exceeds: bool
) -> None:
    async def out_of_memory(*_: object, **__: object) -> None:
        raise EngineFailed(ExitReport(1, None), ["allocating 9000.00 MiB: cudaMalloc failed: out of memory"])

    here = world(A, hooks={"estimator": Estimator(Verdict.TOO_BIG, card)})
    monkeypatch.setattr(here.backends["engine"], "load", out_of_memory)
    assert here.refused(here.scheduler.load("a", force=True)).status == 507
    [failure] = here.journal.failures
    assert failure.exceeds_card is exceeds
