"""Quarterdeck is killed at any moment of a load: no engine stays, and the next start knows exactly what happened."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest
from real_engines import LONG
from serve_process import STARTER, Serve, Stored, engine_lives, serving, stored, wait_for

pytestmark = [pytest.mark.engine, pytest.mark.slow]

SEEDS = range(6 if LONG else 2)
KILLS_PER_SEED = 10
PROVEN = "proven"
NAMES = (STARTER, "second", PROVEN)
GOOD_LOADS = 3
DATED = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d · ")
CRASHED = "crashed during the compatibility test"


@dataclass(frozen=True)
class Known:
    """What a person who watched everything would say of a model."""

    status: str = "unknown"
    notes: str = ""
    good: int = 0
    in_a_row: int = 0

    def after(self, outcome: str | None) -> Known:
        """The rules of the decisions, told once more: no attempt, a good load, or one that a crash cut off."""
        if outcome is None:
            return self
        if outcome == "loaded":
            row = self.in_a_row + 1
            shaky = self.status in ("degraded", "incompatible") and row < GOOD_LOADS
            return replace(self, status="degraded" if shaky else "compatible", good=self.good + 1, in_a_row=row)
        assert outcome == "running", outcome
        bad = self.status == "incompatible" or self.good < GOOD_LOADS
        return replace(self, status="incompatible" if bad else "degraded", in_a_row=0)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as threads:
        yield threads


class Campaign:
    """Kills one data folder's `serve` again and again, and keeps account of what its models must be."""

    def __init__(self, folder: Path, seed: int, pool: ThreadPoolExecutor) -> None:
        self.data, self.copy = folder / "data", folder / "copy"
        self.random = random.Random(seed)
        self.pool = pool
        self.known = dict.fromkeys(NAMES, Known())
        self.seconds = 0.5
        self.cut_off: str | None = None

    def prepare(self, model_file: Path) -> None:
        """Add the models; one of them has been loaded well three times."""
        with serving(self.data) as serve:
            for name in NAMES[1:]:
                assert serve.add(name, model_file).status_code == 201
            for _ in range(GOOD_LOADS):
                self.seconds = serve.load(PROVEN).raise_for_status().json()["load_seconds"]
                self.known[PROVEN] = self.known[PROVEN].after("loaded")
                serve.unload()
            assert serve.terminate() == 0

    def run(self, kills: int) -> None:
        for number in range(kills):
            with serving(self.data) as serve:
                self.check(serve)
                self.load_and_kill(serve, number)
        with serving(self.data) as serve:
            self.check(serve)
            assert serve.terminate() == 0

    def load_and_kill(self, serve: Serve, number: int) -> None:
        name = self.random.choice(NAMES)
        if self.random.random() < 0.4:
            serve.patch(name, compatibility_status="unknown").raise_for_status()
            self.known[name] = replace(self.known[name], status="unknown", in_a_row=0)
        before = stored(self.data, self.copy)
        loading = self.pool.submit(serve.load, name, force_load=self.known[name].status == "incompatible")
        self.wait_for_the_moment(serve, name, number, loading)
        serve.kill()
        self.account(serve, name, before, told_loaded(loading))

    def wait_for_the_moment(self, serve: Serve, name: str, number: int, loading: Future[httpx.Response]) -> None:
        """The first kill hits a load for certain, the second comes after one; the others where chance wants."""
        if number == 0:
            wait_for(lambda: serve.model(name)["phase"] == "loading", "the load is under way")
            return
        if number == 1:
            assert loading.result().status_code == 200
            return
        moment = self.random.choice(
            [
                self.random.uniform(0, 1.2 * self.seconds),
                self.random.uniform(0, 0.08),
                self.random.uniform(0.8, 1.3) * self.seconds,
            ]
        )
        wait([loading], moment)

    def account(self, serve: Serve, name: str, before: Stored, told: bool) -> None:
        """Between the kill and the next start: the engine is gone by itself, the database holds one whole truth."""
        serve.wait_without_engines()
        now = stored(self.data, self.copy)
        new = now.attempts[len(before.attempts) :]
        assert now.attempts[: len(before.attempts)] == before.attempts
        assert len(new) <= 1
        outcome = new[0]["outcome"] if new else None
        if new:
            assert (new[0]["model_name"], new[0]["status_before"]) == (name, self.known[name].status)
            wait_for(lambda: not engine_lives(new[0]), "the recorded engine is gone")
        if told:
            assert outcome == "loaded"
        if outcome == "loaded":
            self.seconds = new[0]["load_seconds"]
        self.known[name] = self.known[name].after(outcome)
        self.cut_off = name if outcome == "running" else None

    def check(self, serve: Serve) -> None:
        """After a start: every model is what the account says, and only what was cut off is named."""
        for name in NAMES:
            known, model = self.known[name], serve.model(name)
            if name == self.cut_off:
                assert DATED.match(model["notes"])
                assert CRASHED in model["notes"].splitlines()[0]
                assert model["notes"].removesuffix(known.notes).count("\n") == bool(known.notes)
                self.known[name] = known = replace(known, notes=model["notes"])
                attempt = serve.attempts(name)[0]
                assert (attempt["outcome"], attempt["status_after"]) == ("interrupted", known.status)
                assert f"{name} is now {known.status}" in serve.err
            else:
                assert f"{name} is now" not in serve.err
            assert (model["status"], model["notes"], model["total_loads"]) == (known.status, known.notes, known.good)
            assert (model["phase"], model["loaded"]) == ("unloaded", False)
            outcomes = [attempt["outcome"] for attempt in serve.attempts(name)]
            assert outcomes.count("loaded") == known.good
            assert "running" not in outcomes
        assert not list(self.data.glob("*damaged*"))
        assert "database_damaged" not in serve.issues()


