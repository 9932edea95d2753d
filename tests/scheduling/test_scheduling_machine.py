"""What must hold whatever people, clients and engines do: driven at random, on a clock of its own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from real_engines import LONG
from scheduler_world import World, model

from quarterdeck.backends.base import ExitReport, Resident
from quarterdeck.errors import AppError

MODELS = (
    model("a"),
    model("b", idle_timeout=10.0),
    model("g1", group="g"),
    model("g2", group="g"),
    model("pin", pinned=True),
    model("s1", "sleeper"),
    model("s2", "sleeper"),
    model("far", "gateway"),
)
NAMES = st.sampled_from([view.name for view in MODELS])
GAME = "game"
LONGEST_HOLD = 25.0
# Longer than any chain of loads, drains and pauses that can be under way.
FOR_EVER = 4000.0


class Machine(RuleBasedStateMachine):
    """Never two owners over budget, never evict busy, every waiter gets an answer, no wake-up is lost."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(
            MODELS, minimum_residence=3, overtake_limit=2, queue_limit=6, cooldown=5, yield_to=[GAME], stop_timeout=1
        )
        self.clients: list[asyncio.Task[None]] = []
        self.people: list[asyncio.Task[None]] = []
        self.errors = _Errors()
        logging.getLogger("quarterdeck.tasks").addHandler(self.errors)
        self.world.loop.set_exception_handler(lambda _, context: self.world.wrong.append(str(context)))

    @rule(name=NAMES, hold=st.floats(0, LONGEST_HOLD), force=st.booleans(), wait=st.floats(0, 2))
    def client_asks(self, name: str, hold: float, force: bool, wait: float) -> None:
        self.clients.append(self._begin(self._use(name, hold, force)))
        self.world.loop.advance(wait)

    @rule(which=st.integers(0, 100))
    def client_leaves(self, which: int) -> None:
        waiting = [each for each in self.clients if not each.done()]
        if waiting:
            waiting[which % len(waiting)].cancel()

    @rule(name=NAMES, other_config=st.booleans(), wait=st.floats(0, 2))
    def person_loads(self, name: str, other_config: bool, wait: float) -> None:
        config = {"n_ctx": 256} if other_config else None
        self.people.append(self._begin(self._asked(self.world.scheduler.load(name, load_config=config))))
        self.world.loop.advance(wait)

    @rule(name=st.none() | NAMES)
    def person_cancels(self, name: str | None) -> None:
        self.people.append(self._begin(self._asked(self.world.scheduler.cancel(name))))

    @rule(name=NAMES)
    def person_unloads(self, name: str) -> None:
        self.people.append(self._begin(self._unload(name)))

    @rule(backend=st.sampled_from(["engine", "sleeper"]), action=st.sampled_from(["stop", "restart"]))
    def person_stops_a_backend(self, backend: str, action: str) -> None:
        async def act() -> None:
            names = {view.name for view in MODELS if view.backend == backend}
            self.world.at_once.update(names)
            await self._asked(getattr(self.world.scheduler, action)(backend))
            self.world.at_once.subtract(names)

        self.people.append(self._begin(act()))

    @rule(name=NAMES, seconds=st.floats(0, 30), crashes=st.booleans())
    def engine_is_so(self, name: str, seconds: float, crashes: bool) -> None:
        self.world.seconds[name] = seconds
        (self.world.crashing.add if crashes else self.world.crashing.discard)(name)

    @rule(name=NAMES, outside=st.booleans())
    def engine_ends(self, name: str, outside: bool) -> None:
        gone = ExitReport(None, None, outside="The server unloaded it.") if outside else ExitReport(None, "SIGSEGV")
        self.world.ends(name, gone)

    @rule(name=st.sampled_from(["engine", "sleeper", "gateway"]))
    def somebody_loads_elsewhere(self, name: str) -> None:
        self.world.backends[name].foreign.append(Resident("foreign", "http://127.0.0.1:9"))

    @rule(runs=st.booleans())
    def program_runs(self, runs: bool) -> None:
        self.world.programs = {GAME} if runs else set()

    @rule(seconds=st.floats(0, 60))
    def time_passes(self, seconds: float) -> None:
        self.world.loop.advance(seconds)

    @rule()
    def everybody_is_answered_in_the_end(self) -> None:
        self.world.loop.advance(FOR_EVER)
        unanswered = [task.get_name() for task in (*self.clients, *self.people) if not task.done()]
        assert unanswered == []
        assert self.world.queue() == set()
        assert self.world.journal.open == set()
        self.clients.clear()
        self.people.clear()

    @invariant()
    def nothing_went_wrong(self) -> None:
        assert self.world.wrong == []
        assert self.errors.records == []

    @invariant()
    def loaded_models_are_known(self) -> None:
        """What holds memory is loaded, being loaded or being unloaded."""
        assert self.world.memory <= set(self.world.scheduler.loaded) | self.world.queue()

    def teardown(self) -> None:
        try:
            self.everybody_is_answered_in_the_end()
            self.world.close()
            assert self.world.memory == set()
            self.nothing_went_wrong()
        finally:
            logging.getLogger("quarterdeck.tasks").removeHandler(self.errors)

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return self.world.begin(work)

    async def _use(self, name: str, hold: float, force: bool) -> None:
        await self._asked(self.world.use(name, hold, force=force))

    async def _unload(self, name: str) -> None:
        self.world.at_once[name] += 1
        await self._asked(self.world.scheduler.unload(name))
        self.world.at_once[name] -= 1

    async def _asked(self, work: Any) -> None:
        try:
            await work
        except AppError as error:
            if error.code == "busy" and not error.details["holders"]:
                self.world.wrong.append("a load gave up waiting for nobody")


class _Errors(logging.Handler):
    """Errors of tasks that nobody awaits."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(f"{record.getMessage()}: {record.exc_info}")


def machine(examples: int, steps: int) -> type:
    """A test case of so many runs with so many steps each."""
    case = Machine.TestCase
    case.settings = settings(
        max_examples=examples, stateful_step_count=steps, deadline=None, suppress_health_check=list(HealthCheck)
    )
    return case


def run(examples: int, steps: int) -> None:
    machine(examples, steps)().runTest()


def test_the_invariants_hold() -> None:
    run(25, 40)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_invariants_hold_over_thousands_of_steps() -> None:
    run(200 if LONG else 60, 50)