def told_loaded(loading: Future[httpx.Response]) -> bool:
    """Whether the client was told of a good load; a killed server tells nothing."""
    try:
        answer = loading.result(30)
    except httpx.TransportError:
        return False
    assert answer.status_code == 200, answer.text
    return True


@pytest.mark.parametrize("seed", SEEDS)
def test_no_kill_loses_an_engine_or_a_status(
    seed: int, tmp_path: Path, starter_file: Path, pool: ThreadPoolExecutor
) -> None:
    campaign = Campaign(tmp_path, seed, pool)
    campaign.prepare(starter_file)
    campaign.run(KILLS_PER_SEED)


def test_a_kill_while_an_answer_streams_leaves_no_engine_and_no_mark(tmp_path: Path, starter_file: object) -> None:
    for expected_loads in (1, 2, 3):
        with serving(tmp_path / "data") as serve:
            assert serve.load().status_code == 200
            with pytest.raises(httpx.TransportError), serve.chat_stream() as lines:
                assert any(line.startswith("data: ") for line in lines)
                assert serve.engines()
                serve.kill()
                for _ in lines:
                    pass
            serve.wait_without_engines()
        with serving(tmp_path / "data") as again:
            model = again.model()
            assert (model["status"], model["notes"], model["total_loads"]) == ("compatible", "", expected_loads)
            assert again.err == ""
            assert again.terminate() == 0


@pytest.mark.parametrize("earlier", ["unknown", "compatible", "degraded"])
def test_a_stop_during_a_load_cancels_it(
    earlier: str, tmp_path: Path, starter_file: object, pool: ThreadPoolExecutor
) -> None:
    with serving(tmp_path / "data") as serve:
        serve.patch(STARTER, compatibility_status=earlier, compatibility_notes="mine").raise_for_status()
        loading = pool.submit(serve.load)
        wait_for(lambda: serve.model()["phase"] == "loading", "the load is under way")
        assert serve.terminate() == 0
        answer = loading.result(30)
        assert (answer.status_code, answer.json()["code"]) == (409, "load_cancelled")
        assert not serve.engines()
        assert serve.err == ""
    found = stored(tmp_path / "data", tmp_path / "copy")
    assert [attempt["outcome"] for attempt in found.attempts] == ["cancelled"]
    assert (found.models[STARTER]["status"], found.models[STARTER]["notes"]) == (earlier, "mine")
